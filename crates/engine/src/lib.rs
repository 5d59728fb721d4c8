//! Who runs, and what is next: round robin, batches, KV blocks, sampling.
//!
//! The engine knows tokens, not text; positions, not tensors; steps, not seconds. One [`LanguageModel`] per engine does
//! the arithmetic on the engine's own thread.

mod blocks;
mod constraint;
mod dispatch;
mod embedding;
mod engine;
mod engines;
mod inbox;
mod job;
mod model;
mod prefix;
mod replies;
mod sampler;
mod scheduler;
mod sequence;
mod settings;
mod status;
mod worker;

#[cfg(test)]
mod simulation;

pub use constraint::{Allowed, Constraint, ConstraintError, Mask};
pub use dispatch::Accepted;
pub use engines::Engines;
pub use job::{Event, Finish, Job, Refused, Sampling, Token, Want};
pub use model::{BLOCK_TOKENS, LanguageModel, ModelError, ModelShape, Pooling, Segment, Wanted};
pub use replies::Replies;
pub use settings::{EngineError, EngineSettings, EngineSpec, ModelFactory};
pub use status::{EngineState, EngineStatus};
