//! What a name in a request means, as far as it can be said without looking at a file.

use super::{Key, NoModel, Roster};
use crate::config::ModelChoice;

/// Behind a model's name: replies without a thought.
const NO_THOUGHT: &str = ":nothink";
/// Names that stand for other names are followed this many times at most.
const ALIAS_STEPS_MAX: usize = 8;
/// Names listed in a refusal.
const NAMES_SHOWN: usize = 8;

/// A model under one of its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Its weights.
    pub(crate) key: Key,
    /// What is stored beside the weights under this name: different parameters are different faces.
    pub(crate) face: String,
    /// Where to load it from.
    pub(crate) choice: ModelChoice,
    /// Whether the name asked for replies without a thought.
    pub(crate) skips_thought: bool,
}

/// A name that the operator gave to a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alias {
    pub(crate) name: String,
    /// Another name, perhaps with `:nothink` behind it.
    pub(crate) stands_for: String,
}

/// The names that are known from the start.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// The configured model, under its own name.
    pub(crate) configured: Wanted,
    /// What it is called, its own name first.
    pub(crate) own: Vec<String>,
    /// What it is called where no store has a model of that name.
    pub(crate) stand_ins: Vec<String>,
    /// By the operator.
    pub(crate) aliases: Vec<Alias>,
    /// Whether the configured model answers to every other name.
    pub(crate) any_model: bool,
    /// Whether stores are asked: else the configured model is the only one.
    pub(crate) on_demand: bool,
}

/// What a name means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The configured model.
    Configured { skips_thought: bool },
    /// A store may know it.
    Stored { name: String, skips_thought: bool },
}

impl Alias {
    /// Lists show it with a tag, and what they show can be asked for.
    fn is_called(&self, name: &str) -> bool {
        let untagged = without_suffix(name, ":latest").unwrap_or(name);
        [name, untagged].iter().any(|name| self.name.eq_ignore_ascii_case(name))
    }
}

impl Names {
    /// The configured model.
    pub(crate) fn configured(&self) -> &Wanted {
        &self.configured
    }

    /// The configured model's own name.
    pub(crate) fn own_name(&self) -> &str {
        self.own.first().map_or("default", String::as_str)
    }

    /// What the operator calls `name`, if anything.
    pub(crate) fn alias(&self, name: &str) -> Option<&Alias> {
        self.aliases.iter().find(|alias| alias.is_called(name))
    }

    /// What `name` means before any store is asked.
    pub(crate) fn meaning(&self, name: Option<&str>) -> Meaning {
        let mut name = name.unwrap_or("default");
        let mut skips_thought = false;
        for _ in 0..ALIAS_STEPS_MAX {
            if let Some(alias) = self.alias(name) {
                name = &alias.stands_for;
            } else if let Some(rest) = without_suffix(name, NO_THOUGHT) {
                (name, skips_thought) = (rest, true);
            } else {
                break;
            }
        }
        if name.is_empty() || name == "default" || is_among(&self.own, name) {
            return Meaning::Configured { skips_thought };
        }
        Meaning::Stored {
            name: name.to_owned(),
            skips_thought,
        }
    }

    /// Whether the configured model answers to a name that no store knows.
    pub(crate) fn stands_in(&self, name: &str) -> bool {
        self.any_model || is_among(&self.stand_ins, name)
    }

    fn configured_with(&self, skips_thought: bool) -> Wanted {
        Wanted {
            skips_thought,
            ..self.configured.clone()
        }
    }

    fn shown(&self) -> Vec<String> {
        let own = self.own.iter().chain(&self.stand_ins).map(String::as_str);
        let aliases = self.aliases.iter().map(|alias| alias.name.as_str());
        let mut names: Vec<String> = Vec::new();
        for name in own
            .take(1)
            .chain(["default"])
            .chain(aliases)
            .chain(self.stand_ins.iter().map(String::as_str))
        {
            if names.len() < NAMES_SHOWN && !names.iter().any(|shown| shown == name) {
                names.push(name.to_owned());
            }
        }
        names
    }
}

impl Roster {
    /// Which model `name` means; no name at all means the configured one.
    ///
    /// # Errors
    /// No model is called so.
    pub(crate) async fn wanted(&self, name: Option<&str>) -> Result<Wanted, NoModel> {
        let names = &self.inner.names;
        let (name, skips_thought) = match names.meaning(name) {
            Meaning::Configured { skips_thought } => return Ok(names.configured_with(skips_thought)),
            Meaning::Stored { name, skips_thought } => (name, skips_thought),
        };
        let found = if names.on_demand {
            self.find(name.clone()).await?
        } else {
            None
        };
        match found {
            Some(found) => Ok(Wanted { skips_thought, ..found }),
            None if names.stands_in(&name) => Ok(names.configured_with(skips_thought)),
            None => Err(NoModel::Unknown { names: names.shown() }),
        }
    }

    async fn find(&self, name: String) -> Result<Option<Wanted>, NoModel> {
        let inner = std::sync::Arc::clone(&self.inner);
        let found = tokio::task::spawn_blocking(move || inner.loader.find(&name)).await;
        let found = found.unwrap_or_else(|error| {
            tracing::error!(%error, "looking for a model panicked");
            Ok(None)
        });
        found.map_err(NoModel::Failed)
    }
}

fn is_among(names: &[String], name: &str) -> bool {
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn without_suffix<'a>(name: &'a str, suffix: &str) -> Option<&'a str> {
    let at = name.len().checked_sub(suffix.len())?;
    let (rest, end) = name.split_at_checked(at)?;
    end.eq_ignore_ascii_case(suffix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(aliases: &[(&str, &str)], any_model: bool) -> Names {
        let alias = |(name, stands_for): &(&str, &str)| Alias {
            name: (*name).to_owned(),
            stands_for: (*stands_for).to_owned(),
        };
        Names {
            configured: Wanted {
                key: Key::Tiny,
                face: "tiny".to_owned(),
                choice: ModelChoice::Tiny,
                skips_thought: false,
            },
            own: vec!["tandem-tiny".to_owned(), "tiny".to_owned()],
            stand_ins: vec!["deepseek-r1:32b".to_owned()],
            aliases: aliases.iter().map(alias).collect(),
            any_model,
            on_demand: true,
        }
    }

    fn check(name: Option<&str>, expected: Meaning) {
        let aliases = [
            ("gpt-4o-mini", "deepseek-r1:32b:nothink"),
            ("fast", "gpt-4o-mini"),
            ("me", "you"),
            ("you", "me"),
            ("house", "tiny"),
        ];
        assert_eq!(names(&aliases, false).meaning(name), expected, "{name:?}");
    }

    fn configured(skips_thought: bool) -> Meaning {
        Meaning::Configured { skips_thought }
    }

    fn stored(name: &str, skips_thought: bool) -> Meaning {
        Meaning::Stored {
            name: name.to_owned(),
            skips_thought,
        }
    }

    #[test]
    fn names_lead_to_the_configured_model_or_to_a_store() {
        for name in [
            None,
            Some(""),
            Some("default"),
            Some("tiny"),
            Some("Tandem-TINY"),
            Some("house"),
            Some("house:latest"),
        ] {
            check(name, configured(false));
        }
        for name in ["tiny:nothink", "default:NoThink", "house:nothink", ":nothink"] {
            check(Some(name), configured(true));
        }
        check(Some("deepseek-r1:32b"), stored("deepseek-r1:32b", false));
        check(Some("gpt-4o-mini"), stored("deepseek-r1:32b", true));
        check(Some("fast"), stored("deepseek-r1:32b", true));
        check(Some("深度"), stored("深度", false));
    }

    #[test]
    fn aliases_that_stand_for_each_other_end_somewhere() {
        let meaning = names(&[("me", "you"), ("you", "me")], false).meaning(Some("me"));
        assert!(matches!(meaning, Meaning::Stored { .. }), "{meaning:?}");
    }

    #[test]
    fn every_name_is_good_where_any_model_is_allowed() {
        assert!(names(&[], true).stands_in("gpt-5"));
        assert!(!names(&[], false).stands_in("gpt-5"));
        assert!(names(&[], false).stands_in("DeepSeek-R1:32b"));
    }
}
