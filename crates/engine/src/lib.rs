//! Who runs, and what is next: round robin, batches, KV blocks, sampling.
//!
//! The engine knows tokens, not text; positions, not tensors; steps, not seconds. One [`LanguageModel`] per engine does
//! the arithmetic on the engine's own thread.

#![allow(dead_code)]

mod job;
mod model;
mod settings;
mod status;

pub use job::{Event, Finish, Job, Refused, Sampling, Token};
pub use model::{BLOCK_TOKENS, LanguageModel, ModelError, ModelShape, Segment};
pub use settings::{EngineError, EngineSettings, EngineSpec, ModelFactory};
pub use status::{EngineState, EngineStatus};
