//! The bodies of `/tokenize` and `/detokenize`, vLLM's shapes.

use serde::{Deserialize, Serialize};

use super::request::Message;
use super::{Field, Given, List, Object};

/// The body of `POST /tokenize`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TokenizeRequest {
    pub(crate) model: Given,
    pub(crate) prompt: Given,
    pub(crate) messages: Field<List<Field<Object<Message>>>>,
    pub(crate) add_special_tokens: Given,
}

/// The answer of `POST /tokenize`.
#[derive(Debug, Serialize)]
pub(crate) struct TokenizeReply {
    pub(crate) tokens: Vec<u32>,
    pub(crate) count: usize,
    pub(crate) max_model_len: usize,
}

/// The body of `POST /detokenize`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DetokenizeRequest {
    pub(crate) model: Given,
    pub(crate) tokens: Field<super::prompt::Prompt>,
}

/// The answer of `POST /detokenize`.
#[derive(Debug, Serialize)]
pub(crate) struct DetokenizeReply {
    pub(crate) prompt: String,
}
