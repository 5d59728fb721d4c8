//! The configuration: said in flags, environment and file (`sources`), understood and checked once, here.

mod choice;
mod error;
mod ollama;
mod read;
mod settings;
mod sources;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use library::store::OwnStore;
use models::{DeviceSpec, KvFormat, Placement, Simd};

use crate::app::{Limits, OllamaManners, SamplingDefaults};
use crate::http::{HttpLimits, Origins};
use crate::roster::{Alias, KeepAlive};
use crate::shelf::{Places, Rules};

pub(crate) use choice::{ModelChoice, hub_cache, stores};
pub(crate) use error::{ConfigError, Source};
use read::Reader;
pub(crate) use read::split;
pub(crate) use settings::{SETTINGS, Setting};
use sources::Choices;
pub(crate) use sources::Said;

/// How to write the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Everything the program was told, checked. What depends on the model is checked when it is known.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) model: ModelChoice,
    /// Names that stand for other names.
    pub(crate) aliases: Vec<Alias>,
    /// Whether the model answers to every other name.
    pub(crate) any_model: bool,
    /// Whether other models are loaded when they are asked for.
    pub(crate) on_demand: bool,
    /// Models loaded at once.
    pub(crate) loaded_models: usize,
    /// How long a model that was loaded on demand stays.
    pub(crate) keep_alive: KeepAlive,
    /// The store that is ours to change.
    pub(crate) store: OwnStore,
    /// The engines' devices, in order.
    pub(crate) devices: Vec<DeviceSpec>,
    /// How the model lies on them; none: as fits best.
    pub(crate) placement: Option<Placement>,
    /// One for each device.
    pub(crate) weights: Vec<u32>,
    pub(crate) context: Option<usize>,
    /// Whether a model that holds less than `context` is served with what it holds.
    pub(crate) is_context_wish: bool,
    pub(crate) slots: usize,
    pub(crate) queue: usize,
    pub(crate) step_tokens: usize,
    pub(crate) kv_tokens: Option<usize>,
    pub(crate) kv: KvFormat,
    pub(crate) simd: Simd,
    pub(crate) listen: SocketAddr,
    /// Whose web pages may call.
    pub(crate) origins: Origins,
    /// Names of the server beside those of every machine.
    pub(crate) hosts: Vec<String>,
    pub(crate) drain: Duration,
    pub(crate) log_filter: String,
    pub(crate) log_format: LogFormat,
    pub(crate) sampling: SamplingDefaults,
    pub(crate) limits: Limits,
    pub(crate) http: HttpLimits,
    /// The process's variables, where stores are looked for.
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) ollama: OllamaManners,
    /// What clients may do with model files.
    pub(crate) rules: Rules,
    choices: Choices,
}

impl Config {
    /// Understands what was said.
    ///
    /// # Errors
    /// The first value that is not allowed, with where it was found and what is.
    pub(crate) fn resolve(said: &Said) -> Result<Config, ConfigError> {
        let choices = said.choose()?;
        let read = Reader(&choices);
        let store = read.store(&said.environment);
        let devices = read.devices()?;
        let weights = read.weights(devices.len())?;
        let listen = read.listen()?;
        let config = Config {
            aliases: read.aliases()?,
            any_model: read.truth("any_model")?,
            on_demand: read.truth("on_demand")?,
            loaded_models: read.number("loaded_models", 1..=1024)?,
            keep_alive: read.keep_alive()?,
            model: read.model(&store, &said.environment)?,
            store,
            devices,
            placement: read.placement()?,
            weights,
            context: read.optional("context", 16..=10_000_000)?,
            is_context_wish: false,
            slots: read.number("slots", 1..=1024)?,
            queue: read.number("queue", 0..=100_000)?,
            step_tokens: read.number("step_tokens", 1..=65_536)?,
            kv_tokens: read.optional("kv_tokens", 16..=100_000_000)?,
            kv: read.kv()?,
            simd: read.simd()?,
            listen,
            origins: read.origins()?,
            hosts: read.hosts()?,
            drain: read.seconds("drain_seconds", 0..=86_400)?,
            log_filter: read.log_filter()?,
            log_format: read.log_format()?,
            sampling: read.sampling()?,
            limits: read.limits()?,
            http: read.http()?,
            environment: said.environment.clone(),
            ollama: read.ollama()?,
            rules: read.rules(listen, &said.environment)?,
            choices: choices.clone(),
        };
        Ok(config)
    }

    /// Where the value of `key` comes from.
    pub(crate) fn source(&self, key: &str) -> Source {
        self.choices
            .get(key)
            .map_or(Source::Default, |chosen| chosen.from.clone())
    }

    /// Where model files are.
    pub(crate) fn places(&self) -> Places {
        Places {
            own: self.store.clone(),
            stores: stores(&self.store, &self.environment),
            hub: hub_cache(&self.environment),
            configured: self.model.clone(),
        }
    }

    /// All settings as a file that says the same, each with its source.
    pub(crate) fn as_toml(&self) -> String {
        let mut page = String::new();
        let mut topic = None;
        for setting in SETTINGS {
            if topic != Some(setting.topic) {
                let gap = if topic.is_some() { "\n" } else { "" };
                let _ = writeln!(page, "{gap}# {}", setting.topic.heading());
                topic = Some(setting.topic);
            }
            let _ = match self.choices.get(setting.key) {
                Some(chosen) => {
                    let line = format!("{} = {}", setting.key, toml_value(&chosen.text));
                    writeln!(page, "{line:<36} # {}", chosen.from)
                }
                None => writeln!(page, "# {} is not set: {}", setting.key, setting.help),
            };
        }
        page
    }
}

/// Numbers and truth values bare, all else in quotes.
fn toml_value(text: &str) -> String {
    let is_bare = text.parse::<i64>().is_ok() || text.parse::<bool>().is_ok() || {
        text.parse::<f64>().is_ok_and(f64::is_finite)
            && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
            && !text.starts_with('.')
            && !text.ends_with('.')
    };
    if is_bare {
        text.to_owned()
    } else {
        toml::Value::String(text.to_owned()).to_string()
    }
}

#[cfg(test)]
mod tests;
