//! Words to values: each setting's allowed range, and the refusal that names it.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use library::pull;
use library::store::OwnStore;
use models::{DeviceSpec, KvFormat, Placement, Simd};

use super::choice::{own_store, own_store_at, variable};
use super::error::{ConfigError, Source};
use super::sources::{Choices, Chosen};
use super::{LogFormat, ModelChoice};
use crate::app::{Limits, OllamaManners, SamplingDefaults, ThinkShown};
use crate::http::{Hosts, HttpLimits, Origins};
use crate::roster::{Alias, KeepAlive};
use crate::shelf::Rules;

/// Devices at most.
pub(super) const DEVICES_MAX: usize = 64;
const DEVICES_ALLOWED: &str = "`cpu` or `cuda:0` and so on, once per engine, such as cpu,cpu, each with a limit such as \
     cpu@8G (M or G) if it shall use less than its memory, at most 64 times";

/// Entries of `origins` and of `hosts` at most.
const NAMES_MAX: usize = 256;

/// Reads settings out of what was chosen.
pub(super) struct Reader<'a>(pub(super) &'a Choices);

impl Reader<'_> {
    fn chosen(&self, key: &'static str) -> Chosen {
        let nothing = || Chosen {
            text: String::new(),
            from: Source::Default,
        };
        self.0.get(key).cloned().unwrap_or_else(nothing)
    }

    fn refuse<T>(&self, key: &'static str, allowed: impl Into<String>) -> Result<T, ConfigError> {
        let Chosen { text: found, from } = self.chosen(key);
        Err(ConfigError::Value {
            key,
            found,
            allowed: allowed.into(),
            from,
        })
    }

    pub(super) fn number<T: FromStr + PartialOrd + std::fmt::Display>(
        &self,
        key: &'static str,
        allowed: RangeInclusive<T>,
    ) -> Result<T, ConfigError> {
        match self.chosen(key).text.replace('_', "").parse() {
            Ok(number) if allowed.contains(&number) => Ok(number),
            _ => self.refuse(
                key,
                format!("a whole number from {} to {}", allowed.start(), allowed.end()),
            ),
        }
    }

    pub(super) fn optional(
        &self,
        key: &'static str,
        allowed: RangeInclusive<usize>,
    ) -> Result<Option<usize>, ConfigError> {
        if self.0.contains_key(key) {
            self.number(key, allowed).map(Some)
        } else {
            Ok(None)
        }
    }

    fn fraction(&self, key: &'static str, allowed: RangeInclusive<f32>) -> Result<f32, ConfigError> {
        match self.chosen(key).text.parse() {
            Ok(number) if allowed.contains(&number) => Ok(number),
            _ => self.refuse(key, format!("a number from {} to {}", allowed.start(), allowed.end())),
        }
    }

    pub(super) fn seconds(&self, key: &'static str, allowed: RangeInclusive<u64>) -> Result<Duration, ConfigError> {
        self.number(key, allowed).map(Duration::from_secs)
    }

    pub(super) fn truth(&self, key: &'static str) -> Result<bool, ConfigError> {
        match self.chosen(key).text.as_str() {
            "true" | "1" | "yes" => Ok(true),
            "false" | "0" | "no" => Ok(false),
            _ => self.refuse(key, "true or false"),
        }
    }

    pub(super) fn store(&self, environment: &[(OsString, OsString)]) -> OwnStore {
        match self.chosen("store").text.as_str() {
            "" => own_store(environment),
            said => own_store_at(Path::new(said), environment),
        }
    }

    pub(super) fn model(
        &self,
        own: &OwnStore,
        environment: &[(OsString, OsString)],
    ) -> Result<ModelChoice, ConfigError> {
        let Chosen { text, from } = self.chosen("model");
        ModelChoice::among(&text, own, environment).map_err(|cause| ConfigError::Name { cause, from })
    }

    /// What clients of a server at `listen` may do with model files.
    pub(super) fn rules(&self, listen: SocketAddr, environment: &[(OsString, OsString)]) -> Result<Rules, ConfigError> {
        let text = |name| variable(environment, name).map(|value| value.to_string_lossy().trim().to_owned());
        let hub_token = match text("HF_TOKEN").filter(|token| !token.is_empty()) {
            None => None,
            Some(token) => match pull::Secret::new(&token) {
                Ok(secret) => Some(secret),
                // It is nobody's mistake here: it matters only to whoever pulls.
                Err(error) => {
                    crate::warn(&error);
                    None
                }
            },
        };
        let hosts = self.chosen("pull_hosts");
        let pull = pull::Settings {
            // Unsaid, the hub's mirror that `HF_ENDPOINT` names stands in the hub's place.
            hosts: (hosts.from != Source::Default).then(|| split(&hosts.text)),
            hub: text("HF_ENDPOINT").filter(|address| !address.is_empty()),
            hub_token,
            ..pull::Settings::default()
        };
        if pull::Puller::new(&pull).is_err() {
            return self.refuse(
                "pull_hosts",
                "hosts with commas between them, such as registry.ollama.ai,http://10.0.0.2:5000, and in HF_ENDPOINT an address such as https://hf-mirror.com",
            );
        }
        let is_changeable = match self.chosen("manage_models").text.as_str() {
            "" => is_loopback(listen.ip()),
            _ => self.truth("manage_models")?,
        };
        Ok(Rules {
            is_changeable,
            blob_bytes_max: self.number("blob_bytes", 0..=1 << 50)?,
            pull,
        })
    }

    pub(super) fn aliases(&self) -> Result<Vec<Alias>, ConfigError> {
        let entries = split(&self.chosen("aliases").text);
        let alias = |entry: &String| {
            let (name, stands_for) = entry.split_once('=')?;
            let (name, stands_for) = (name.trim().to_owned(), stands_for.trim().to_owned());
            (!name.is_empty() && !stands_for.is_empty()).then_some(Alias { name, stands_for })
        };
        match entries.iter().map(alias).collect() {
            Some(aliases) => Ok(aliases),
            None => self.refuse(
                "aliases",
                "a list such as gpt-4o-mini=deepseek-r1:32b:nothink,gpt-4=default",
            ),
        }
    }

    pub(super) fn keep_alive(&self) -> Result<KeepAlive, ConfigError> {
        match KeepAlive::parse(&self.chosen("keep_alive").text) {
            Some(keep_alive) => Ok(keep_alive),
            None => self.refuse(
                "keep_alive",
                "a time such as 10m or 1h30m, a number of seconds, or -1 for ever",
            ),
        }
    }

    pub(super) fn devices(&self) -> Result<Vec<DeviceSpec>, ConfigError> {
        let names = split(&self.chosen("devices").text);
        let devices: Result<Vec<DeviceSpec>, _> = names.iter().map(|name| name.parse()).collect();
        match devices {
            Ok(devices) if (1..=DEVICES_MAX).contains(&devices.len()) => Ok(devices),
            _ => self.refuse("devices", DEVICES_ALLOWED),
        }
    }

    pub(super) fn placement(&self) -> Result<Option<Placement>, ConfigError> {
        match self.chosen("placement").text.as_str() {
            "auto" => Ok(None),
            name => match Placement::from_name(name) {
                Some(placement) => Ok(Some(placement)),
                None => {
                    let names = Placement::ALL.map(Placement::name).join(", ");
                    self.refuse("placement", format!("auto, {names}"))
                }
            },
        }
    }

    pub(super) fn weights(&self, devices: usize) -> Result<Vec<u32>, ConfigError> {
        let Chosen { text, from } = self.chosen("weights");
        if text.is_empty() {
            return Ok(vec![1; devices]);
        }
        let weights: Result<Vec<u32>, _> = split(&text).iter().map(|weight| weight.parse()).collect();
        match weights {
            Ok(weights) if weights.iter().all(|weight| (1..=1000).contains(weight)) => {
                if weights.len() != devices {
                    return Err(ConfigError::WeightCount {
                        weights: weights.len(),
                        devices,
                        from,
                    });
                }
                Ok(weights)
            }
            _ => self.refuse("weights", "a whole number from 1 to 1000 for each engine, such as 3,1"),
        }
    }

    pub(super) fn kv(&self) -> Result<KvFormat, ConfigError> {
        match KvFormat::from_name(&self.chosen("kv").text) {
            Some(format) => Ok(format),
            None => self.refuse("kv", KvFormat::ALL.map(KvFormat::name).join(" or ")),
        }
    }

    pub(super) fn simd(&self) -> Result<Simd, ConfigError> {
        match Simd::from_name(&self.chosen("simd").text) {
            Some(simd) => Ok(simd),
            None => self.refuse("simd", Simd::ALL.map(Simd::name).join(", ")),
        }
    }

    pub(super) fn listen(&self) -> Result<SocketAddr, ConfigError> {
        let is_insecure = self.truth("insecure")?;
        let Chosen { text, from } = self.chosen("listen");
        let text = text.strip_prefix("http://").unwrap_or(&text);
        let address = match text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None => text.to_owned(),
        };
        let Ok(listen) = address.parse::<SocketAddr>() else {
            return self.refuse(
                "listen",
                "an address and a port, such as 127.0.0.1:11434, [::1]:11434 or 0.0.0.0:11434",
            );
        };
        if !is_loopback(listen.ip()) && !is_insecure {
            return Err(ConfigError::Exposed { listen, from });
        }
        Ok(listen)
    }

    pub(super) fn origins(&self) -> Result<Origins, ConfigError> {
        let entries = split(&self.chosen("origins").text);
        match Origins::read(&entries) {
            Some(origins) if entries.len() <= NAMES_MAX => Ok(origins),
            _ => self.refuse(
                "origins",
                "`*`, or at most 256 origins without a slash at the end, such as https://chat.example,http://localhost:*",
            ),
        }
    }

    pub(super) fn hosts(&self) -> Result<Vec<String>, ConfigError> {
        let names = split(&self.chosen("hosts").text.to_ascii_lowercase());
        if names.len() <= NAMES_MAX && names.iter().all(|name| Hosts::can_have(name)) {
            return Ok(names);
        }
        self.refuse(
            "hosts",
            "at most 256 names or addresses without a port, such as gpu.example,*.lan",
        )
    }

    pub(super) fn log_filter(&self) -> Result<String, ConfigError> {
        let text = self.chosen("log").text;
        // Both would be taken for a target's name, and silence everything else.
        let is_format = matches!(text.as_str(), "text" | "json");
        if is_format || text.parse::<tracing_subscriber::filter::Targets>().is_err() {
            return self.refuse(
                "log",
                "a level (error, warn, info, debug, trace, off) or a list such as info,tandem=debug, with `log_format` beside it",
            );
        }
        Ok(text)
    }

    pub(super) fn log_format(&self) -> Result<LogFormat, ConfigError> {
        match self.chosen("log_format").text.as_str() {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => self.refuse("log_format", "text or json"),
        }
    }

    pub(super) fn sampling(&self) -> Result<SamplingDefaults, ConfigError> {
        Ok(SamplingDefaults {
            temperature: self.fraction("temperature", 0.0..=2.0)?,
            top_p: self.fraction("top_p", f32::MIN_POSITIVE..=1.0)?,
            top_k: self.number("top_k", 0..=1_000_000)?,
            min_p: self.fraction("min_p", 0.0..=1.0)?,
            repetition_penalty: self.fraction("repetition_penalty", 0.01..=10.0)?,
            stop: Vec::new(),
        })
    }

    pub(super) fn ollama(&self) -> Result<OllamaManners, ConfigError> {
        let think = match self.chosen("ollama_think").text.as_str() {
            "inline" => ThinkShown::Inline,
            "split" => ThinkShown::Split,
            _ => return self.refuse("ollama_think", "inline or split"),
        };
        let version = self.chosen("ollama_version").text;
        let is_number = |part: &str| (1..=5).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        // Clients read it as three numbers, and some refuse what does not compare with their least.
        if version.split('.').count() != 3 || !version.split('.').all(is_number) {
            return self.refuse("ollama_version", "three numbers with dots between them, such as 0.13.3");
        }
        Ok(OllamaManners { version, think })
    }

    pub(super) fn limits(&self) -> Result<Limits, ConfigError> {
        Ok(Limits {
            body_bytes_max: self.number("body_bytes", 1024..=1 << 30)?,
            messages_max: self.number("messages", 1..=1_000_000)?,
            stop_strings_max: self.number("stop_strings", 0..=1024)?,
            stop_chars_max: self.number("stop_chars", 1..=65_536)?,
            logit_bias_max: self.number("logit_bias", 0..=1_000_000)?,
            choices_max: self.number("choices", 1..=1024)?,
            prompts_max: self.number("prompts", 1..=1024)?,
            embedding_inputs_max: self.number("embedding_inputs", 1..=4096)?,
            top_logprobs_max: self.number("top_logprobs", 0..=1024)?,
            keep_alive: self.seconds("keep_alive_seconds", 1..=3600)?,
            default_output_tokens: self.number("output_tokens", 1..=10_000_000)?,
        })
    }

    pub(super) fn http(&self) -> Result<HttpLimits, ConfigError> {
        Ok(HttpLimits {
            connections: self.number("connections", 1..=1_000_000)?,
            connections_per_ip: self.number("connections_per_ip", 1..=1_000_000)?,
            header_time: self.seconds("header_seconds", 1..=3600)?,
            header_bytes: self.number("header_bytes", 1024..=1 << 20)?,
            headers: self.number("headers", 1..=10_000)?,
            uri_bytes: self.number("uri_bytes", 64..=65_534)?,
            body_time: self.seconds("body_seconds", 1..=86_400)?,
            idle_time: self.seconds("idle_seconds", 1..=86_400)?,
            write_time: self.seconds("write_seconds", 1..=86_400)?,
        })
    }
}

/// The entries of a list with commas.
pub(crate) fn split(list: &str) -> Vec<String> {
    if list.trim().is_empty() {
        Vec::new()
    } else {
        list.split(',').map(|entry| entry.trim().to_owned()).collect()
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}
