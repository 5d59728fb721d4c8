//! The objects of a response and of its events, as OpenAI's clients know them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::check::Asked;
use crate::api::wire::reply::Usage;

/// How far a response or one of its items has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    InProgress,
    Completed,
    /// `max_output_tokens` or the context was used up.
    Incomplete,
    Failed,
}

/// The response itself. What clients expect and nothing here decides is said as OpenAI says its defaults. Of what the
/// client sent, the options, the answer's form and the tools are repeated, its texts are not.
#[derive(Debug, Serialize)]
pub(super) struct ResponseObject {
    pub(super) id: String,
    object: &'static str,
    /// Unix seconds.
    created_at: u64,
    pub(super) status: Status,
    background: bool,
    pub(super) error: Option<Failure>,
    pub(super) incomplete_details: Option<Incomplete>,
    instructions: Option<String>,
    max_output_tokens: Option<usize>,
    metadata: BTreeMap<String, String>,
    model: String,
    pub(super) output: Vec<Item>,
    parallel_tool_calls: bool,
    previous_response_id: Option<String>,
    reasoning: Reasoning,
    store: bool,
    temperature: f32,
    text: TextOptions,
    tool_choice: Value,
    tools: Vec<Value>,
    top_p: f32,
    truncation: &'static str,
    pub(super) usage: Option<TokenCounts>,
}

/// `error`
#[derive(Debug, Serialize)]
pub(super) struct Failure {
    pub(super) code: &'static str,
    pub(super) message: String,
}

/// `incomplete_details`
#[derive(Debug, Serialize)]
pub(super) struct Incomplete {
    pub(super) reason: &'static str,
}

#[derive(Debug, Serialize)]
struct Reasoning {
    effort: Option<String>,
    summary: Option<String>,
}

#[derive(Debug, Serialize)]
struct TextOptions {
    format: Format,
}

/// `text.format`, as far as it was said.
#[derive(Debug, Serialize)]
pub(super) struct Format {
    pub(super) r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) schema: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) strict: Option<bool>,
}

impl Default for Format {
    fn default() -> Self {
        Format {
            r#type: "text",
            name: None,
            description: None,
            schema: None,
            strict: None,
        }
    }
}

/// What a response is known by from its first event on.
pub(super) struct Beginning {
    pub(super) id: String,
    pub(super) created_at: u64,
    pub(super) model: String,
    pub(super) temperature: f32,
    pub(super) top_p: f32,
}

impl ResponseObject {
    pub(super) fn begun(beginning: Beginning, asked: Asked) -> ResponseObject {
        ResponseObject {
            id: beginning.id,
            object: "response",
            created_at: beginning.created_at,
            status: Status::InProgress,
            background: false,
            error: None,
            incomplete_details: None,
            instructions: None,
            max_output_tokens: asked.max_output_tokens,
            metadata: BTreeMap::new(),
            model: beginning.model,
            output: Vec::new(),
            parallel_tool_calls: asked.parallel_tool_calls.unwrap_or(true),
            previous_response_id: None,
            reasoning: Reasoning {
                effort: asked.effort,
                summary: asked.summary,
            },
            store: false,
            temperature: beginning.temperature,
            text: TextOptions { format: asked.format },
            tool_choice: asked.tool_choice.unwrap_or_else(|| Value::from("auto")),
            tools: asked.tools,
            top_p: beginning.top_p,
            truncation: "disabled",
            usage: None,
        }
    }
}

/// One item of the output.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Item {
    /// The thought.
    Reasoning {
        id: String,
        status: Status,
        summary: Vec<Part>,
    },
    /// The answer.
    Message {
        id: String,
        status: Status,
        role: &'static str,
        content: Vec<Part>,
    },
    /// A call of a tool; the arguments are the text of an object.
    FunctionCall {
        id: String,
        status: Status,
        call_id: String,
        name: String,
        arguments: String,
    },
}

/// The text of an item.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Part {
    SummaryText {
        text: String,
    },
    OutputText {
        text: String,
        annotations: [(); 0],
        logprobs: [(); 0],
    },
}

/// `usage`
#[derive(Debug, Serialize)]
pub(super) struct TokenCounts {
    input_tokens: usize,
    input_tokens_details: InputDetails,
    output_tokens: usize,
    output_tokens_details: OutputDetails,
    total_tokens: usize,
}

#[derive(Debug, Serialize)]
struct InputDetails {
    cached_tokens: usize,
}

#[derive(Debug, Serialize)]
struct OutputDetails {
    reasoning_tokens: usize,
}

impl From<Usage> for TokenCounts {
    fn from(usage: Usage) -> TokenCounts {
        TokenCounts {
            input_tokens: usage.prompt_tokens,
            input_tokens_details: InputDetails {
                cached_tokens: usage.prompt_tokens_details.cached_tokens,
            },
            output_tokens: usage.completion_tokens,
            output_tokens_details: OutputDetails {
                reasoning_tokens: usage.completion_tokens_details.reasoning_tokens,
            },
            total_tokens: usage.total_tokens,
        }
    }
}

/// One event. Each has a type and a number, and of the rest what its type needs.
#[derive(Debug, Default, Serialize)]
pub(super) struct Event<'a> {
    pub(super) r#type: &'static str,
    pub(super) sequence_number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response: Option<&'a ResponseObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) item: Option<&'a Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) item_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) summary_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) part: Option<&'a Part>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delta: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) logprobs: Option<[(); 0]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) arguments: Option<&'a str>,
}
