//! The limits of the engines: every number that bounds something, by name.

use std::sync::Arc;

use crate::model::{LanguageModel, ModelError};

/// Builds the model of an engine, given the engine's index.
///
/// Called on the engine's own thread, once at the start and once after each failure; the model is dropped there too.
pub type ModelFactory = Arc<dyn Fn(usize) -> Result<Box<dyn LanguageModel>, ModelError> + Send + Sync>;

/// One engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineSpec {
    /// What it runs on, for people: `cpu`.
    pub name: String,
    /// Its share of the jobs beside the others' weights, at least 1.
    pub weight: u32,
}

/// How many engines, and the limits of each.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// The engines, in order of their indices, at least one.
    pub engines: Vec<EngineSpec>,
    /// Sequences that one step carries, at least 1.
    pub slots: usize,
    /// Jobs that may wait for a slot at each engine; 0 refuses what cannot run at once.
    pub queue_jobs_max: usize,
    /// Prompt tokens that one step computes beside the running decodes, at least 1. A larger budget shortens the wait
    /// for first tokens and lengthens the gap between the others' tokens.
    pub step_tokens_max: usize,
    /// Events that may wait for a slow reader before its sequence is paused, at least 3.
    pub reply_events_max: usize,
    /// How often a sequence may be in a step that fails and be moved to another engine before it is given up.
    pub moves_max: usize,
    /// How often in a row an engine is rebuilt without one good step before it stays failed.
    pub rebuilds_max: usize,
    /// Stack of an engine's thread.
    pub stack_bytes: usize,
}

impl EngineSettings {
    /// These engines with the usual limits.
    #[must_use]
    pub fn new(engines: Vec<EngineSpec>) -> Self {
        Self {
            engines,
            slots: 8,
            queue_jobs_max: 64,
            step_tokens_max: 256,
            reply_events_max: 256,
            moves_max: 3,
            rebuilds_max: 5,
            stack_bytes: 8 << 20,
        }
    }

    /// # Errors
    /// The first limit that is out of bounds.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        let least = [
            ("engines", self.engines.len(), 1),
            ("slots", self.slots, 1),
            ("step_tokens_max", self.step_tokens_max, 1),
            ("reply_events_max", self.reply_events_max, 3),
        ];
        for (field, found, least) in least {
            if found < least {
                return Err(EngineError::Setting { field, found, least });
            }
        }
        if self.engines.iter().any(|spec| spec.weight == 0) {
            return Err(EngineError::Setting {
                field: "weight",
                found: 0,
                least: 1,
            });
        }
        Ok(())
    }
}

/// Why the engines could not start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A limit out of bounds.
    #[error("{field} is {found}, it must be at least {least}")]
    Setting {
        /// The field of [`EngineSettings`] or [`EngineSpec`].
        field: &'static str,
        /// Its value.
        found: usize,
        /// The least it may be.
        least: usize,
    },
    /// No engine could build its model.
    #[error("no engine could start: {reasons}")]
    NoneReady {
        /// Each engine's name and reason.
        reasons: String,
    },
    /// Engines whose models do not share a vocabulary cannot take over from each other.
    #[error(
        "engine {engine} has {found} tokens in its vocabulary, engine {first} has {expected}: give all engines the same model"
    )]
    VocabulariesDiffer {
        /// The engine that differs.
        engine: usize,
        /// Its vocabulary.
        found: usize,
        /// The first ready engine.
        first: usize,
        /// Its vocabulary.
        expected: usize,
    },
    /// The system gave no thread.
    #[error("cannot start a thread for engine {engine}: {source}")]
    Thread {
        /// The engine.
        engine: usize,
        /// The system's reason.
        source: std::io::Error,
    },
}
