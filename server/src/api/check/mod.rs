//! From what a client sent to what the rest of the program can rely on: a checked type per endpoint.
//!
//! Each refusal names the field, says what was found and what is allowed. Past these checks bad input is our bug.

mod chat_request;
mod completion_request;
mod embedding_request;
pub(crate) mod field;
mod form;
mod messages;
pub(crate) mod options;
mod sampling;
mod tools;
mod unsupported;

#[cfg(test)]
mod tests;

use chat::ToolFormat;

use crate::app::{Limits, SamplingDefaults};

pub(crate) use chat_request::{ChatRequest, Showing, chat_request};
pub(crate) use completion_request::{CompletionRequest, PromptSource, completion_request, in_vocabulary, sources};
pub(crate) use embedding_request::{EmbeddingInputs, embedding_request};
pub(crate) use field::{count, flag, flag_or, refuse, text};
pub(crate) use form::{Form, schema};
pub(crate) use messages::messages;
pub(crate) use options::{Delivery, Options, TokenNames, model, stop, streams};
pub(crate) use sampling::drawn_seed;
pub(crate) use tools::{Tools, arguments_of, tools};

/// What requests are checked against.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    /// What one request may ask for.
    pub(crate) limits: &'a Limits,
    /// Sampling values for what it leaves out.
    pub(crate) defaults: &'a SamplingDefaults,
    /// Token ids are below this.
    pub(crate) vocabulary: usize,
    /// How the model calls tools, if it knows any.
    pub(crate) tools: Option<ToolFormat>,
}
