//! Where a server is, in the forms that `OLLAMA_HOST` has: a host, a port, both, with or without `http://` and a path.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::ClientError;

/// The port of Ollama, and ours.
const PORT: u16 = 11434;

/// Characters of an address at most.
const CHARS_MAX: usize = 1024;

/// A server's address, fit to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    host: String,
    port: u16,
    /// Empty, or begins with `/` and does not end with one.
    prefix: String,
}

impl Address {
    /// Of a server of this machine.
    pub(crate) fn of(address: std::net::SocketAddr) -> Address {
        Address {
            host: reachable(address.ip()).to_string(),
            port: address.port(),
            prefix: String::new(),
        }
    }

    /// A name or an IP address, without brackets.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// As the `Host` header has it.
    pub(super) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.prefix)
    }
}

impl FromStr for Address {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Address, ClientError> {
        let found = || text.chars().take(100).collect::<String>();
        let refuse = || ClientError::Address { found: found() };
        let said = text.trim().trim_matches(['"', '\'']).trim();
        let is_plain = |c: char| c.is_ascii_graphic() && !"\\\"<>^`{|}?#@".contains(c);
        if said.len() > CHARS_MAX || !said.chars().all(is_plain) {
            return Err(refuse());
        }
        let (rest, usual) = match said.split_once("://") {
            Some(("http", rest)) => (rest, 80),
            Some(("https", _)) => return Err(ClientError::Tls { found: found() }),
            Some(_) => return Err(refuse()),
            None => (said, PORT),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = host_and_port(authority).ok_or_else(refuse)?;
        let host = match host.parse::<IpAddr>() {
            Ok(ip) => reachable(ip).to_string(),
            Err(_) if host.is_empty() => Ipv4Addr::LOCALHOST.to_string(),
            Err(_) if host.contains([':', '[', ']']) => return Err(refuse()),
            Err(_) => host.to_owned(),
        };
        let path = path.trim_matches('/');
        Ok(Address {
            host,
            port: port.unwrap_or(usual),
            prefix: if path.is_empty() {
                String::new()
            } else {
                format!("/{path}")
            },
        })
    }
}

/// `localhost:80`, `[::1]:80`, `::1`, `:80`, `localhost`.
fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    if authority.parse::<Ipv6Addr>().is_ok() {
        return Some((authority, None));
    }
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port.parse().ok()?))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    match authority.rsplit_once(':') {
        Some((host, port)) => Some((host, Some(port.parse().ok()?))),
        None => Some((authority, None)),
    }
}

/// Nobody connects to 0.0.0.0: who listens everywhere is met on this machine.
fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_ollamas_variable_is_understood() {
        for (said, expected) in [
            ("", "http://127.0.0.1:11434"),
            ("0.0.0.0", "http://127.0.0.1:11434"),
            ("0.0.0.0:8080", "http://127.0.0.1:8080"),
            (":8080", "http://127.0.0.1:8080"),
            ("example.com", "http://example.com:11434"),
            ("example.com:1", "http://example.com:1"),
            ("http://example.com", "http://example.com:80"),
            ("http://example.com:5/", "http://example.com:5"),
            ("http://example.com/a/b/", "http://example.com:80/a/b"),
            ("::1", "http://[::1]:11434"),
            ("[::1]", "http://[::1]:11434"),
            ("[::]:9", "http://[::1]:9"),
            (" \"127.0.0.1:11434\" ", "http://127.0.0.1:11434"),
        ] {
            let address: Address = said.parse().unwrap_or_else(|error| panic!("{said}: {error}"));
            assert_eq!(address.to_string(), expected, "{said}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_form() {
        for said in [
            "a b",
            "host:port",
            "host:65536",
            "ftp://host",
            "[::1",
            "[::1]80",
            "a\r\nb",
            "a:b:1",
            "u@h",
        ] {
            let error = said.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains("http://host:port"), "{said}: {error}");
        }
        let error = "https://host".parse::<Address>().unwrap_err().to_string();
        assert!(error.contains("https"), "{error}");
    }
}
