//! What an Ollama store says beside the model file: sampling values are taken over, the rest is said to be left out.

use std::ops::RangeInclusive;

use chat::{Message, Role};
use library::store::{self, StoredModel};
use serde_json::{Map, Value};

use crate::app::SamplingDefaults;
use crate::config::{Config, Source};
use crate::roster::Opening;

/// Stop strings taken from a store at most; models come with four or fewer.
const STOP_STRINGS_MAX: usize = 32;
/// Characters of one of them at most.
const STOP_CHARS_MAX: usize = 64;

/// Tells of layers that change nothing here.
pub(super) fn warn_of_what_is_left_out(stored: &StoredModel, template_name: &str) {
    if let Some((digest, _)) = &stored.template
        && !stored.has_deepseek_template()
    {
        tracing::warn!(
            model = %stored.name,
            template = digest.short(),
            used = template_name,
            "the store's Go template is not one that is known: another template is used"
        );
    }
}

/// The store's sampling values where nobody set one; what is out of the range of our settings counts as unsaid.
pub(super) fn sampling(parameters: &Map<String, Value>, config: &Config) -> SamplingDefaults {
    let said = |key: &'static str, name: &str, allowed: RangeInclusive<f64>| -> Option<f64> {
        let number = parameters.get(name)?.as_f64()?;
        (config.source(key) == Source::Default && allowed.contains(&number)).then_some(number)
    };
    let own = config.sampling.clone();
    SamplingDefaults {
        temperature: said("temperature", "temperature", 0.0..=2.0).map_or(own.temperature, single),
        top_p: said("top_p", "top_p", f64::from(f32::MIN_POSITIVE)..=1.0).map_or(own.top_p, single),
        top_k: said("top_k", "top_k", 0.0..=1e6).map_or(own.top_k, whole),
        min_p: said("min_p", "min_p", 0.0..=1.0).map_or(own.min_p, single),
        repetition_penalty: said("repetition_penalty", "repeat_penalty", 0.01..=10.0)
            .map_or(own.repetition_penalty, single),
        stop: stop_strings(parameters),
    }
}

/// What stands around every conversation with it.
pub(super) fn opening(stored: StoredModel) -> Opening {
    let message = |message: store::Message| {
        let role = match message.role.as_str() {
            "system" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            _ => return None,
        };
        Some(Message::new(role, message.content))
    };
    Opening {
        system: stored.system,
        messages: stored.messages.into_iter().filter_map(message).collect(),
        go_template: stored.template.map(|(_, text)| text),
    }
}

/// The stop strings that are no longer than a request's own may be by default.
fn stop_strings(parameters: &Map<String, Value>) -> Vec<String> {
    let written = parameters.get("stop").and_then(Value::as_array).map(Vec::as_slice);
    let texts = written.unwrap_or_default().iter().filter_map(Value::as_str);
    let fit = texts.filter(|text| !text.is_empty() && text.chars().count() <= STOP_CHARS_MAX);
    fit.take(STOP_STRINGS_MAX).map(str::to_owned).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "a single is as exact as sampling needs")]
fn single(number: f64) -> f32 {
    number as f32
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "from 0 to a million"
)]
fn whole(number: f64) -> usize {
    number as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Said;

    #[test]
    fn a_stores_sampling_values_stand_where_nobody_set_one() {
        let said = Said {
            flags: vec![("top_p", "0.8".to_owned())],
            ..Said::default()
        };
        let config = Config::resolve(&said).unwrap();
        let parameters = serde_json::json!({
            "temperature": 0.25, "top_p": 0.5, "top_k": 20, "min_p": 7, "repeat_penalty": "1.1", "num_ctx": 4096,
            "stop": ["<end>", "", 7, "x".repeat(65)]
        });
        let found = sampling(parameters.as_object().unwrap(), &config);
        let expected = SamplingDefaults {
            temperature: 0.25,
            top_p: 0.8,
            top_k: 20,
            stop: vec!["<end>".to_owned()],
            ..config.sampling
        };
        assert_eq!(found, expected);
    }
}
