//! The checked form of a `/v1/responses` request.

use chat::{Message, Role, Thinking};

use super::request::{Input, Item, Reasoning, ResponsesBody, TextOptions};
use crate::api::check::Rules;
use crate::api::check::field::{count, flag_or, refuse, text};
use crate::api::check::options::{Delivery, Options, options};
use crate::api::error::ApiError;
use crate::api::wire::content::Content;
use crate::api::wire::given::shown;
use crate::api::wire::list::LIST_CEILING;
use crate::api::wire::request::{GenerateRequest, Typed};
use crate::api::wire::{Field, Given, List, Object};

/// A conversation to answer.
#[derive(Debug)]
pub(super) struct ResponsesRequest {
    /// At least one.
    pub(super) messages: Vec<Message>,
    /// Whether the model thinks first.
    pub(super) thinking: Thinking,
    /// What the response repeats of the request.
    pub(super) asked: Asked,
    /// The rest.
    pub(super) options: Options,
}

/// What a response repeats of its request, as far as it was said.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) max_output_tokens: Option<usize>,
    pub(super) effort: Option<String>,
    pub(super) summary: Option<String>,
}

/// Checks a request.
///
/// # Errors
/// The first field that is wrong.
pub(super) fn responses_request(body: ResponsesBody, rules: &Rules<'_>) -> Result<ResponsesRequest, ApiError> {
    refuse_unsupported(&body)?;
    refuse_tools(&body)?;
    refuse_formats(&body.text)?;
    let asked = asked(&body)?;
    let mut options = options(&sampled(&body), None, rules)?;
    options.delivery = if flag_or("stream", &body.stream, false)? {
        // The last event always counts the tokens.
        Delivery::Streamed { usage: true }
    } else {
        Delivery::Whole
    };
    options.output_tokens_max = asked.max_output_tokens.unwrap_or(options.output_tokens_max);
    let is_silent = asked.effort.as_deref() == Some("none");
    Ok(ResponsesRequest {
        messages: messages(&body.instructions, body.input, rules)?,
        thinking: if is_silent { Thinking::Skipped } else { Thinking::Forced },
        asked,
        options,
    })
}

/// The fields that mean the same for chat completions.
fn sampled(body: &ResponsesBody) -> GenerateRequest {
    GenerateRequest {
        model: body.model.clone(),
        temperature: body.temperature.clone(),
        top_p: body.top_p.clone(),
        ..GenerateRequest::default()
    }
}

/// Efforts other than "none" are accepted: the model has one depth of thought. Summaries too: the thought is told as it
/// is, which is the most detailed of them.
fn asked(body: &ResponsesBody) -> Result<Asked, ApiError> {
    let word = |param, given| text(param, given).map(|word| word.map(str::to_owned));
    let max_output_tokens = count("max_output_tokens", &body.max_output_tokens, 1..=usize::MAX >> 1)?;
    let (effort, summary) = match &body.reasoning {
        Field::Value(Object(Reasoning { effort, summary })) => {
            (word("reasoning.effort", effort)?, word("reasoning.summary", summary)?)
        }
        Field::Other(given) if given.is_absent() => (None, None),
        Field::Other(given) => return Err(refuse("reasoning", given, "an object such as {\"effort\": \"none\"}")),
    };
    for (param, word) in [("reasoning.effort", &effort), ("reasoning.summary", &summary)] {
        if let Some(word) = word.as_ref().filter(|word| word.chars().count() > WORD_CHARS_MAX) {
            let allowed = format!("a word of at most {WORD_CHARS_MAX} characters");
            return Err(refuse(param, &shown(word), allowed));
        }
    }
    Ok(Asked {
        max_output_tokens,
        effort,
        summary,
    })
}

/// Every event repeats them.
const WORD_CHARS_MAX: usize = 32;

fn refuse_unsupported(body: &ResponsesBody) -> Result<(), ApiError> {
    const NOT_KEPT: &str = "responses are not kept here: leave it out, and send the whole conversation in input";
    for (param, given, why) in [
        ("previous_response_id", &body.previous_response_id, NOT_KEPT),
        ("conversation", &body.conversation, NOT_KEPT),
        (
            "background",
            &body.background,
            "responses are not kept here: leave it out, and wait for the reply",
        ),
        (
            "prompt",
            &body.prompt,
            "no prompts are kept here: leave it out, and send instructions and input",
        ),
    ] {
        if !given.is_neutral() {
            return Err(ApiError::unsupported(param, format!("{param} is {given}, and {why}")));
        }
    }
    let has_logprobs = match &body.include {
        Field::Value(list) => list
            .items
            .contains(&Given::Text("message.output_text.logprobs".to_owned())),
        Field::Other(given) if given.is_absent() => false,
        Field::Other(given) => return Err(refuse("include", given, "a list of texts")),
    };
    let top = count("top_logprobs", &body.top_logprobs, 0..=usize::MAX >> 1)?;
    if has_logprobs || top.is_some_and(|top| top > 0) {
        let param = if has_logprobs { "include" } else { "top_logprobs" };
        let message = format!("{param} asks for log probabilities: use /v1/chat/completions for them");
        return Err(ApiError::unsupported(param, message));
    }
    Ok(())
}

/// Tools given and not switched off would be called by a model that knew of them.
fn refuse_tools(body: &ResponsesBody) -> Result<(), ApiError> {
    let switched_off = matches!(&body.tool_choice, Given::Text(choice) if choice == "none");
    if body.tools.is_neutral() || switched_off {
        return Ok(());
    }
    let message = format!(
        "tools is {}, which this server cannot offer to the model: leave it out (in LobeChat: switch the plugins off), \
         or send \"tool_choice\": \"none\"",
        body.tools
    );
    Err(ApiError::unsupported("tools", message))
}

fn refuse_formats(text: &Field<Object<TextOptions>>) -> Result<(), ApiError> {
    const PARAM: &str = "text.format";
    let format = match text {
        Field::Value(Object(TextOptions { format })) => format,
        Field::Other(given) if given.is_absent() => return Ok(()),
        Field::Other(given) => {
            return Err(refuse(
                "text",
                given,
                "an object such as {\"format\": {\"type\": \"text\"}}",
            ));
        }
    };
    match format {
        Field::Other(given) if given.is_absent() => Ok(()),
        Field::Other(given) => Err(refuse(PARAM, given, "an object such as {\"type\": \"text\"}")),
        Field::Value(Object(Typed {
            r#type: Given::Text(kind),
        })) if kind == "text" => Ok(()),
        Field::Value(Object(Typed { r#type })) => {
            let message = format!(
                "{PARAM}.type is {}: only \"text\" is supported here, ask for the form in input",
                r#type
            );
            Err(ApiError::unsupported(PARAM, message))
        }
    }
}

/// Instructions are what the system says first.
fn messages(instructions: &Given, input: Field<Input>, rules: &Rules<'_>) -> Result<Vec<Message>, ApiError> {
    let items_max = rules.limits.messages_max.min(LIST_CEILING);
    let allowed = || format!("a text or a list of 1 to {items_max} items, such as messages with role and content");
    let mut messages = Vec::new();
    if let Some(content) = text("instructions", instructions)?.filter(|content| !content.is_empty()) {
        messages.push(Message::new(Role::System, content));
    }
    match input {
        Field::Value(Input::Text(content)) => messages.push(Message::new(Role::User, content)),
        Field::Value(Input::Items(List { items, sent })) if (1..=items_max).contains(&sent) => {
            for (index, item) in items.into_iter().enumerate() {
                messages.extend(message(&format!("input[{index}]"), item)?);
            }
        }
        Field::Value(Input::Items(list)) => return Err(refuse("input", &Given::List(list.sent), allowed())),
        Field::Other(given) => return Err(refuse("input", &given, allowed())),
    }
    if messages.is_empty() {
        return Err(refuse("input", &"without a message", allowed()));
    }
    Ok(messages)
}

/// What an item says; nothing for an earlier thought, which no model is shown again.
fn message(param: &str, item: Field<Object<Item>>) -> Result<Option<Message>, ApiError> {
    let item = match item {
        Field::Value(Object(item)) => item,
        Field::Other(given) => return Err(refuse(param, &given, "an object with role and content")),
    };
    let kind = match &item.r#type {
        Given::Absent | Given::Null => "message",
        Given::Text(kind) => kind,
        other => return Err(refuse(&format!("{param}.type"), other, "a text such as \"message\"")),
    };
    match kind {
        "message" => {
            let role = role(param, &item.role)?;
            let content = content(param, role, item.content)?;
            Ok(Some(Message::new(role, content)))
        }
        "reasoning" => Ok(None),
        "function_call" | "function_call_output" => {
            let message = format!("{param} is a {kind}, and this server offers the model no tools: leave it out");
            Err(ApiError::unsupported(param, message))
        }
        "item_reference" => {
            let message = format!("{param} is an item_reference, and nothing is kept here: send the item itself");
            Err(ApiError::unsupported(param, message))
        }
        other => {
            let message = format!(
                "{param} is an item of type {}, which is not known here: leave it out",
                shown(other)
            );
            Err(ApiError::unsupported(param, message))
        }
    }
}

fn role(param: &str, given: &Given) -> Result<Role, ApiError> {
    let name = if let Given::Text(name) = given {
        name.as_str()
    } else {
        ""
    };
    match name {
        "system" | "developer" => Ok(Role::System),
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        _ => Err(refuse(
            &format!("{param}.role"),
            given,
            "one of system, developer, user, assistant",
        )),
    }
}

fn content(param: &str, role: Role, given: Field<Content>) -> Result<String, ApiError> {
    let param = format!("{param}.content");
    match given {
        Field::Value(Content::Text(text)) => Ok(text),
        Field::Other(Given::Absent | Given::Null) if role == Role::Assistant => Ok(String::new()),
        Field::Other(given) => Err(refuse(&param, &given, "a text or a list of text parts")),
        Field::Value(Content::Refused { part, found }) => {
            let param = format!("{param}[{part}]");
            let kind = match &found {
                Given::Text(kind) => format!("a part of type {} or without its text", shown(kind)),
                Given::Absent => "a part without a type".to_owned(),
                other => other.to_string(),
            };
            let message = format!("{param} is {kind}: this model reads text only, send parts of type \"input_text\"");
            Err(ApiError::unsupported(param, message))
        }
    }
}
