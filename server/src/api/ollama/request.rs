//! The body of `/api/chat` and `/api/generate`.
//!
//! One type reads both, as they share most fields.

use chat::Message;
use serde::Deserialize;

use crate::api::check::{self, Rules};
use crate::api::error::ApiError;
use crate::api::wire::content::Content;
use crate::api::wire::list::OneOrMany;
use crate::api::wire::prompt::Prompt;
use crate::api::wire::tree::Tree;
use crate::api::wire::{Field, Given, List, Object, request};

/// Every field that has a meaning here; all others are skipped.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Request {
    pub(super) model: Given,
    pub(super) stream: Given,
    pub(super) keep_alive: Given,
    pub(super) think: Given,
    pub(super) options: Field<Object<OptionFields>>,
    pub(super) truncate: Given,
    pub(super) shift: Given,
    pub(super) logprobs: Given,
    pub(super) top_logprobs: Given,
    pub(super) format: Field<Tree>,

    // `/api/chat` only:
    pub(super) messages: Field<List<Field<Object<Turn>>>>,
    pub(super) tools: Field<Tree>,

    // `/api/generate` only:
    pub(super) prompt: Given,
    pub(super) system: Given,
    pub(super) context: Field<Prompt>,
    pub(super) raw: Given,
    pub(super) template: Given,
    pub(super) suffix: Given,
    pub(super) images: Given,
}

/// One message. An earlier thought in `thinking` is skipped, as models are trained on histories without them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Turn {
    role: Given,
    content: Field<Content>,
    images: Given,
    tool_calls: Field<Tree>,
}

/// `options`: those that mean something here, and those that are known to mean nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OptionFields {
    pub(super) num_predict: Given,
    pub(super) temperature: Given,
    pub(super) top_k: Given,
    pub(super) top_p: Given,
    pub(super) min_p: Given,
    pub(super) seed: Given,
    pub(super) stop: Field<OneOrMany>,
    pub(super) repeat_penalty: Given,
    pub(super) presence_penalty: Given,
    pub(super) frequency_penalty: Given,

    pub(super) num_ctx: Given,
    pub(super) num_batch: Given,
    pub(super) num_gpu: Given,
    pub(super) main_gpu: Given,
    pub(super) num_thread: Given,
    pub(super) num_keep: Given,
    pub(super) use_mmap: Given,
    pub(super) use_mlock: Given,
    pub(super) low_vram: Given,
    pub(super) typical_p: Given,
    pub(super) repeat_last_n: Given,
    pub(super) mirostat: Given,
}

/// Checks the messages. Ollama reads roles in any case and takes a missing text for an empty one.
///
/// # Errors
/// Names the message by its place.
pub(super) fn conversation(
    given: Field<List<Field<Object<Turn>>>>,
    rules: &Rules<'_>,
) -> Result<Vec<Message>, ApiError> {
    let list = match given {
        Field::Value(list) => list,
        Field::Other(given) => return check::messages(Field::Other(given), rules),
    };
    let each = |(index, item)| match item {
        Field::Value(Object(turn)) => message(index, turn).map(|message| Field::Value(Object(message))),
        Field::Other(given) => Ok(Field::Other(given)),
    };
    let sent = list.sent;
    let items: Result<Vec<_>, ApiError> = list.items.into_iter().enumerate().map(each).collect();
    check::messages(Field::Value(List { items: items?, sent }), rules)
}

fn message(index: usize, turn: Turn) -> Result<request::Message, ApiError> {
    let Turn {
        role,
        content,
        images,
        tool_calls,
    } = turn;
    refuse_images(&format!("messages[{index}].images"), &images)?;
    let role = match role {
        Given::Text(role) => Given::Text(role.to_lowercase()),
        other => other,
    };
    let content = match content {
        Field::Other(given) if given.is_absent() => Field::Value(Content::Text(String::new())),
        content => content,
    };
    Ok(request::Message {
        role,
        content,
        tool_calls,
    })
}

/// Refuses images: no model here sees.
///
/// # Errors
/// There are some.
pub(super) fn refuse_images(param: &str, images: &Given) -> Result<(), ApiError> {
    if images.is_neutral() {
        return Ok(());
    }
    let message = format!("{param} is {images}: this model reads text only, leave the images out");
    Err(ApiError::unsupported(param, message))
}
