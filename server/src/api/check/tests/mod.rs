//! Each field at its limits, one past them, and as every wrong type.

mod hostile;
mod options;
mod requests;

use std::time::Duration;

use super::*;
use crate::api::body::parse;
use crate::api::error::ApiError;
use crate::api::wire::request::GenerateRequest;

const VOCABULARY: usize = 1000;

fn limits() -> Limits {
    Limits {
        body_bytes_max: 1 << 20,
        messages_max: 4,
        stop_strings_max: 4,
        stop_chars_max: 64,
        logit_bias_max: 300,
        choices_max: 8,
        prompts_max: 8,
        embedding_inputs_max: 8,
        top_logprobs_max: 20,
        keep_alive: Duration::from_secs(10),
        default_output_tokens: 4096,
    }
}

fn with_rules<T>(check: impl Fn(GenerateRequest, &Rules<'_>) -> T, body: &str) -> Result<T, ApiError> {
    let (limits, defaults) = (limits(), SamplingDefaults::default());
    let rules = Rules {
        limits: &limits,
        defaults: &defaults,
        vocabulary: VOCABULARY,
        tools: None,
    };
    Ok(check(parse(body.as_bytes())?, &rules))
}

/// A chat request with one message and `fields` beside it.
fn chat_of(fields: &str) -> Result<ChatRequest, ApiError> {
    let comma = if fields.is_empty() { "" } else { "," };
    with_rules(
        chat_request,
        &format!(r#"{{"messages":[{{"role":"user","content":"hi"}}]{comma}{fields}}}"#),
    )?
}

/// The same for a model that knows tools.
fn with_tools(fields: &str) -> Result<ChatRequest, ApiError> {
    let (limits, defaults) = (limits(), SamplingDefaults::default());
    let rules = Rules {
        limits: &limits,
        defaults: &defaults,
        vocabulary: VOCABULARY,
        tools: Some(ToolFormat::Hermes),
    };
    let body = format!(r#"{{"messages":[{{"role":"user","content":"hi"}}],{fields}}}"#);
    chat_request(parse(body.as_bytes())?, &rules)
}

fn completion_of(fields: &str) -> Result<CompletionRequest, ApiError> {
    with_rules(completion_request, &format!("{{{fields}}}"))?
}

/// `fields` must be refused for `param`, and the message must contain each of `words`.
fn refused(fields: &str, param: &str, words: &[&str]) {
    check_refusal(fields, chat_of(fields).map(drop), param, words);
}

fn completion_refused(fields: &str, param: &str, words: &[&str]) {
    check_refusal(fields, completion_of(fields).map(drop), param, words);
}

fn check_refusal(fields: &str, found: Result<(), ApiError>, param: &str, words: &[&str]) {
    match found {
        Err(error @ (ApiError::Field { .. } | ApiError::Unsupported { .. })) => {
            let json: serde_json::Value = serde_json::from_slice(&error.to_json()).unwrap();
            assert_eq!(json["error"]["param"], param, "{fields}: {error}");
            for word in words {
                assert!(
                    error.to_string().contains(word),
                    "{fields}: `{error}` does not say `{word}`"
                );
            }
        }
        other => panic!("{fields}: {other:?}"),
    }
}
