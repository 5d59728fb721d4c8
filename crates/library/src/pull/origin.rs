//! Who may be connected to: hosts in their plain spelling, and the operator's list of them.

use std::fmt;
use std::net::Ipv4Addr;

use super::error::PullError;
use crate::Quoted;

/// Characters of a host's name at most, and of one of its labels.
const HOST_CHARS_MAX: usize = 253;
const LABEL_CHARS_MAX: usize = 63;

/// How a host is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    /// Splits `scheme://` off; without it the safe one is meant.
    pub(super) fn split(text: &str) -> Option<(Scheme, &str)> {
        match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => Some((Scheme::Https, rest)),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => Some((Scheme::Http, rest)),
            Some(_) => None,
            None => Some((Scheme::Https, text)),
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// A host, how it is spoken to, and at which port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) scheme: Scheme,
    /// A name in lower case, or an address of version 4 in its one plain spelling.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Origin {
    /// Understands `host` and `host:port`. Other spellings of an address, such as `0x7f.1`, `127.1` or `[::1]`, are
    /// none: what reads them later may take them for something else than what was checked.
    pub(super) fn parse(scheme: Scheme, authority: &str) -> Option<Origin> {
        let (host, port) = match authority.split_once(':') {
            None => (authority, scheme.port()),
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port.parse().ok()?),
            Some(_) => return None,
        };
        let is_good = port != 0 && (is_name(host) || host.parse::<Ipv4Addr>().is_ok());
        is_good.then(|| Origin {
            scheme,
            host: host.to_ascii_lowercase(),
            port,
        })
    }

    /// Whether the host is a name, not an address.
    pub(super) fn is_named(&self) -> bool {
        is_name(&self.host)
    }
}

/// The host, and the port unless it is the usual one.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        if self.port == self.scheme.port() {
            return Ok(());
        }
        write!(f, ":{}", self.port)
    }
}

/// Labels of letters, digits and hyphens; the last begins with a letter, so that no spelling of a number is a name.
fn is_name(host: &str) -> bool {
    let is_label = |label: &str| {
        let is_inside = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        is_inside && (1..=LABEL_CHARS_MAX).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    host.len() <= HOST_CHARS_MAX
        && host.split('.').all(is_label)
        && last.starts_with(|first: char| first.is_ascii_alphabetic())
}

/// A host that the operator lets models be pulled from.
#[derive(Clone, Debug)]
struct Allowed {
    origin: Origin,
    /// Said together with its port: then it may be in this network.
    may_be_private: bool,
}

/// The operator's list.
#[derive(Clone, Debug, Default)]
pub(super) struct AllowList(Vec<Allowed>);

impl AllowList {
    /// Adds what `text` says: `host`, `host:port`, or either with `https://` or `http://` before it.
    pub(super) fn add(&mut self, text: &str) -> Result<(), PullError> {
        let refuse = || PullError::Setting {
            found: Quoted::new(text),
        };
        let (scheme, rest) = Scheme::split(text.trim()).ok_or_else(refuse)?;
        let authority = rest.split('/').next().unwrap_or_default();
        let origin = Origin::parse(scheme, authority).ok_or_else(refuse)?;
        let may_be_private = authority.contains(':');
        self.0.push(Allowed { origin, may_be_private });
        Ok(())
    }

    pub(super) fn has(&self, origin: &Origin) -> bool {
        self.0.iter().any(|allowed| allowed.origin == *origin)
    }

    /// The host that a model's name begins with.
    pub(super) fn find(&self, host: &str) -> Result<&Origin, PullError> {
        let is_meant = |origin: &&Origin| Origin::parse(origin.scheme, host).as_ref() == Some(*origin);
        let mut origins = self.0.iter().map(|allowed| &allowed.origin);
        origins.find(is_meant).ok_or_else(|| self.refusal(host))
    }

    /// Why `host` is not connected to.
    pub(super) fn refusal(&self, host: &str) -> PullError {
        let hosts: Vec<String> = self.0.iter().map(|allowed| allowed.origin.to_string()).collect();
        PullError::Host {
            host: Quoted::new(host),
            allowed: if hosts.is_empty() {
                "no host is allowed".to_owned()
            } else {
                format!("allowed are {}", hosts.join(", "))
            },
        }
    }

    /// Whether the operator has said this host together with this port.
    pub(super) fn may_be_private(&self, host: Option<&str>, port: u16) -> bool {
        let is_it = |allowed: &Allowed| {
            allowed.may_be_private && allowed.origin.port == port && Some(allowed.origin.host.as_str()) == host
        };
        self.0.iter().any(is_it)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_spelling() {
        let spellings = [
            "registry.ollama.ai",
            "Registry.Ollama.AI",
            "localhost:5000",
            "127.0.0.1:1",
            "a-b.example",
            "xn--fsq.cn",
        ];
        for good in spellings {
            assert!(Origin::parse(Scheme::Https, good).is_some(), "{good}");
        }
        let spellings = [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "0x7f.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "1.2.3.4.5",
            "[::1]",
            "::1",
            "[::ffff:127.0.0.1]:80",
            "a:0",
            "a:65536",
            "a:+1",
            "a:1:2",
            "user@a",
            "a b",
            "a_b",
            "-a",
            "a-",
            "a\\b",
            "a%2eb",
            "１２７.0.0.1",
            "a:",
        ];
        for bad in spellings {
            assert_eq!(Origin::parse(Scheme::Https, bad), None, "{bad}");
        }
    }

    #[test]
    fn a_name_finds_its_host_only_if_it_is_allowed() {
        let mut list = AllowList::default();
        for text in [
            "registry.ollama.ai",
            "http://127.0.0.1:5000",
            "https://hub.example/path",
        ] {
            list.add(text).unwrap();
        }
        assert_eq!(list.find("Registry.ollama.ai").unwrap().port, 443);
        assert_eq!(list.find("127.0.0.1:5000").unwrap().scheme, Scheme::Http);
        assert_eq!(list.find("hub.example:443").unwrap().host, "hub.example");
        for host in [
            "127.0.0.1",
            "127.0.0.1:5001",
            "registry.ollama.ai:80",
            "evil.example",
            "127.1:5000",
            "",
        ] {
            let refused = list.find(host).unwrap_err().to_string();
            assert!(
                refused.contains("allowed are registry.ollama.ai, 127.0.0.1:5000, hub.example;"),
                "{refused}"
            );
        }
    }

    #[test]
    fn only_a_host_said_with_its_port_may_be_private() {
        let mut list = AllowList::default();
        for text in ["plain.example", "https://ported.example:443"] {
            list.add(text).unwrap();
        }
        assert!(list.may_be_private(Some("ported.example"), 443));
        assert!(!list.may_be_private(Some("ported.example"), 80));
        assert!(!list.may_be_private(Some("plain.example"), 443));
        assert!(!list.may_be_private(None, 443));
    }

    #[test]
    fn what_is_no_host_cannot_be_allowed() {
        for text in [
            "",
            "ftp://a",
            "http://",
            "http://[::1]:80",
            "https://u:p@a",
            "*",
            "*.example",
            "a:b",
        ] {
            let error = AllowList::default().add(text).unwrap_err();
            assert!(matches!(error, PullError::Setting { .. }), "{text}: {error}");
        }
    }
}
