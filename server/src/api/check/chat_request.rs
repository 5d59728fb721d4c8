//! The checked form of a `/v1/chat/completions` request.

use chat::{Message, Thinking};

use super::Rules;
use super::field::{flag, flag_or, refuse, text};
use super::messages::messages;
use super::options::{Options, options};
use super::sampling::chat_logprobs;
use super::tools::tools;
use super::unsupported::refuse_unsupported;
use crate::api::error::ApiError;
use crate::api::wire::request::{GenerateRequest, TemplateKwargs, Typed};
use crate::api::wire::{Field, Given, Object};

/// A conversation to answer.
#[derive(Debug)]
pub(crate) struct ChatRequest {
    /// At least one.
    pub(crate) messages: Vec<Message>,
    /// Whether the model thinks first.
    pub(crate) thinking: Thinking,
    /// What becomes of the thought.
    pub(crate) showing: Showing,
    /// The rest.
    pub(crate) options: Options,
}

/// How the thought is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Showing {
    /// In `reasoning_content`, apart from `content`.
    Split,
    /// In `content`, between think tags.
    Inline,
    /// Not at all.
    Hidden,
}

/// Checks a chat request.
///
/// # Errors
/// The first field that is wrong.
pub(crate) fn chat_request(request: GenerateRequest, rules: &Rules<'_>) -> Result<ChatRequest, ApiError> {
    refuse_unsupported(&request)?;
    let mut options = options(&request, chat_logprobs(&request, rules)?, rules)?;
    options.tools = tools(&request, &options.form, rules)?;
    Ok(ChatRequest {
        thinking: thinking(&request)?,
        showing: showing(&request)?,
        options,
        messages: messages(request.messages, rules)?,
    })
}

/// Any one of the ways in which clients say "do not think" suffices. Efforts other than "none" and fields of newer
/// versions are accepted: the model has one depth of thought.
fn thinking(request: &GenerateRequest) -> Result<Thinking, ApiError> {
    let mut skipped = text("reasoning_effort", &request.reasoning_effort)? == Some("none");
    match &request.chat_template_kwargs {
        Field::Value(Object(TemplateKwargs {
            enable_thinking,
            thinking,
        })) => {
            skipped |= flag("chat_template_kwargs.enable_thinking", enable_thinking)? == Some(false);
            skipped |= flag("chat_template_kwargs.thinking", thinking)? == Some(false);
        }
        Field::Other(given) if given.is_absent() => {}
        Field::Other(given) => return Err(refuse("chat_template_kwargs", given, "an object")),
    }
    skipped |= match &request.thinking {
        Field::Value(Object(Typed {
            r#type: Given::Text(kind),
        })) => kind == "disabled",
        Field::Other(Given::Flag(thinks)) => !thinks,
        _ => false,
    };
    Ok(if skipped { Thinking::Skipped } else { Thinking::Forced })
}

fn showing(request: &GenerateRequest) -> Result<Showing, ApiError> {
    const PARAM: &str = "reasoning_format";
    let mut showing = match text(PARAM, &request.reasoning_format)? {
        None | Some("deepseek" | "parsed" | "auto") => Showing::Split,
        Some("none" | "raw") => Showing::Inline,
        Some("hidden") => Showing::Hidden,
        Some(_) => {
            return Err(refuse(
                PARAM,
                &request.reasoning_format,
                "one of deepseek, parsed, auto, none, raw, hidden",
            ));
        }
    };
    if !flag_or("separate_reasoning", &request.separate_reasoning, true)? {
        showing = Showing::Inline;
    }
    if !flag_or("include_reasoning", &request.include_reasoning, true)? {
        showing = Showing::Hidden;
    }
    Ok(showing)
}
