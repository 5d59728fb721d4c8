//! Which server a command talks to: the one it was told, else the one that `tandem serve` would be.

use super::variable;
use crate::client::{Address, Client, ClientError};
use crate::config::Said;
use crate::failure::Failure;

/// A server, whether or not it is there.
pub(super) struct Server {
    pub(super) client: Client,
    /// Whether somebody named it, so that no other one will do.
    pub(super) is_named: bool,
}

impl Server {
    /// The one that `host` names, else `OLLAMA_HOST`, else the setting `listen`.
    ///
    /// # Errors
    /// That is no address, or the configuration file cannot be read.
    pub(super) fn of(host: Option<&str>, said: &Said) -> Result<Server, Failure> {
        let named = host
            .map(str::to_owned)
            .or_else(|| variable(&said.environment, "OLLAMA_HOST"));
        let is_named = named.is_some();
        let text = match named {
            Some(text) => text,
            None => said
                .choose()?
                .get("listen")
                .map(|chosen| chosen.text.clone())
                .unwrap_or_default(),
        };
        let address: Address = text.parse()?;
        Ok(Server {
            client: Client::new(address),
            is_named,
        })
    }
}

/// The error of a server that has no such model, with names that may have been meant.
pub(super) async fn with_near_names(error: ClientError, client: &Client, model: &str) -> Failure {
    if !error.is_not_found() {
        return error.into();
    }
    Failure::Model(format!("{error}{}", near_names(client, model).await))
}

/// The end of a line about a model that a server does not have: names that may have been meant, if there are any.
pub(super) async fn near_names(client: &Client, model: &str) -> String {
    let tags = client.get("/api/tags").await.unwrap_or_default();
    let models = tags.get("models").and_then(|models| models.as_array());
    let names = models
        .into_iter()
        .flatten()
        .filter_map(|model| model.get("name")?.as_str());
    let near = near(names, model);
    if near.is_empty() {
        String::new()
    } else {
        format!("; there is {}", near.join(", "))
    }
}

/// At most three of `names` that begin as `wanted` does: other tags of one model first.
fn near<'a>(names: impl Iterator<Item = &'a str>, wanted: &str) -> Vec<String> {
    let stem = |name: &str| name.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let wanted = stem(wanted);
    let mut near: Vec<(u8, &str)> = names
        .filter_map(|name| {
            let found = stem(name);
            let shared = found.chars().zip(wanted.chars()).take_while(|(a, b)| a == b).count();
            match () {
                () if found == wanted => Some((0, name)),
                () if found.contains(&wanted) || wanted.contains(&found) => Some((1, name)),
                () if shared >= 4 => Some((2, name)),
                () => None,
            }
        })
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn check(host: Option<&str>, variables: &[(&str, &str)], expected: &str) {
        let environment = variables
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let said = Said {
            environment: environment.collect(),
            ..Said::default()
        };
        let server = Server::of(host, &said).unwrap();
        let is_named = host.is_some() || variables.iter().any(|(name, _)| *name == "OLLAMA_HOST");
        assert_eq!(
            format!("{:?}", server.client),
            format!("{:?}", Client::new(expected.parse().unwrap()))
        );
        assert_eq!(server.is_named, is_named, "{host:?} {variables:?}");
    }

    #[test]
    fn a_flag_wins_over_ollamas_variable_and_that_over_the_setting() {
        check(None, &[], "127.0.0.1:11434");
        check(None, &[("TANDEM_LISTEN", "0.0.0.0:99")], "127.0.0.1:99");
        check(
            None,
            &[("TANDEM_LISTEN", "127.0.0.1:99"), ("OLLAMA_HOST", "a:1")],
            "a:1",
        );
        check(Some("b:2"), &[("OLLAMA_HOST", "a:1")], "b:2");
    }

    #[test]
    fn names_that_may_have_been_meant_are_other_tags_first() {
        let names = [
            "deepseek-coder:1b",
            "deepseek-r1:32b",
            "qwen3:8b",
            "deepseek-r1-distill:7b",
        ];
        let near = near(names.into_iter(), "deepseek-r1:33b");
        assert_eq!(near, ["deepseek-r1:32b", "deepseek-r1-distill:7b", "deepseek-coder:1b"]);
    }
}
