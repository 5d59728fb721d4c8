//! The replies of `/v1/chat/completions`.

use serde::Serialize;

use super::reply::FinishReason;

/// One choice of a whole reply.
#[derive(Debug, Serialize)]
pub(crate) struct Choice {
    pub(crate) index: usize,
    pub(crate) message: Message,
    pub(crate) logprobs: Option<Logprobs>,
    pub(crate) finish_reason: FinishReason,
}

/// The assistant's message. `content` is never null: Dify and LangChain want a string, even where the thought took all.
#[derive(Debug, Serialize)]
pub(crate) struct Message {
    pub(crate) role: &'static str,
    pub(crate) content: String,
    pub(crate) refusal: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) reasoning_content: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tool_calls: Vec<ToolCall>,
}

/// One call of a tool.
#[derive(Debug, Serialize)]
pub(crate) struct ToolCall {
    /// Its place among the calls, in streamed events only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) index: Option<usize>,
    pub(crate) id: String,
    pub(crate) r#type: &'static str,
    pub(crate) function: CalledFunction,
}

/// What is called.
#[derive(Debug, Serialize)]
pub(crate) struct CalledFunction {
    pub(crate) name: String,
    /// The text of a JSON object.
    pub(crate) arguments: String,
}

/// One choice of one streamed event.
#[derive(Debug, Serialize)]
pub(crate) struct ChunkChoice {
    pub(crate) index: usize,
    pub(crate) delta: Delta,
    pub(crate) logprobs: Option<Logprobs>,
    pub(crate) finish_reason: Option<FinishReason>,
}

/// What a streamed event adds. Thought and answer never share one: LobeChat would lose the answer's part.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Delta {
    /// The first event of a choice.
    Role { role: &'static str, content: &'static str },
    /// More of the thought.
    Thought { reasoning_content: String },
    /// More of the answer.
    Answer { content: String },
    /// A call, whole.
    Calls { tool_calls: [ToolCall; 1] },
    /// The last event of a choice.
    Nothing {},
}

/// Log probabilities of the tokens that an event or a reply carries, thought included, as vLLM gives them.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Logprobs {
    pub(crate) content: Vec<TokenLogprob>,
}

/// One generated token and its rivals.
#[derive(Debug, Serialize)]
pub(crate) struct TokenLogprob {
    pub(crate) token: String,
    pub(crate) logprob: f32,
    pub(crate) bytes: Vec<u8>,
    pub(crate) top_logprobs: Vec<TopLogprob>,
}

/// One of the likeliest tokens at a place.
#[derive(Debug, Serialize)]
pub(crate) struct TopLogprob {
    pub(crate) token: String,
    pub(crate) logprob: f32,
    pub(crate) bytes: Vec<u8>,
}
