//! The checked form of a `/v1/embeddings` request.

use super::Rules;
use super::completion_request::{PromptSource, sources};
use super::field::{count, refuse, text};
use crate::api::error::ApiError;
use crate::api::wire::embedding::{EmbeddingRequest, Encoding};

/// Texts to embed, and in which form.
#[derive(Debug)]
pub(crate) struct EmbeddingInputs {
    /// At least one; no text is empty.
    pub(crate) inputs: Vec<PromptSource>,
    /// How the numbers are written.
    pub(crate) encoding: Encoding,
    /// Numbers of each vector, if not all.
    pub(crate) dimensions: Option<usize>,
}

/// Checks an embedding request for a model with vectors of `width` numbers.
///
/// # Errors
/// The first field that is wrong.
pub(crate) fn embedding_request(
    request: EmbeddingRequest,
    rules: &Rules<'_>,
    width: usize,
) -> Result<EmbeddingInputs, ApiError> {
    let encoding = match text("encoding_format", &request.encoding_format)? {
        None | Some("float") => Encoding::Float,
        Some("base64") => Encoding::Base64,
        Some(_) => return Err(refuse("encoding_format", &request.encoding_format, "float or base64")),
    };
    let dimensions = count("dimensions", &request.dimensions, 1..=width)?;
    let inputs_max = rules.limits.embedding_inputs_max;
    let inputs = sources("input", request.input, inputs_max, rules.vocabulary)?;
    let is_empty = |source: &PromptSource| matches!(source, PromptSource::Text(text) if text.is_empty());
    if let Some(index) = inputs.iter().position(is_empty) {
        let param = format!("input[{index}]");
        return Err(refuse(&param, &"an empty text", "at least one character"));
    }
    Ok(EmbeddingInputs {
        inputs,
        encoding,
        dimensions,
    })
}
