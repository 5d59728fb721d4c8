//! `options` and what is beside them: how tokens are drawn, how many, and how they arrive.
//!
//! What Ollama takes for "off" is off here too: a negative temperature is greedy, a `top_p` above 1 cuts nothing.

use engine::Sampling;

use super::form::form;
use super::request::{OptionFields, Request};
use crate::api::check::{self, Delivery, Options, Rules, TokenNames, Tools, count, drawn_seed, flag_or, refuse};
use crate::api::error::ApiError;
use crate::api::wire::{Field, Given, Object};
use crate::roster::KeepAlive;

/// Temperature and penalties at most. Far past what is sensible; it is there so that no product overflows.
const BEND_MAX: f32 = 100.0;

/// Tokens where a request wants as many as the context holds.
const NO_LIMIT: usize = usize::MAX >> 1;

/// Checks everything but the prompt.
///
/// # Errors
/// The first field that is wrong.
pub(super) fn options(request: &Request, rules: &Rules<'_>) -> Result<Options, ApiError> {
    let none = OptionFields::default();
    let given = match &request.options {
        Field::Value(Object(options)) => options,
        Field::Other(given) if given.is_absent() => &none,
        Field::Other(given) => return Err(refuse("options", given, "an object")),
    };
    tell_ignored(given);
    let delivery = if flag_or("stream", &request.stream, true)? {
        Delivery::Streamed { usage: true }
    } else {
        Delivery::Whole
    };
    Ok(Options {
        model: check::model(&request.model)?,
        choices: 1,
        stop: stop(given, rules)?,
        sampling: sampling(given, logprobs(request, rules)?, rules)?,
        output_tokens_max: output_tokens_max(&given.num_predict, rules)?,
        ignore_end: false,
        delivery,
        token_names: TokenNames::Texts,
        form: form(&request.format)?,
        tools: Tools::default(),
    })
}

/// Checks `keep_alive`: seconds, or a duration such as `10m`.
///
/// # Errors
/// It is neither.
pub(super) fn keep_alive(given: &Given) -> Result<Option<KeepAlive>, ApiError> {
    #[expect(clippy::cast_precision_loss, reason = "a number of seconds")]
    let keep_alive = match given {
        Given::Absent | Given::Null => return Ok(None),
        Given::Whole(seconds) => KeepAlive::seconds(*seconds as f64),
        Given::Real(seconds) => KeepAlive::seconds(*seconds),
        Given::Text(text) => KeepAlive::parse(text),
        _ => None,
    };
    let refused = || refuse("keep_alive", given, "a number of seconds or a duration such as \"10m\"");
    keep_alive.map(Some).ok_or_else(refused)
}

fn sampling(given: &OptionFields, logprobs: Option<usize>, rules: &Rules<'_>) -> Result<Sampling, ApiError> {
    let defaults = rules.defaults;
    let bent = |name: &str, given: &Given, least: f32| within(name, real(name, given)?, least);
    let temperature = real("temperature", &given.temperature)?.map(|temperature| temperature.max(0.0));
    Ok(Sampling {
        temperature: within("temperature", temperature, 0.0)?.unwrap_or(defaults.temperature),
        top_p: real("top_p", &given.top_p)?.map_or(defaults.top_p, |share| share.clamp(f32::MIN_POSITIVE, 1.0)),
        top_k: whole("top_k", &given.top_k)?.map_or(defaults.top_k, |top_k| usize::try_from(top_k).unwrap_or(0)),
        min_p: real("min_p", &given.min_p)?.map_or(defaults.min_p, |share| share.clamp(0.0, 1.0)),
        repetition_penalty: bent("repeat_penalty", &given.repeat_penalty, 1.0 / BEND_MAX)?
            .unwrap_or(defaults.repetition_penalty),
        presence_penalty: bent("presence_penalty", &given.presence_penalty, -BEND_MAX)?.unwrap_or(0.0),
        frequency_penalty: bent("frequency_penalty", &given.frequency_penalty, -BEND_MAX)?.unwrap_or(0.0),
        seed: seed(&given.seed)?.unwrap_or_else(drawn_seed),
        logit_bias: Vec::new(),
        logprobs,
    })
}

/// -1 asks for a random one.
fn seed(given: &Given) -> Result<Option<u64>, ApiError> {
    let seed = whole("seed", given)?.filter(|seed| *seed != -1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the low 64 bits are meant"
    )]
    Ok(seed.map(|seed| seed as u64))
}

/// None, or less than one, means as many as the context holds; a request that says nothing gets what the operator set.
fn output_tokens_max(given: &Given, rules: &Rules<'_>) -> Result<usize, ApiError> {
    Ok(match whole("num_predict", given)? {
        None => rules.limits.default_output_tokens,
        Some(tokens) => usize::try_from(tokens)
            .ok()
            .filter(|tokens| *tokens > 0)
            .map_or(NO_LIMIT, |tokens| tokens.min(NO_LIMIT)),
    })
}

fn stop(given: &OptionFields, rules: &Rules<'_>) -> Result<Vec<String>, ApiError> {
    match &given.stop {
        Field::Other(given) if !given.is_absent() => Err(wrong_type("stop", "array")),
        stop => check::stop(stop, rules),
    }
}

fn logprobs(request: &Request, rules: &Rules<'_>) -> Result<Option<usize>, ApiError> {
    let top = count("top_logprobs", &request.top_logprobs, 0..=rules.limits.top_logprobs_max)?;
    Ok(flag_or("logprobs", &request.logprobs, false)?.then_some(top.unwrap_or(0)))
}

fn real(name: &str, given: &Given) -> Result<Option<f32>, ApiError> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "a single is as exact as sampling needs"
    )]
    match given {
        Given::Absent | Given::Null => Ok(None),
        Given::Whole(number) => Ok(Some(*number as f32)),
        Given::Real(number) => Ok(Some(*number as f32)),
        _ => Err(wrong_type(name, "float32")),
    }
}

/// A whole number; a fraction is cut off.
fn whole(name: &str, given: &Given) -> Result<Option<i128>, ApiError> {
    match given {
        Given::Absent | Given::Null => Ok(None),
        Given::Whole(number) => Ok(Some(*number)),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the fraction is to go, and the cast keeps to the range"
        )]
        Given::Real(number) => Ok(Some(*number as i128)),
        _ => Err(wrong_type(name, "integer")),
    }
}

fn within(name: &str, number: Option<f32>, least: f32) -> Result<Option<f32>, ApiError> {
    match number {
        Some(number) if !(least..=BEND_MAX).contains(&number) => {
            let message = format!("option {name:?} is {number}: give a number from {least} to {BEND_MAX}");
            Err(ApiError::field(format!("options.{name}"), message))
        }
        number => Ok(number),
    }
}

fn wrong_type(name: &str, kind: &str) -> ApiError {
    ApiError::field(
        format!("options.{name}"),
        format!("option {name:?} must be of type {kind}"),
    )
}

/// Options that ask for another way of computing the same: the engines were set up when the model was loaded.
fn tell_ignored(given: &OptionFields) {
    let known = [
        ("num_ctx", &given.num_ctx),
        ("num_batch", &given.num_batch),
        ("num_gpu", &given.num_gpu),
        ("main_gpu", &given.main_gpu),
        ("num_thread", &given.num_thread),
        ("num_keep", &given.num_keep),
        ("use_mmap", &given.use_mmap),
        ("use_mlock", &given.use_mlock),
        ("low_vram", &given.low_vram),
        ("typical_p", &given.typical_p),
        ("repeat_last_n", &given.repeat_last_n),
        ("mirostat", &given.mirostat),
    ];
    let ignored: Vec<&str> = known
        .iter()
        .filter(|(_, given)| !given.is_absent())
        .map(|(name, _)| *name)
        .collect();
    if !ignored.is_empty() {
        tracing::debug!(
            options = ignored.join(","),
            "options that change nothing here were ignored"
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::app::{Limits, SamplingDefaults};

    fn limits() -> Limits {
        Limits {
            embedding_inputs_max: 8,
            body_bytes_max: 1024,
            messages_max: 4,
            stop_strings_max: 4,
            stop_chars_max: 64,
            logit_bias_max: 0,
            choices_max: 1,
            prompts_max: 1,
            top_logprobs_max: 20,
            keep_alive: std::time::Duration::from_secs(1),
            default_output_tokens: 100,
        }
    }

    fn read(body: Value) -> Result<Options, ApiError> {
        let defaults = SamplingDefaults {
            stop: vec!["model's own".to_owned()],
            ..SamplingDefaults::default()
        };
        let rules = Rules {
            limits: &limits(),
            defaults: &defaults,
            vocabulary: 16,
            tools: None,
        };
        options(&serde_json::from_value(body).unwrap(), &rules)
    }

    fn given(name: &str, value: Value) -> Result<Options, ApiError> {
        read(json!({"options": {name: value}}))
    }

    #[test]
    fn what_a_request_leaves_out_is_the_models_or_ours() {
        for body in [
            json!({}),
            json!({"options": null}),
            json!({"options": {"num_ctx": 1, "nothing": {}}}),
        ] {
            let options = read(body).unwrap();
            assert_eq!((options.sampling.temperature, options.sampling.top_p), (0.6, 0.95));
            assert_eq!(options.output_tokens_max, 100);
            assert_eq!(options.stop, ["model's own"]);
            assert_eq!(options.delivery, Delivery::Streamed { usage: true });
        }
    }

    #[test]
    fn each_option_is_taken_as_ollama_takes_it() {
        let sampling = |name: &str, value: Value| given(name, value).unwrap().sampling;
        assert_eq!(sampling("temperature", json!(0)).temperature, 0.0);
        assert_eq!(sampling("temperature", json!(-1)).temperature, 0.0);
        assert_eq!(sampling("temperature", json!(5.5)).temperature, 5.5);
        assert_eq!(sampling("top_p", json!(0)).top_p, f32::MIN_POSITIVE);
        assert_eq!(sampling("top_p", json!(2)).top_p, 1.0);
        assert_eq!(sampling("top_k", json!(-1)).top_k, 0);
        assert_eq!(sampling("top_k", json!(40.9)).top_k, 40);
        assert_eq!(sampling("min_p", json!(0.05)).min_p, 0.05);
        assert_eq!(sampling("repeat_penalty", json!(1.1)).repetition_penalty, 1.1);
        assert_eq!(sampling("presence_penalty", json!(-2.5)).presence_penalty, -2.5);
        assert_eq!(sampling("frequency_penalty", json!(1)).frequency_penalty, 1.0);
        assert_eq!(sampling("seed", json!(42)).seed, 42);
        assert_ne!(sampling("seed", json!(-1)).seed, sampling("seed", json!(-1)).seed);
        let tokens = |value: Value| given("num_predict", value).unwrap().output_tokens_max;
        assert_eq!(
            (tokens(json!(7)), tokens(json!(-1)), tokens(json!(0))),
            (7, NO_LIMIT, NO_LIMIT)
        );
        assert_eq!(given("stop", json!(["a", "b"])).unwrap().stop, ["a", "b"]);
        assert_eq!(given("stop", json!("a")).unwrap().stop, ["a"]);
        assert!(given("stop", json!([])).unwrap().stop.is_empty());
        let logprobs = read(json!({"logprobs": true, "top_logprobs": 3}))
            .unwrap()
            .sampling
            .logprobs;
        assert_eq!(logprobs, Some(3));
    }

    #[test]
    fn a_wrong_option_is_named_with_what_is_allowed() {
        let check = |body: Value, expected: &str| {
            let found = read(body.clone()).unwrap_err().to_string();
            assert_eq!(found, expected, "{body}");
        };
        let option = |name: &str, value: Value| json!({"options": {name: value}});
        check(
            option("temperature", json!("0.5")),
            "option \"temperature\" must be of type float32",
        );
        check(
            option("num_predict", json!("many")),
            "option \"num_predict\" must be of type integer",
        );
        check(option("top_k", json!([])), "option \"top_k\" must be of type integer");
        check(option("stop", json!(5)), "option \"stop\" must be of type array");
        check(
            option("repeat_penalty", json!(0)),
            "option \"repeat_penalty\" is 0: give a number from 0.01 to 100",
        );
        check(
            option("temperature", json!(1e30)),
            "option \"temperature\" is 1000000000000000000000000000000: give a number from 0 to 100",
        );
        check(json!({"options": [1]}), "options is a list of 1: give an object");
        check(
            json!({"stream": "yes"}),
            "stream is the text \"yes\": give true or false",
        );
    }

    #[test]
    fn keep_alive_is_a_number_or_a_duration() {
        let read = |value: Value| keep_alive(&serde_json::from_value(value).unwrap());
        assert_eq!(read(json!(null)), Ok(None));
        assert_eq!(read(json!(-1)), Ok(Some(KeepAlive::Forever)));
        assert_eq!(read(json!("5m")), read(json!(300)));
        assert!(read(json!(0)).unwrap().unwrap().is_zero());
        for wrong in [json!("soon"), json!(true), json!([5])] {
            assert!(read(wrong).unwrap_err().to_string().contains("keep_alive is"));
        }
    }
}
