//! Which web pages may call: what browsers are told about it (CORS), and the refusal of every other page's requests,
//! which a browser sends all the same and only hides the answer of.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::refuse::{Refusal, quoted};
use super::{ErrorForm, Guards};

/// How long a browser need not ask again.
const PREFLIGHT_KEPT: Duration = Duration::from_secs(86_400);

/// The origins whose pages may call; pages of our own address always may.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Origins {
    /// Every page.
    Any,
    /// Pages of origins like one of these, in lower case, each `null` or `scheme://authority` with `*` for anything.
    Like(Arc<[String]>),
}

impl Origins {
    /// Understands a list of origins; none if an entry cannot be one.
    pub(crate) fn read(entries: &[String]) -> Option<Origins> {
        if entries.iter().any(|entry| entry == "*") {
            return Some(Origins::Any);
        }
        let lower: Vec<String> = entries.iter().map(|entry| entry.to_ascii_lowercase()).collect();
        let are_origins = lower.iter().all(|entry| entry == "null" || parts(entry).is_some());
        are_origins.then(|| Origins::Like(lower.into()))
    }

    /// What tells browsers so. Without credentials: a page brings its key itself.
    pub(super) fn layer(&self) -> CorsLayer {
        let origins = self.clone();
        let allowed = match self {
            Origins::Any => AllowOrigin::any(),
            Origins::Like(_) => AllowOrigin::predicate(move |origin, _| origins.have(origin)),
        };
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([Method::GET, Method::POST, Method::HEAD, Method::DELETE, Method::OPTIONS])
            .allow_headers(AllowHeaders::mirror_request())
            .allow_private_network(true)
            .max_age(PREFLIGHT_KEPT)
            .expose_headers([
                HeaderName::from_static("x-request-id"),
                RETRY_AFTER,
                HeaderName::from_static("x-tandem-engine"),
            ])
    }

    fn have(&self, origin: &HeaderValue) -> bool {
        let Origins::Like(allowed) = self else {
            return true;
        };
        let Ok(origin) = origin.to_str().map(str::to_ascii_lowercase) else {
            return false;
        };
        let is_null = origin == "null";
        let parts_sent = parts(&origin).filter(|(_, authority)| !authority.contains('*'));
        allowed.iter().any(|entry| match (parts(entry), parts_sent) {
            (Some((scheme, authority)), Some(sent)) => scheme == sent.0 && is_like(authority, sent.1),
            (None, None) => is_null,
            _ => false,
        })
    }

    /// Whether the request comes from a page that may not call. Without an origin it is no page's, unless the browser
    /// says that another site caused it; a link that somebody follows is harmless.
    fn forbid(&self, method: &Method, headers: &HeaderMap) -> bool {
        if *self == Origins::Any {
            return false;
        }
        let says = |name: &str, word: &str| headers.get(name).is_some_and(|value| value == word);
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => {
                let is_link = matches!(*method, Method::GET | Method::HEAD) && says("sec-fetch-mode", "navigate");
                says("sec-fetch-site", "cross-site") && !is_link
            }
            (Some(origin), None) => !self.have(origin) && !is_ours(origin, headers),
            (Some(_), Some(_)) => true,
        }
    }
}

/// Whether the page comes from the address it now asks; [`super::host`] has checked that this is a name of ours.
fn is_ours(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let (Ok(origin), Some(host)) = (origin.to_str(), headers.get(HOST)) else {
        return false;
    };
    parts(origin).is_some_and(|(scheme, authority)| {
        matches!(scheme, "http" | "https") && authority.as_bytes().eq_ignore_ascii_case(host.as_bytes())
    })
}

/// Scheme and authority of an origin; none if it is not one.
fn parts(origin: &str) -> Option<(&str, &str)> {
    let (scheme, authority) = origin.split_once("://")?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let is_authority = authority
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"/?#@\\".contains(&byte));
    (is_scheme && is_authority).then_some((scheme, authority))
}

/// Whether `text` is `pattern`, in which each `*` stands for any characters, or for none.
pub(super) fn is_like(pattern: &str, text: &str) -> bool {
    let Some((start, mut pattern)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(start) else {
        return false;
    };
    while let Some((part, rest)) = pattern.split_once('*') {
        let Some((_, after)) = text.split_once(part) else {
            return false;
        };
        (pattern, text) = (rest, after);
    }
    text.ends_with(pattern)
}

/// Refuses the requests of pages that may not call, whatever they are.
pub(super) async fn know_origin(State(guards): State<Guards>, request: Request, next: Next) -> Response {
    if !guards.origins.forbid(request.method(), request.headers()) {
        return next.run(request).await;
    }
    let origin = request.headers().get(ORIGIN).map(HeaderValue::as_bytes);
    let page = origin.map_or("another site".to_owned(), quoted);
    let message = format!("pages of {page} may not call this server: add their origin to `origins` if they shall");
    let refusal = Refusal {
        status: StatusCode::FORBIDDEN,
        kind: "invalid_request_error",
        code: "origin_not_allowed",
        message,
    };
    refusal.told(ErrorForm::of(request.uri().path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(list: &str) -> Origins {
        let entries: Vec<String> = list.split(',').map(str::to_owned).collect();
        Origins::read(&entries).unwrap_or_else(|| panic!("{list:?} is refused"))
    }

    fn check(list: &str, allowed: &[&str], others: &[&str]) {
        let origins = origins(list);
        let has = |origin: &&str| origins.have(&HeaderValue::from_str(origin).unwrap());
        allowed
            .iter()
            .for_each(|origin| assert!(has(origin), "{list}: {origin}"));
        others
            .iter()
            .for_each(|origin| assert!(!has(origin), "{list}: {origin}"));
    }

    #[test]
    fn an_origin_is_allowed_by_its_whole_self() {
        check(
            "https://Chat.example,http://localhost:3210",
            &["https://chat.example", "HTTPS://CHAT.EXAMPLE", "http://localhost:3210"],
            &[
                "http://chat.example",
                "https://chat.example:8443",
                "https://chat.example.evil.com",
                "https://evil.com/https://chat.example",
                "http://localhost",
                "null",
                "",
                "*",
            ],
        );
    }

    #[test]
    fn a_star_stands_for_any_characters_of_the_authority() {
        check(
            "https://*.chat.example,http://localhost:*,app://*,null",
            &[
                "https://a.chat.example",
                "https://a.b.chat.example",
                "http://localhost:1",
                "app://",
                "app://x",
                "null",
            ],
            &[
                "https://chat.example",
                "http://localhost.evil.com:1",
                "https://evil.com/.chat.example",
                "https://evil.com#.chat.example",
                "http://x@localhost:1",
                "http://*",
                "app:x",
            ],
        );
        for (pattern, text) in [
            ("*", ""),
            ("a*c*e", "abcde"),
            ("a*b*b", "abb"),
            ("**", "x"),
            ("a*", "a"),
        ] {
            assert!(is_like(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a*b*b", "ab"), ("ab*ba", "aba"), ("a", "b"), ("*a", "ab")] {
            assert!(!is_like(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_star_alone_is_every_page_and_no_entry_is_none() {
        assert_eq!(origins("https://a.example,*"), Origins::Any);
        check("*", &["https://a.example", "null", "file://"], &[]);
        let none = Origins::read(&[]).unwrap();
        assert!(!none.have(&HeaderValue::from_static("https://a.example")));
        assert!(!none.have(&HeaderValue::from_bytes(b"https://\xff").unwrap()));
    }

    #[test]
    fn what_cannot_be_an_origin_is_no_entry() {
        for wrong in [
            "chat.example",
            "https://a.example/",
            "https://a.example/x",
            "https://a b",
            "://x",
            "*://a",
            "ä",
        ] {
            assert_eq!(Origins::read(&[wrong.to_owned()]), None, "{wrong}");
        }
    }

    #[test]
    fn another_page_is_known_by_its_origin_or_by_what_the_browser_says_of_it() {
        let origins = origins("https://chat.example");
        let forbids = |method: &Method, headers: &[(&'static str, &'static str)]| {
            let pairs = headers
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            let mut map = HeaderMap::new();
            pairs.for_each(|(name, value)| {
                map.append(name, value);
            });
            origins.forbid(method, &map)
        };
        let (ours, cross) = (("host", "localhost:11434"), ("sec-fetch-site", "cross-site"));
        let link = ("sec-fetch-mode", "navigate");
        for (method, headers) in [
            (Method::POST, vec![ours]),
            (Method::POST, vec![ours, ("origin", "https://chat.example"), cross]),
            (
                Method::POST,
                vec![
                    ours,
                    ("origin", "http://localhost:11434"),
                    ("sec-fetch-site", "same-origin"),
                ],
            ),
            (Method::GET, vec![ours, cross, link]),
        ] {
            assert!(!forbids(&method, &headers), "{method} {headers:?}");
        }
        for (method, headers) in [
            (Method::POST, vec![ours, ("origin", "https://evil.com")]),
            (Method::POST, vec![ours, ("origin", "null"), cross]),
            (Method::POST, vec![ours, ("origin", "http://localhost:3000")]),
            (
                Method::POST,
                vec![
                    ours,
                    ("origin", "https://chat.example"),
                    ("origin", "https://chat.example"),
                ],
            ),
            (Method::POST, vec![ours, cross, link]),
            (Method::GET, vec![ours, cross]),
        ] {
            assert!(forbids(&method, &headers), "{method} {headers:?}");
        }
    }
}
