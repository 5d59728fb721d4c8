//! Where values come from, and who wins: a flag over the environment, the environment over the file, the file over
//! the default.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::error::{ConfigError, Source};
use super::settings::{SETTINGS, VARIABLE_PREFIX, find, near};

/// Everything that was said, not yet understood.
#[derive(Default)]
pub(crate) struct Said {
    /// Key and value of every flag given.
    pub(crate) flags: Vec<(&'static str, String)>,
    /// The process's environment, or a test's.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// `--config`; else `TANDEM_CONFIG` is looked at.
    pub(crate) file: Option<PathBuf>,
}

/// One value and where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) text: String,
    pub(crate) from: Source,
}

/// The winning value of each setting that has one.
pub(crate) type Choices = BTreeMap<&'static str, Chosen>;

/// Variables of ours that are no setting, but have a meaning.
const OTHER_VARIABLES: [&str; 2] = ["TANDEM_CONFIG", "TANDEM_REVISION"];

impl Said {
    /// Decides for each setting whose word counts.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, or has a key that no setting has.
    pub(crate) fn choose(&self) -> Result<Choices, ConfigError> {
        let mut choices = Choices::new();
        for setting in SETTINGS.iter().filter(|setting| !setting.default.is_empty()) {
            choices.insert(
                setting.key,
                Chosen {
                    text: setting.default.to_owned(),
                    from: Source::Default,
                },
            );
        }
        if let Some(file) = self.file() {
            choices.extend(read_file(&file)?);
        }
        for setting in SETTINGS {
            let variable = setting.variable();
            if let Some(text) = self.variable(&variable) {
                choices.insert(
                    setting.key,
                    Chosen {
                        text,
                        from: Source::Variable(variable),
                    },
                );
            }
        }
        for (key, text) in &self.flags {
            let flag = find(key).map_or_else(|| (*key).to_owned(), |setting| setting.flag());
            choices.insert(
                key,
                Chosen {
                    text: text.clone(),
                    from: Source::Flag(format!("--{flag}")),
                },
            );
        }
        Ok(choices)
    }

    /// Variables that look like ours and are not: told at start-up, because another program may own them.
    pub(crate) fn unknown_variables(&self) -> Vec<String> {
        let names = self.environment.iter().filter_map(|(name, _)| name.to_str());
        let ours = names.filter(|name| name.starts_with(VARIABLE_PREFIX) && !OTHER_VARIABLES.contains(name));
        let mut unknown: Vec<String> = ours
            .filter(|name| !SETTINGS.iter().any(|setting| setting.variable() == **name))
            .map(str::to_owned)
            .collect();
        unknown.sort_unstable();
        unknown
    }

    fn file(&self) -> Option<PathBuf> {
        self.file
            .clone()
            .or_else(|| self.variable("TANDEM_CONFIG").map(PathBuf::from))
    }

    /// An empty variable is an unset one: that is how compose files leave a value out.
    fn variable(&self, name: &str) -> Option<String> {
        let (_, value) = self.environment.iter().find(|(variable, _)| variable == name)?;
        let value = value.to_string_lossy().trim().to_owned();
        (!value.is_empty()).then_some(value)
    }
}

fn read_file(path: &Path) -> Result<Choices, ConfigError> {
    let file = path.to_path_buf();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(cause) => return Err(ConfigError::Unreadable { file, cause }),
    };
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
        ConfigError::Syntax {
            file: file.clone(),
            line,
            cause: error.message().replace('\n', " "),
        }
    })?;
    let mut choices = Choices::new();
    for (found, value) in table {
        let Some(setting) = find(&found) else {
            let near = near(&found);
            return Err(ConfigError::UnknownKey { file, found, near });
        };
        let Some(text) = plain(&value) else {
            return Err(ConfigError::Kind {
                file,
                key: found,
                found: value.type_str(),
            });
        };
        choices.insert(
            setting.key,
            Chosen {
                text,
                from: Source::File(file.clone()),
            },
        );
    }
    Ok(choices)
}

/// A scalar as a flag would have it; a list with commas.
fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Array(entries) => {
            let entries: Option<Vec<String>> = entries.iter().map(plain).collect();
            Some(entries?.join(","))
        }
        // `[aliases]` is easier to read than a list.
        toml::Value::Table(entries) => {
            let entry = |(name, value): (&String, &toml::Value)| Some(format!("{name}={}", value.as_str()?));
            let entries: Option<Vec<String>> = entries.iter().map(entry).collect();
            Some(entries?.join(","))
        }
        toml::Value::Datetime(_) => None,
    }
}
