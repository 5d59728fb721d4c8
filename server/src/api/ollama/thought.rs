//! `think`: whether the model thinks before it answers, and where its thought is shown.

use chat::Thinking;

use super::request::Request;
use crate::api::chat::asked_of;
use crate::api::check::Showing;
use crate::api::error::ApiError;
use crate::api::wire::Given;
use crate::api::wire::given::shown;
use crate::app::ThinkShown;
use crate::roster::Lease;

/// What becomes of the thought of one reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Thought {
    /// Whether there is one.
    pub(super) thinking: Thinking,
    /// Where it is shown.
    pub(super) showing: Showing,
}

/// Understands `think`. The efforts are one here: the model has one depth of thought.
///
/// * `unasked`  where the thought is shown if the request does not say whether it wants one; apart from an answer that has
///   a `format`, since that is read by programs which expect nothing before it
///
/// # Errors
/// It is none of the words there are, or asks a model to think that cannot.
pub(super) fn thought(request: &Request, model: &Lease, unasked: ThinkShown) -> Result<Thought, ApiError> {
    let thought = |thinking, showing| Thought {
        thinking: asked_of(model, thinking),
        showing,
    };
    let is_wanted = match &request.think {
        Given::Absent | Given::Null => {
            let showing = match unasked {
                ThinkShown::Inline if request.format.is_neutral() => Showing::Inline,
                ThinkShown::Inline | ThinkShown::Split => Showing::Split,
            };
            return Ok(thought(Thinking::Forced, showing));
        }
        Given::Flag(is_wanted) => *is_wanted,
        Given::Text(effort) if ["low", "medium", "high", "max"].contains(&effort.as_str()) => true,
        other => {
            let message = format!("think is {other}: give true, false, \"low\", \"medium\", \"high\" or \"max\"");
            return Err(ApiError::field("think", message));
        }
    };
    if is_wanted && !model.template.starts_in_thought(Thinking::Forced) {
        let name = shown(&model.card.id);
        return Err(ApiError::unsupported(
            "think",
            format!("{name} does not support thinking"),
        ));
    }
    let thinking = if is_wanted { Thinking::Forced } else { Thinking::Skipped };
    Ok(thought(thinking, Showing::Split))
}
