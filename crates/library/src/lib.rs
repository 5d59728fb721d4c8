//! Finds and checks the files that are a model.
//!
//! [`Gguf`] opens one GGUF file, refuses everything about it that does not add up before it allocates for it, and then
//! hands out metadata, tensor bytes and the [`Vocabulary`]. What the tensors mean is the business of `models`.
//! [`store`] finds such a file by a model's name where Ollama keeps it, and keeps models of our own; [`hub`] finds it where
//! the Hugging Face hub's tools do; [`pull`] fetches it for either from where models are published.

pub mod gguf;
pub mod hub;
pub mod pull;
mod regular;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use gguf::{
    Array, Gguf, GgufError, Metadata, Problem, Quoted, SplitName, TensorInfo, TensorType, Value, Vocabulary,
};
