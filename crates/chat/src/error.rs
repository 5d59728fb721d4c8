//! What can go wrong between text and tokens.

use thiserror::Error;

/// Everything this room refuses, and why.
///
/// [`ChatError::TemplateRefused`], [`ChatError::TooHardToSplit`], [`ChatError::BadSchema`] and
/// [`ChatError::GrammarFailed`] speak about a request; all others speak about
/// the model file, or about ids that this process made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChatError {
    /// `tokenizer.ggml.model` is not one we have.
    #[error(
        "the tokenizer model is `{found}`, only `gpt2` (byte-level BPE) is supported: use a GGUF of a Qwen or Llama 3 model"
    )]
    UnknownModel {
        /// What the file names.
        found: String,
    },
    /// `tokenizer.ggml.pre` is not one we have.
    #[error("the pre-tokenizer is `{found}`, known are {known}: convert the model with a current llama.cpp")]
    UnknownPreTokenizer {
        /// What the file names.
        found: String,
        /// The names we know.
        known: String,
    },
    /// The vocabulary contradicts itself.
    #[error("the vocabulary is broken: {0}")]
    BadVocabulary(String),
    /// An id outside the vocabulary.
    #[error("token {id} does not exist, the vocabulary has {size} tokens")]
    UnknownToken {
        /// The id found.
        id: u32,
        /// One more than the largest id.
        size: usize,
    },
    /// The pre-tokenizer gave up; encoding on would give other tokens than the model was trained on.
    #[error("the text cannot be split into words from byte {at} of {bytes} on: break up its long runs of white space")]
    TooHardToSplit {
        /// Where the last word ended.
        at: usize,
        /// Length of the text.
        bytes: usize,
    },
    /// Neither a template in the file nor a family of which we know it.
    #[error(
        "the model file has no chat template and is not of the DeepSeek-R1 family: use /v1/completions, or a file with `tokenizer.chat_template`"
    )]
    NoTemplate,
    /// The model's template cannot be used at all.
    #[error("the model file's chat template cannot be used: {0}")]
    BadTemplate(String),
    /// The model's template refused these messages with `raise_exception`.
    #[error("the model's chat template refuses these messages: {0}")]
    TemplateRefused(String),
    /// The model's template failed or went over its limits on these messages.
    #[error("the model's chat template failed: {0}")]
    TemplateFailed(String),
    /// A JSON schema that answers cannot be held to.
    #[error("the schema cannot be used: {0}")]
    BadSchema(String),
    /// A grammar could not go on in the middle of an answer.
    #[error("the grammar cannot go on: {0}")]
    GrammarFailed(String),
}
