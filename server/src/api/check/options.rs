//! What both endpoints share besides the prompt: sampling, stop strings, how many tokens and choices, how they arrive.

use engine::Sampling;

use super::Rules;
use super::field::{count, flag_or, refuse, text};
use super::form::{Form, form};
use super::sampling::sampling;
use super::tools::Tools;
use crate::api::error::ApiError;
use crate::api::wire::list::OneOrMany;
use crate::api::wire::request::{GenerateRequest, StreamOptions};
use crate::api::wire::{Field, Given, Object};

/// A checked request, less its prompt.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The model's name as the client gave it; `None` means the one there is.
    pub(crate) model: Option<String>,
    /// Choices per prompt, at least 1.
    pub(crate) choices: usize,
    /// Texts that end a choice, none of them empty.
    pub(crate) stop: Vec<String>,
    /// How tokens are drawn.
    pub(crate) sampling: Sampling,
    /// Tokens of one choice at most, at least 1; still to be cut to the room that the prompt leaves.
    pub(crate) output_tokens_max: usize,
    /// Whether end tokens are ordinary ones.
    pub(crate) ignore_end: bool,
    /// Whole or streamed.
    pub(crate) delivery: Delivery,
    /// How log probabilities name their tokens.
    pub(crate) token_names: TokenNames,
    /// What the answer is held to.
    pub(crate) form: Form,
    /// What it may call; of a chat only.
    pub(crate) tools: Tools,
}

/// How the reply arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// One JSON object at the end.
    Whole,
    /// Server-sent events.
    Streamed {
        /// Whether the last of them counts the tokens.
        usage: bool,
    },
}

/// How log probabilities name their tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenNames {
    /// By their text.
    Texts,
    /// As `token_id:123`, which tells apart tokens of the same text.
    Ids,
}

/// Checks what both endpoints share.
pub(crate) fn options(
    request: &GenerateRequest,
    logprobs: Option<usize>,
    rules: &Rules<'_>,
) -> Result<Options, ApiError> {
    let by_id = flag_or("return_tokens_as_token_ids", &request.return_tokens_as_token_ids, false)?;
    Ok(Options {
        model: model(&request.model)?,
        choices: count("n", &request.n, 1..=rules.limits.choices_max)?.unwrap_or(1),
        stop: stop(&request.stop, rules)?,
        sampling: sampling(request, logprobs, rules)?,
        output_tokens_max: output_tokens_max(request, rules)?,
        ignore_end: flag_or("ignore_eos", &request.ignore_eos, false)?,
        delivery: delivery(request)?,
        token_names: if by_id { TokenNames::Ids } else { TokenNames::Texts },
        form: form(request)?,
        tools: Tools::default(),
    })
}

/// Checks that `model` is a text; whether it names a model is for the one who knows the names.
pub(crate) fn model(given: &Given) -> Result<Option<String>, ApiError> {
    Ok(text("model", given)?.filter(|name| !name.is_empty()).map(str::to_owned))
}

/// The newer `max_completion_tokens` wins over `max_tokens`. Chat clients ask for 100,000 and mean "no limit", so what
/// does not fit the context is cut to it, not refused, and the reply then ends with `length`.
fn output_tokens_max(request: &GenerateRequest, rules: &Rules<'_>) -> Result<usize, ApiError> {
    let range = || 1..=usize::MAX >> 1;
    let older = count("max_tokens", &request.max_tokens, range())?;
    let newer = count("max_completion_tokens", &request.max_completion_tokens, range())?;
    Ok(newer.or(older).unwrap_or(rules.limits.default_output_tokens))
}

/// Whether the reply is asked for as a stream.
pub(crate) fn streams(request: &GenerateRequest) -> Result<bool, ApiError> {
    flag_or("stream", &request.stream, false)
}

fn delivery(request: &GenerateRequest) -> Result<Delivery, ApiError> {
    let streamed = streams(request)?;
    let usage = match &request.stream_options {
        Field::Value(Object(StreamOptions { include_usage })) => {
            if !streamed {
                let found = "given without \"stream\": true";
                return Err(refuse("stream_options", &found, "it only with a stream"));
            }
            flag_or("stream_options.include_usage", include_usage, false)?
        }
        Field::Other(given) if given.is_absent() => false,
        Field::Other(given) => {
            return Err(refuse(
                "stream_options",
                given,
                "an object such as {\"include_usage\": true}",
            ));
        }
    };
    Ok(if streamed {
        Delivery::Streamed { usage }
    } else {
        Delivery::Whole
    })
}

/// Checks a list of stop strings; without one the model's own stand.
pub(crate) fn stop(given: &Field<OneOrMany>, rules: &Rules<'_>) -> Result<Vec<String>, ApiError> {
    let (strings_max, chars_max) = (rules.limits.stop_strings_max, rules.limits.stop_chars_max);
    let allowed = || format!("a text or a list of at most {strings_max} texts of 1 to {chars_max} characters");
    let checked = |param: &str, text: &str| {
        if text.is_empty() || text.chars().count() > chars_max {
            let found = format!("a text of {} characters", text.chars().count());
            return Err(refuse(param, &found, allowed()));
        }
        Ok(text.to_owned())
    };
    match given {
        Field::Other(given) if given.is_absent() => Ok(rules.defaults.stop.clone()),
        Field::Other(given) => Err(refuse("stop", given, allowed())),
        Field::Value(OneOrMany::One(text)) => Ok(vec![checked("stop", text)?]),
        Field::Value(OneOrMany::Many(list)) if list.sent > strings_max => {
            Err(refuse("stop", &Given::List(list.sent), allowed()))
        }
        Field::Value(OneOrMany::Many(list)) => {
            let each = |(index, item): (usize, &Given)| {
                let param = format!("stop[{index}]");
                match item {
                    Given::Text(text) => checked(&param, text),
                    other => Err(refuse(&param, other, allowed())),
                }
            };
            list.items.iter().enumerate().map(each).collect()
        }
    }
}
