//! The checked form of a `/v1/completions` request.

use super::Rules;
use super::field::refuse;
use super::options::{Options, options};
use super::sampling::completion_logprobs;
use super::unsupported::{refuse_unsupported, refuse_unsupported_completion};
use crate::api::error::ApiError;
use crate::api::wire::list::LIST_CEILING;
use crate::api::wire::prompt::Prompt;
use crate::api::wire::request::GenerateRequest;
use crate::api::wire::{Field, Given};

/// Prompts to go on from, as they are.
#[derive(Debug)]
pub(crate) struct CompletionRequest {
    /// At least one.
    pub(crate) prompts: Vec<PromptSource>,
    /// The rest.
    pub(crate) options: Options,
}

/// One prompt.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PromptSource {
    /// A text, still to be encoded.
    Text(String),
    /// Token ids, at least one, each in the vocabulary.
    Ids(Vec<u32>),
}

/// Checks a completion request.
///
/// # Errors
/// The first field that is wrong.
pub(crate) fn completion_request(request: GenerateRequest, rules: &Rules<'_>) -> Result<CompletionRequest, ApiError> {
    refuse_unsupported(&request)?;
    refuse_unsupported_completion(&request)?;
    let options = options(&request, completion_logprobs(&request, rules)?, rules)?;
    if request.prompt == Field::Other(Given::Absent) && !matches!(request.messages, Field::Other(Given::Absent)) {
        return Err(ApiError::field(
            "messages",
            "messages are for /v1/chat/completions: send them there, or a prompt here",
        ));
    }
    Ok(CompletionRequest {
        prompts: sources("prompt", request.prompt, rules.limits.prompts_max, rules.vocabulary)?,
        options,
    })
}

/// The texts or token ids of a field that may have one or up to `sources_max` of either.
pub(crate) fn sources(
    param: &str,
    given: Field<Prompt>,
    sources_max: usize,
    vocabulary: usize,
) -> Result<Vec<PromptSource>, ApiError> {
    let sources_max = sources_max.min(LIST_CEILING);
    let allowed = || format!("a text, a list of token ids, or a list of 1 to {sources_max} of either");
    let prompt = match given {
        Field::Value(prompt) => prompt,
        Field::Other(given) => return Err(refuse(param, &given, allowed())),
    };
    match prompt {
        Prompt::Texts(_, sent) | Prompt::IdLists(_, sent) if !(1..=sources_max).contains(&sent) => {
            Err(refuse(param, &Given::List(sent), allowed()))
        }
        Prompt::Text(text) => Ok(vec![PromptSource::Text(text)]),
        Prompt::Texts(texts, _) => Ok(texts.into_iter().map(PromptSource::Text).collect()),
        Prompt::Ids(ids) => Ok(vec![token_ids(param, ids, vocabulary)?]),
        Prompt::IdLists(lists, _) => {
            let each = |(index, ids)| token_ids(&format!("{param}[{index}]"), ids, vocabulary);
            lists.into_iter().enumerate().map(each).collect()
        }
        Prompt::Refused { item, found } => Err(refuse(&format!("{param}[{item}]"), &found, allowed())),
    }
}

fn token_ids(param: &str, ids: Vec<u32>, vocabulary: usize) -> Result<PromptSource, ApiError> {
    if ids.is_empty() {
        return Err(refuse(param, &"an empty list", "at least one token id"));
    }
    in_vocabulary(param, &ids, vocabulary)?;
    Ok(PromptSource::Ids(ids))
}

/// Checks that every id is a token.
pub(crate) fn in_vocabulary(param: &str, ids: &[u32], vocabulary: usize) -> Result<(), ApiError> {
    match ids.iter().enumerate().find(|(_, id)| **id as usize >= vocabulary) {
        Some((place, id)) => {
            let allowed = format!("a token id from 0 to {}", vocabulary.saturating_sub(1));
            Err(refuse(&format!("{param}[{place}]"), id, allowed))
        }
        None => Ok(()),
    }
}
