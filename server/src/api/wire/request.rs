//! The body of `/v1/chat/completions` and `/v1/completions`.
//!
//! One type reads both: they share most fields, and a field sent to the wrong one can then be named. Serde's `flatten`
//! would share them too, but it builds a tree of the whole body first.

use serde::Deserialize;

use super::content::Content;
use super::list::{Entries, List, OneOrMany};
use super::prompt::Prompt;
use super::tree::Tree;
use super::{Field, Given, Object};

/// Every field that has a meaning here; all others are skipped. OpenAI's unless another origin is named.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct GenerateRequest {
    pub(crate) model: Given,
    pub(crate) messages: Field<List<Field<Object<Message>>>>,
    pub(crate) prompt: Field<Prompt>,

    pub(crate) n: Given,
    pub(crate) stop: Field<OneOrMany>,
    pub(crate) max_tokens: Given,
    pub(crate) max_completion_tokens: Given,
    pub(crate) stream: Given,
    pub(crate) stream_options: Field<Object<StreamOptions>>,
    pub(crate) logprobs: Given,
    pub(crate) top_logprobs: Given,

    pub(crate) seed: Given,
    pub(crate) temperature: Given,
    pub(crate) top_p: Given,
    pub(crate) presence_penalty: Given,
    pub(crate) frequency_penalty: Given,
    pub(crate) logit_bias: Field<Entries>,
    // vLLM, llama.cpp and others:
    pub(crate) top_k: Given,
    pub(crate) min_p: Given,
    pub(crate) repetition_penalty: Given,
    pub(crate) ignore_eos: Given,
    pub(crate) return_tokens_as_token_ids: Given,

    // Whether the model thinks, and how the thought is shown:
    pub(crate) reasoning_effort: Given,
    pub(crate) chat_template_kwargs: Field<Object<TemplateKwargs>>, // vLLM, SGLang
    pub(crate) thinking: Field<Object<Typed>>,                      // DeepSeek, Anthropic
    pub(crate) reasoning_format: Given,                             // llama.cpp, Groq
    pub(crate) separate_reasoning: Given,                           // SGLang
    pub(crate) include_reasoning: Given,                            // vLLM, OpenRouter

    // What the answer is held to, and what it may call:
    pub(crate) response_format: Field<Object<ResponseFormat>>,
    pub(crate) structured_outputs: Field<Object<StructuredOutputs>>, // vLLM
    pub(crate) guided_json: Field<Tree>,                             // vLLM
    pub(crate) tools: Field<Tree>,
    pub(crate) tool_choice: Field<Tree>,
    pub(crate) parallel_tool_calls: Given,

    // Read only to refuse what would change the answer:
    pub(crate) functions: Given,
    pub(crate) function_call: Given,
    pub(crate) modalities: Field<List<Given>>,
    pub(crate) audio: Given,
    pub(crate) web_search_options: Given,
    pub(crate) best_of: Given,
    pub(crate) echo: Given,
    pub(crate) suffix: Given,
    pub(crate) prompt_logprobs: Given,
    pub(crate) chat_template: Given,
    pub(crate) continue_final_message: Given,
    pub(crate) guided_regex: Given,
    pub(crate) guided_choice: Given,
    pub(crate) guided_grammar: Given,
    pub(crate) grammar: Given,
    pub(crate) json_schema: Given,
    pub(crate) use_beam_search: Given,
    pub(crate) stop_token_ids: Given,
    pub(crate) min_tokens: Given,
    pub(crate) bad_words: Given,
    pub(crate) allowed_token_ids: Given,
}

/// One message of a conversation. A thought sent back in `reasoning_content` is skipped like any unknown field.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Message {
    pub(crate) role: Given,
    pub(crate) content: Field<Content>,
    pub(crate) tool_calls: Field<Tree>,
}

/// `response_format`, and `text.format` of a response.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ResponseFormat {
    pub(crate) r#type: Given,
    pub(crate) json_schema: Field<Object<JsonSchemaFormat>>,
    // Beside the type in `text.format`, the schema in llama.cpp's requests too:
    pub(crate) name: Given,
    pub(crate) description: Given,
    pub(crate) schema: Field<Tree>,
    pub(crate) strict: Given,
}

/// `response_format.json_schema`. Every schema is kept to strictly: all but the schema is only there for a response to
/// repeat it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct JsonSchemaFormat {
    pub(crate) name: Given,
    pub(crate) description: Given,
    pub(crate) schema: Field<Tree>,
    pub(crate) strict: Given,
}

/// `structured_outputs`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StructuredOutputs {
    pub(crate) json: Field<Tree>,
    pub(crate) json_object: Given,
    pub(crate) regex: Given,
    pub(crate) choice: Given,
    pub(crate) grammar: Given,
    pub(crate) structural_tag: Given,
}

/// `stream_options`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StreamOptions {
    pub(crate) include_usage: Given,
}

/// `chat_template_kwargs`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TemplateKwargs {
    pub(crate) enable_thinking: Given,
    pub(crate) thinking: Given,
}

/// An object of which only the `type` matters.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Typed {
    pub(crate) r#type: Given,
}
