//! Which names this server answers to. A page can make its own name point at this machine (DNS rebinding) and is then
//! of the same origin as the server; but the name it asked for stands in `Host`, and it is none of ours.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::HOST;
use axum::http::{HeaderMap, StatusCode, Uri, Version};
use axum::middleware::Next;
use axum::response::Response;

use super::cors::is_like;
use super::refuse::{Refusal, quoted};
use super::{ErrorForm, Guards};

/// Where Linux tells the machine's name.
const MACHINE_NAME: &str = "/proc/sys/kernel/hostname";

/// The names this server answers to, beside those that every machine has for itself.
#[derive(Clone, Debug)]
pub(crate) enum Hosts {
    /// All.
    Any,
    /// These, in lower case, with `*` for anything.
    Like(Arc<[String]>),
}

impl Hosts {
    /// The rule for a server that listens on `address`: who is reached from elsewhere is known by names that only his
    /// network knows, so there only `named` turns the check on.
    pub(crate) fn of(address: IpAddr, named: &[String]) -> Hosts {
        if named.is_empty() && !address.to_canonical().is_loopback() {
            return Hosts::Any;
        }
        let own = std::fs::read_to_string(MACHINE_NAME).ok();
        let own = own
            .map(|name| name.trim().to_ascii_lowercase())
            .filter(|name| is_name(name));
        Hosts::Like(named.iter().cloned().chain(own).collect())
    }

    /// Whether a setting may name this host, in lower case.
    pub(crate) fn can_have(name: &str) -> bool {
        is_name(&name.replace('*', "x")) || name.parse::<IpAddr>().is_ok()
    }

    fn have(&self, host: &str) -> bool {
        let Hosts::Like(names) = self else {
            return true;
        };
        let host = host.to_ascii_lowercase();
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(&host);
        let is_ours = match bare.parse::<IpAddr>() {
            Ok(ip) => is_near(ip),
            Err(_) => is_name(&host) && is_local(&host),
        };
        is_ours || names.iter().any(|name| is_like(name, bare))
    }

    fn check(&self, version: Version, uri: &Uri, headers: &HeaderMap) -> Result<(), Wrong> {
        if matches!(self, Hosts::Any) {
            return Ok(());
        }
        let mut sent = headers.get_all(HOST).iter();
        let host = match (sent.next(), sent.next()) {
            // Older than the header, and than every browser.
            (None, _) if version < Version::HTTP_11 && uri.authority().is_none() => return Ok(()),
            (None, _) => return Err(Wrong::Malformed("is missing")),
            (Some(_), Some(_)) => return Err(Wrong::Malformed("is there twice")),
            (Some(host), None) => host.to_str().map_err(|_| Wrong::Malformed("is not a name"))?,
        };
        let is_same = |authority: &str| authority.eq_ignore_ascii_case(host);
        if uri.authority().is_some_and(|authority| !is_same(authority.as_str())) {
            return Err(Wrong::Malformed("differs from the address in the request line"));
        }
        let name = without_port(host).ok_or(Wrong::Malformed("is not a name with or without a port"))?;
        if self.have(name) {
            Ok(())
        } else {
            Err(Wrong::Foreign(quoted(name.as_bytes())))
        }
    }
}

enum Wrong {
    Malformed(&'static str),
    Foreign(String),
}

/// The host of `host:port`; none if what follows the colon is no port.
fn without_port(host: &str) -> Option<&str> {
    let name_end = if host.starts_with('[') {
        host.find(']')? + 1
    } else {
        host.find(':').unwrap_or(host.len())
    };
    let (name, rest) = host.split_at(name_end);
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let is_bracketed = name
        .strip_prefix('[')
        .is_none_or(|ip| ip.trim_end_matches(']').parse::<Ipv6Addr>().is_ok());
    (!name.is_empty() && is_bracketed && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port)))
        .then_some(name)
}

/// Whether nobody far away can be meant by this address.
fn is_near(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified(),
    }
}

/// Names that public DNS never answers for.
fn is_local(name: &str) -> bool {
    name == "localhost"
        || [".localhost", ".local", ".internal"]
            .iter()
            .any(|end| name.ends_with(end))
}

/// Whether it is labels with dots between them.
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// Refuses requests that were meant for somebody else.
pub(super) async fn know_host(State(guards): State<Guards>, request: Request, next: Next) -> Response {
    let form = ErrorForm::of(request.uri().path());
    let checked = guards.hosts.check(request.version(), request.uri(), request.headers());
    let (status, code, message) = match checked {
        Ok(()) => return next.run(request).await,
        Err(Wrong::Malformed(what)) => (
            StatusCode::BAD_REQUEST,
            "invalid_host",
            format!("the Host header {what}: send the server's name and port; other names are allowed by `hosts`"),
        ),
        Err(Wrong::Foreign(host)) => (
            StatusCode::FORBIDDEN,
            "host_not_allowed",
            format!(
                "this server answers to localhost, this machine's name and its private addresses, not to {host}: add \
                 the name to `hosts` if it is the server's"
            ),
        ),
    };
    let refusal = Refusal {
        status,
        kind: "invalid_request_error",
        code,
        message,
    };
    refusal.told(form)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    /// The status that a request with these `Host` headers gets from a server on loopback.
    fn status(named: &str, version: Version, uri: &str, hosts: &[&str]) -> u16 {
        let named: Vec<String> = named
            .split(',')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        let rule = Hosts::of(IpAddr::from([127, 0, 0, 1]), &named);
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_bytes(host.as_bytes()).unwrap());
        }
        match rule.check(version, &uri.parse().unwrap(), &headers) {
            Ok(()) => 200,
            Err(Wrong::Malformed(_)) => 400,
            Err(Wrong::Foreign(_)) => 403,
        }
    }

    fn check(expected: u16, hosts: &[&str]) {
        for host in hosts {
            assert_eq!(status("", Version::HTTP_11, "/", &[host]), expected, "{host:?}");
        }
    }

    #[test]
    fn a_machine_s_own_names_and_private_addresses_are_answered() {
        check(
            200,
            &[
                "localhost",
                "localhost:11434",
                "LOCALHOST:1",
                "a.localhost",
                "my-mac.local",
                "host.docker.internal:80",
            ],
        );
        check(
            200,
            &[
                "127.0.0.1:11434",
                "127.1.2.3",
                "[::1]:11434",
                "[::1]",
                "192.168.1.7:80",
                "10.0.0.1",
                "172.16.0.1",
            ],
        );
        check(
            200,
            &[
                "[fd00::1]",
                "[fe80::1]:80",
                "[::ffff:127.0.0.1]",
                "0.0.0.0:11434",
                "169.254.1.1",
            ],
        );
        if let Ok(own) = std::fs::read_to_string(MACHINE_NAME) {
            check(200, &[own.trim()]);
        }
    }

    #[test]
    fn any_other_name_is_refused() {
        check(
            403,
            &[
                "evil.com",
                "localhost.evil.com",
                "localhost.",
                "a.localhost.",
                "evil.com:11434",
                "xlocalhost",
            ],
        );
        check(
            403,
            &[
                "8.8.8.8",
                "[2001:db8::1]",
                "172.32.0.1",
                "127.1",
                "0x7f000001",
                ".localhost",
                "a..local",
                "local",
            ],
        );
        check(
            403,
            &["evil.com/.local", "a b.local", "evil@x.local", "evil.com\\.local", "*"],
        );
    }

    #[test]
    fn what_is_no_host_is_refused() {
        check(
            400,
            &[
                "",
                ":80",
                "localhost:",
                "localhost:x",
                "localhost:65536",
                "localhost:+1",
                "localhost:1:2",
                "é",
            ],
        );
        check(
            400,
            &[
                "[::1",
                "[::1]x",
                "[::1]:",
                "[]",
                "[localhost]",
                "[fe80::1%25eth0]",
                "[127.0.0.1]",
                "::1",
            ],
        );
        assert_eq!(status("", Version::HTTP_11, "/", &[]), 400);
        assert_eq!(status("", Version::HTTP_11, "/", &["localhost", "localhost"]), 400);
    }

    #[test]
    fn a_request_line_with_an_address_must_say_the_same() {
        let of = |uri: &str, hosts: &[&str]| status("", Version::HTTP_11, uri, hosts);
        assert_eq!(of("http://localhost:1/", &["localhost:1"]), 200);
        assert_eq!(of("http://evil.com/", &["localhost"]), 400);
        assert_eq!(of("http://localhost/", &["evil.com"]), 400);
        assert_eq!(of("http://evil.com/", &["evil.com"]), 403);
        assert_eq!(status("", Version::HTTP_10, "/", &[]), 200);
        assert_eq!(status("", Version::HTTP_10, "http://evil.com/", &[]), 400);
        assert_eq!(status("", Version::HTTP_10, "/", &["evil.com"]), 403);
    }

    #[test]
    fn a_setting_adds_names_and_turns_the_check_on_beyond_loopback() {
        let named = |host: &str| status("gpu.example,*.lan,8.8.8.8", Version::HTTP_11, "/", &[host]);
        assert_eq!(
            [
                named("gpu.example"),
                named("GPU.example:80"),
                named("a.lan"),
                named("8.8.8.8")
            ],
            [200; 4]
        );
        assert_eq!(
            [named("x.gpu.example"), named("lan"), named("a.lan.evil.com")],
            [403; 3]
        );
        let everywhere = IpAddr::from([0, 0, 0, 0]);
        assert!(Hosts::of(everywhere, &[]).have("evil.com"));
        assert!(!Hosts::of(everywhere, &["gpu.example".to_owned()]).have("evil.com"));
        for (name, expected) in [
            ("a.b", true),
            ("*", true),
            ("*.a", true),
            ("::1", true),
            ("a:80", false),
            ("", false),
        ] {
            assert_eq!(Hosts::can_have(name), expected, "{name}");
        }
    }
}
