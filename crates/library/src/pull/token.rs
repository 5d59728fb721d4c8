//! The token with which a registry lets everybody read: where to ask for it, and that nobody else is asked.

use serde::Deserialize;

use super::client::{Ask, Client, Reply};
use super::error::PullError;
use super::origin::{Origin, Scheme};
use super::settings::Secret;
use super::url::{Url, encoded};
use crate::Quoted;

/// Bytes of the answer that has the token.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// Registries that are known to have their tokens made by another host.
const KNOWN_REALMS: [(&str, &str); 1] = [("registry.ollama.ai", "ollama.com")];

/// What a 401 asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    realm: Url,
    service: String,
    scope: String,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

impl Challenge {
    /// Reads what `reply` asks for; `None` if it is nothing that a request without an account can give.
    pub(super) fn of(reply: &Reply) -> Option<Challenge> {
        Challenge::parse(reply.header("www-authenticate")?)
    }

    fn parse(header: &str) -> Option<Challenge> {
        let (scheme, rest) = header.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let value = |name: &str| {
            fields(rest)
                .into_iter()
                .find(|(found, _)| found == name)
                .map(|(_, value)| value)
        };
        Some(Challenge {
            realm: Url::parse(&value("realm")?)?,
            service: value("service").unwrap_or_default(),
            scope: value("scope").unwrap_or_default(),
        })
    }

    /// Asks for the token, if the realm is the registry's own or known to be.
    pub(super) fn answer(&self, client: &Client, registry: &Origin) -> Result<Secret, PullError> {
        let realm = &self.realm.origin;
        let is_known = realm.scheme == Scheme::Https
            && realm.port == 443
            && KNOWN_REALMS.contains(&(registry.host.as_str(), realm.host.as_str()));
        if realm != registry && !is_known {
            return Err(PullError::Redirect {
                host: registry.to_string(),
                target: Quoted::new(&realm.to_string()),
                why: "it is another host that would be asked for a token",
            });
        }
        let reply = client.get_known(&Ask {
            url: &self.address(),
            accept: "application/json",
            bearer: None,
            from: 0,
            is_small: true,
        })?;
        if reply.status() != 200 {
            return Err(reply.unexpected());
        }
        let host = reply.origin.to_string();
        let bytes = reply.read("the registry's token", ANSWER_BYTES_MAX)?;
        // What was sent is not shown: it may be the token.
        let malformed = |cause| PullError::Malformed {
            host: host.clone(),
            what: "a token",
            cause: Quoted::new(cause),
        };
        let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| malformed("it is no JSON object with one"))?;
        let token = answer
            .token
            .or(answer.access_token)
            .ok_or_else(|| malformed("there is none"))?;
        Secret::new(&token).map_err(|_| malformed("it has characters that no token has"))
    }

    fn address(&self) -> Url {
        let query = [("service", &self.service), ("scope", &self.scope)]
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("{name}={}", encoded(value, "")))
            .collect::<Vec<_>>()
            .join("&");
        self.realm.with_query(&query)
    }
}

/// The pairs `name="value"`, their names in lower case.
fn fields(mut rest: &str) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',']).to_ascii_lowercase();
        let quoted = after.strip_prefix('"').and_then(|quoted| quoted.split_once('"'));
        let (value, after) = quoted.unwrap_or_else(|| after.split_once(',').unwrap_or((after, "")));
        fields.push((name, value.trim().to_owned()));
        rest = after;
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_read() {
        let header =
            r#"Bearer realm="https://ollama.com/token", service="ollama.com",scope="repository:library/x:pull""#;
        let challenge = Challenge::parse(header).unwrap();
        assert_eq!(
            challenge.address().text(),
            "https://ollama.com:443/token?service=ollama.com&scope=repository%3Alibrary%2Fx%3Apull"
        );
        let bare = Challenge::parse("bearer realm=https://a.example/t?x=y,service=s").unwrap();
        assert_eq!(bare.address().text(), "https://a.example:443/t?x=y&service=s");
    }

    #[test]
    fn what_is_no_challenge_is_none() {
        for header in [
            "",
            "Bearer",
            "Basic realm=\"https://a.example\"",
            "Bearer service=\"x\"",
            "Bearer realm=\"\"",
            "Bearer realm=\"https://[::1]/\"",
            "Bearer realm=\"https://0x7f.1/\"",
            "Bearer ====",
            "Bearer realm=\"https://a.example",
        ] {
            assert_eq!(Challenge::parse(header), None, "{header}");
        }
    }
}
