//! From the request's texts to the tokens that the reply goes on from.
//!
//! A conversation that is too long loses its oldest turns, as in Ollama, but never silently: the answer says how many in
//! the header `x-tandem-dropped-messages`. Its system messages and the last message stay. Ollama would also forget half
//! of everything when the context is full in the middle of a reply (`shift`); here room for the reply is made before
//! it. With `"truncate": false` a conversation that does not fit is refused, and so is any prompt of `/api/generate`.

use chat::{ChatError, Message, Role, Start, Thinking};
use serde_json::Value;

use super::request::{Request, conversation, refuse_images};
use crate::api::Api;
use crate::api::chat::{conversation_tokens, start};
use crate::api::check::{Options, Rules, flag_or, in_vocabulary, refuse, text};
use crate::api::error::ApiError;
use crate::api::text::refused_text;
use crate::api::wire::prompt::Prompt as Ids;
use crate::api::wire::{Field, Given};
use crate::roster::Lease;

/// The part of the context that is kept free for a reply at most: one in so many.
const REPLY_SHARE: usize = 4;

/// What is to be gone on from.
pub(super) struct Prompt {
    pub(super) tokens: Vec<u32>,
    pub(super) start: Start,
    /// Messages that had no room.
    pub(super) dropped: usize,
    /// Whether the next request may go on from this one's tokens.
    pub(super) is_continuable: bool,
}

/// The prompt of `/api/chat`.
///
/// # Errors
/// A field that is wrong, or text that cannot be encoded.
pub(super) async fn of_chat(
    api: &Api,
    model: &Lease,
    request: Request,
    thinking: Thinking,
    options: &Options,
) -> Result<Prompt, ApiError> {
    let truncates = flag_or("truncate", &request.truncate, true)?;
    let shifts = flag_or("shift", &request.shift, true)?;
    let messages = model.opening.before(conversation(request.messages, &api.rules(model))?);
    let context_tokens = model.context_tokens();
    let tokens_max = match (truncates, shifts) {
        (false, _) => usize::MAX,
        (true, false) => context_tokens - 1,
        (true, true) => {
            context_tokens
                - options
                    .output_tokens_max
                    .clamp(1, (context_tokens / REPLY_SHARE).max(1))
        }
    };
    let lease = model.clone();
    let tools = options.tools.offered.clone();
    let encode = move || fitting(&lease, &messages, &tools, thinking, tokens_max);
    let (tokens, dropped) = api.text_lane.run(encode).await?;
    Ok(Prompt {
        tokens,
        start: start(model, thinking),
        dropped,
        is_continuable: false,
    })
}

/// The tokens of a conversation without its oldest turns, as few of them as it takes to be within `tokens_max`, and how
/// many were left out. If not even all of them are enough, the rest is as long as it is.
fn fitting(
    model: &Lease,
    messages: &[Message],
    tools: &[Value],
    thinking: Thinking,
    tokens_max: usize,
) -> Result<(Vec<u32>, usize), ApiError> {
    let whole = conversation_tokens(model, messages, tools, thinking)?;
    let can_go = messages.split_last().map_or(0, |(_, earlier)| {
        earlier.iter().filter(|message| message.role != Role::System).count()
    });
    if whole.len() <= tokens_max || can_go == 0 {
        return Ok((whole, 0));
    }
    let mut fit = (
        conversation_tokens(model, &without(messages, can_go), tools, thinking)?,
        can_go,
    );
    // The fewer are left out, the longer it is, so the bound is found by halving.
    let mut too_few = 0;
    while fit.0.len() <= tokens_max && fit.1 - too_few > 1 {
        let dropped = too_few.midpoint(fit.1);
        let tokens = conversation_tokens(model, &without(messages, dropped), tools, thinking)?;
        if tokens.len() <= tokens_max {
            fit = (tokens, dropped);
        } else {
            too_few = dropped;
        }
    }
    Ok(fit)
}

/// The conversation without the first `dropped` messages that are not the system's.
fn without(messages: &[Message], dropped: usize) -> Vec<Message> {
    let mut left = dropped;
    let stays = |message: &&Message| {
        let goes = left > 0 && message.role != Role::System;
        left -= usize::from(goes);
        !goes
    };
    messages.iter().filter(stays).cloned().collect()
}

/// The prompt of `/api/generate`: as it is if `raw`, else as the one message of a conversation, which may go on from
/// the tokens of an earlier one.
///
/// # Errors
/// A field that is wrong, or text that cannot be encoded.
pub(super) async fn of_generate(
    api: &Api,
    model: &Lease,
    request: Request,
    thinking: Thinking,
) -> Result<Prompt, ApiError> {
    refuse_images("images", &request.images)?;
    let is_raw = flag_or("raw", &request.raw, false)?;
    let text_given = text("prompt", &request.prompt)?.unwrap_or_default().to_owned();
    let system = text("system", &request.system)?.filter(|system| !system.is_empty());
    let context = context(&request.context, &api.rules(model), model.context_tokens())?;
    let lease = model.clone();
    if is_raw {
        if system.is_some() || !context.is_empty() || !request.template.is_neutral() {
            let message = "raw mode does not support template, system, or context";
            return Err(ApiError::unsupported("raw", message));
        }
        let encode = move || {
            let prompt = lease.tokenizer.prompt_as_written(&text_given);
            lease.tokenizer.encode_prompt(&prompt).map_err(refused_prompt)
        };
        return Ok(Prompt {
            tokens: api.text_lane.run(encode).await?,
            start: Start::Raw,
            dropped: 0,
            is_continuable: false,
        });
    }
    refuse_template(&request, model)?;
    let mut messages: Vec<Message> = system.map(|system| say(Role::System, system)).into_iter().collect();
    messages.push(say(Role::User, &text_given));
    let encode = move || {
        if context.is_empty() {
            return conversation_tokens(&lease, &lease.opening.before(messages), &[], thinking);
        }
        conversation_tokens(&lease, &messages, &[], thinking).map(|tokens| joined(&lease, context, tokens))
    };
    Ok(Prompt {
        tokens: api.text_lane.run(encode).await?,
        start: start(model, thinking),
        dropped: 0,
        is_continuable: true,
    })
}

/// A conversation that goes on: the earlier turn is ended, and the text begins only once.
fn joined(model: &Lease, earlier: Vec<u32>, tokens: Vec<u32>) -> Vec<u32> {
    let mut all = earlier;
    if all.last().is_some_and(|last| !model.end_tokens.contains(last)) {
        all.push(model.tokenizer.eos());
    }
    let bos = model.tokenizer.bos();
    all.extend(tokens.into_iter().skip_while(|token| Some(*token) == bos));
    all
}

fn say(role: Role, content: &str) -> Message {
    Message::new(role, content)
}

fn refused_prompt(error: ChatError) -> ApiError {
    refused_text("prompt", error)
}

/// The token ids of an earlier reply's `context`.
fn context(given: &Field<Ids>, rules: &Rules<'_>, context_tokens: usize) -> Result<Vec<u32>, ApiError> {
    const ALLOWED: &str = "the list of token ids that an earlier reply gave";
    match given {
        Field::Other(given) if given.is_absent() => Ok(Vec::new()),
        Field::Value(Ids::Texts(texts, _)) if texts.is_empty() => Ok(Vec::new()),
        Field::Value(Ids::Ids(ids)) if ids.len() >= context_tokens => Err(ApiError::ContextExceeded {
            prompt_tokens: ids.len(),
            context_tokens,
        }),
        Field::Value(Ids::Ids(ids)) => {
            in_vocabulary("context", ids, rules.vocabulary)?;
            Ok(ids.clone())
        }
        Field::Value(Ids::Refused { item, found }) => Err(refuse(&format!("context[{item}]"), found, "a token id")),
        Field::Value(_) => Err(refuse("context", &"no list of numbers", ALLOWED)),
        Field::Other(given) => Err(refuse("context", given, ALLOWED)),
    }
}

/// A template in the request is taken only where it changes nothing.
fn refuse_template(request: &Request, model: &Lease) -> Result<(), ApiError> {
    match &request.template {
        given if given.is_neutral() => Ok(()),
        Given::Text(template) if model.opening.go_template.as_deref() == Some(template) => Ok(()),
        given => {
            let message = format!(
                "template is {given}: templates of requests are not supported here, leave it out, or write the whole \
                 prompt yourself and send \"raw\": true"
            );
            Err(ApiError::unsupported("template", message))
        }
    }
}
