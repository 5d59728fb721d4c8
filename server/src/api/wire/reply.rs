//! What chat and text completions have in common on the way out.

use serde::Serialize;

/// Why a choice ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FinishReason {
    /// The model ended its turn, or a stop string matched.
    Stop,
    /// `max_tokens` or the context was used up.
    Length,
    /// The model called a tool.
    ToolCalls,
}

impl FinishReason {
    /// The wire's word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
            FinishReason::ToolCalls => "tool_calls",
        }
    }
}

/// Tokens in and out of one request, all choices together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Usage {
    pub(crate) prompt_tokens: usize,
    pub(crate) completion_tokens: usize,
    pub(crate) total_tokens: usize,
    pub(crate) prompt_tokens_details: PromptTokensDetails,
    pub(crate) completion_tokens_details: CompletionTokensDetails,
}

/// `usage.prompt_tokens_details`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct PromptTokensDetails {
    /// Prompt tokens whose keys and values were already there.
    pub(crate) cached_tokens: usize,
}

/// `usage.completion_tokens_details`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct CompletionTokensDetails {
    /// Output tokens that belong to the thought.
    pub(crate) reasoning_tokens: usize,
}

/// What every object of one reply repeats.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Head {
    pub(crate) id: String,
    pub(crate) object: &'static str,
    /// Unix seconds.
    pub(crate) created: u64,
    /// The name the client asked for.
    pub(crate) model: String,
    pub(crate) system_fingerprint: String,
}

/// One whole reply, or one event of a streamed one.
#[derive(Debug, Serialize)]
pub(crate) struct Envelope<'a, C> {
    #[serde(flatten)]
    pub(crate) head: &'a Head,
    pub(crate) choices: &'a [C],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<Usage>,
}
