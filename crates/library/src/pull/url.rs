//! The address of one thing to fetch: taken apart once, so that what was checked is what is asked for.

use super::origin::{Origin, Scheme};

/// Characters of an address at most; signed ones have about two thousand.
const URL_CHARS_MAX: usize = 8192;

/// An address whose host has its plain spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) origin: Origin,
    /// From the first `/`, with the query.
    path: String,
}

impl Url {
    /// The address `path` of `origin`. The path's parts are fit for a path, or went through [`encoded`].
    pub(super) fn new(origin: &Origin, path: String) -> Url {
        Url {
            origin: origin.clone(),
            path,
        }
    }

    /// Understands an absolute address.
    pub(super) fn parse(text: &str) -> Option<Url> {
        let is_plain = text.len() <= URL_CHARS_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
        let text = text.split('#').next().filter(|_| is_plain)?;
        let (scheme, rest) = Scheme::split(text).filter(|_| text.contains("://"))?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let slash = if path.starts_with('/') { "" } else { "/" };
        Some(Url {
            origin: Origin::parse(scheme, authority)?,
            path: format!("{slash}{path}"),
        })
    }

    /// Where a reply of this address that says `location` sends to.
    pub(super) fn join(&self, location: &str) -> Option<Url> {
        if location.starts_with("//") {
            return Url::parse(&format!("{}:{location}", self.origin.scheme.as_str()));
        }
        if location.starts_with('/') {
            return Url::parse(&format!("{}{location}", self.base()));
        }
        Url::parse(location)
    }

    /// The same with more at its end.
    pub(super) fn below(&self, path: &str) -> Url {
        let base = self.path.trim_end_matches('/');
        Url::new(&self.origin, format!("{base}/{path}"))
    }

    /// The same with `query` after what it asks already.
    pub(super) fn with_query(&self, query: &str) -> Url {
        let sign = if self.path.contains('?') { '&' } else { '?' };
        Url::new(&self.origin, format!("{}{sign}{query}", self.path))
    }

    pub(super) fn text(&self) -> String {
        format!("{}{}", self.base(), self.path)
    }

    fn base(&self) -> String {
        let Origin { scheme, host, port } = &self.origin;
        format!("{}://{host}:{port}", scheme.as_str())
    }
}

/// `text` as part of an address: everything but letters, digits and `-._~` as `%` and two digits; `/` stays if `keep`
/// says so.
pub(super) fn encoded(text: &str, keep: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        let character = char::from(byte);
        if byte.is_ascii_alphanumeric() || "-._~".contains(character) || keep.contains(character) {
            encoded.push(character);
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_taken_apart_and_put_together() {
        for (text, expected) in [
            ("https://a.example/b?c=d", "https://a.example:443/b?c=d"),
            ("HTTP://A.example", "http://a.example:80/"),
            ("https://a.example?x#y", "https://a.example:443/?x"),
        ] {
            assert_eq!(Url::parse(text).unwrap().text(), expected);
        }
        for bad in [
            "a.example/b",
            "/b",
            "ftp://a/b",
            "https://a b/",
            "https://a@b/",
            "https:///b",
            "https://ä/",
            "",
        ] {
            assert_eq!(Url::parse(bad), None, "{bad}");
        }
        assert_eq!(Url::parse(&format!("https://a/{}", "b".repeat(9000))), None);
    }

    #[test]
    fn a_location_is_absolute_or_begins_with_a_slash() {
        let url = Url::parse("http://a.example:81/b/c").unwrap();
        let joined = |location| url.join(location).map(|url| url.text());
        assert_eq!(joined("/d?e").as_deref(), Some("http://a.example:81/d?e"));
        assert_eq!(joined("//e.example/f").as_deref(), Some("http://e.example:80/f"));
        assert_eq!(
            joined("https://e.example/f").as_deref(),
            Some("https://e.example:443/f")
        );
        for bad in ["d", "", "javascript:alert(1)", "file:///etc/passwd", "https://[::1]/"] {
            assert_eq!(joined(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_are_encoded() {
        assert_eq!(encoded("a b/ä#?%.gguf", "/"), "a%20b/%C3%A4%23%3F%25.gguf");
        assert_eq!(
            encoded("repository:library/x:pull", ""),
            "repository%3Alibrary%2Fx%3Apull"
        );
    }

    proptest! {
        /// What was judged is what the client, which takes the address apart by its own rules, connects to.
        #[test]
        fn the_client_finds_the_same_host(
            scheme in "https?://|//|/|",
            authority in "[a-z0-9.:@%\\\\\\[\\]_-]{0,24}|127\\.0\\.0\\.1|\\PC{0,12}",
            path in "([/?#][a-z0-9:@./\\\\-]{0,8}){0,3}",
        ) {
            let base = Url::parse("https://base.example/x").unwrap();
            let url = base.join(&format!("{scheme}{authority}{path}"));
            let uri = url.as_ref().and_then(|url| url.text().parse::<ureq::http::Uri>().ok());
            if let (Some(Url { origin, .. }), Some(uri)) = (url, uri) {
                prop_assert_eq!(uri.host(), Some(origin.host.as_str()));
                prop_assert_eq!(uri.port_u16(), Some(origin.port));
                prop_assert_eq!(uri.scheme_str(), Some(origin.scheme.as_str()));
            }
        }
    }
}
