//! What can be seen of an engine from outside: its state and its counters.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Where an engine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineState {
    /// Building its model, at the start or after a failure.
    Loading,
    /// Takes jobs.
    Ready,
    /// Given up after too many failures.
    Failed,
    /// Ended by `stop`.
    Stopped,
}

impl EngineState {
    /// Its name in one lower-case word, for labels and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            EngineState::Loading => "loading",
            EngineState::Ready => "ready",
            EngineState::Failed => "failed",
            EngineState::Stopped => "stopped",
        }
    }
}

/// A look at one engine. Counters only grow, and outlive failures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineStatus {
    /// Position in the settings.
    pub index: usize,
    /// Name from the settings.
    pub name: String,
    /// Where it stands.
    pub state: EngineState,
    /// Why it last failed, if it ever did.
    pub failure: Option<String>,
    /// Sequences that hold a place in the batch, paused ones too.
    pub running: usize,
    /// Jobs that wait for a place.
    pub waiting: usize,
    /// Running sequences that wait for their client to read.
    pub paused: usize,
    /// Blocks of the KV pool.
    pub kv_blocks: usize,
    /// Blocks that running sequences hold.
    pub kv_blocks_used: usize,
    /// Blocks that nobody holds, kept for their content until the room is needed.
    pub kv_blocks_cached: usize,
    /// Prompt tokens of started jobs, cached ones included.
    pub prompt_tokens: u64,
    /// Tokens chosen, end tokens included.
    pub generation_tokens: u64,
    /// Prompt tokens looked up in the prefix cache.
    pub prefix_queries_tokens: u64,
    /// Prompt tokens found there.
    pub prefix_hits_tokens: u64,
    /// Times that a sequence lost its blocks to an older one.
    pub preemptions: u64,
    /// Steps done. Stands still while an engine with work hangs.
    pub steps: u64,
    /// Token rows of the last step.
    pub batch_rows_last: usize,
    /// Jobs that ended by an end token, by length, or with nothing left to say.
    pub requests_finished: u64,
    /// Jobs whose reader went away.
    pub requests_cancelled: u64,
    /// Jobs that ended as failed.
    pub requests_failed: u64,
    /// Jobs that failed because their logits were not numbers.
    pub rows_not_finite: u64,
    /// Jobs handed to another engine after a failure.
    pub requests_moved: u64,
    /// Failed steps, failed builds and panics.
    pub failures: u64,
    /// Models built, the first included.
    pub builds: u64,
}

/// An engine's numbers as it keeps them. One writer, the engine's thread, except `jobs`.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    state: AtomicU8,
    failure: Mutex<Option<String>>,
    /// Jobs accepted and not ended, in the inbox, waiting or running. The dispatcher adds, the engine takes away.
    pub(crate) jobs: AtomicUsize,
    pub(crate) running: AtomicUsize,
    pub(crate) paused: AtomicUsize,
    pub(crate) kv_blocks: AtomicUsize,
    pub(crate) kv_blocks_used: AtomicUsize,
    pub(crate) kv_blocks_cached: AtomicUsize,
    pub(crate) batch_rows_last: AtomicUsize,
    pub(crate) prompt_tokens: Counter,
    pub(crate) generation_tokens: Counter,
    pub(crate) prefix_queries_tokens: Counter,
    pub(crate) prefix_hits_tokens: Counter,
    pub(crate) preemptions: Counter,
    pub(crate) steps: Counter,
    pub(crate) requests_finished: Counter,
    pub(crate) requests_cancelled: Counter,
    pub(crate) requests_failed: Counter,
    pub(crate) rows_not_finite: Counter,
    pub(crate) requests_moved: Counter,
    pub(crate) failures: Counter,
    pub(crate) builds: Counter,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Gauges {
    pub(crate) fn state(&self) -> EngineState {
        match self.state.load(Ordering::SeqCst) {
            0 => EngineState::Loading,
            1 => EngineState::Ready,
            2 => EngineState::Failed,
            _ => EngineState::Stopped,
        }
    }

    pub(crate) fn set_state(&self, state: EngineState) {
        let code = match state {
            EngineState::Loading => 0,
            EngineState::Ready => 1,
            EngineState::Failed => 2,
            EngineState::Stopped => 3,
        };
        self.state.store(code, Ordering::SeqCst);
    }

    pub(crate) fn failure(&self) -> Option<String> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.clone()
    }

    pub(crate) fn record_failure(&self, reason: &str) {
        self.failures.add(1);
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        *failure = Some(reason.to_owned());
    }

    /// Everything at once, for the engine at `index`. Numbers of the same moment only while the engine rests.
    pub(crate) fn look(&self, index: usize, name: &str) -> EngineStatus {
        let now = |gauge: &AtomicUsize| gauge.load(Ordering::Relaxed);
        let running = now(&self.running);
        EngineStatus {
            index,
            name: name.to_owned(),
            state: self.state(),
            failure: self.failure(),
            running,
            waiting: self.jobs.load(Ordering::SeqCst).saturating_sub(running),
            paused: now(&self.paused),
            kv_blocks: now(&self.kv_blocks),
            kv_blocks_used: now(&self.kv_blocks_used),
            kv_blocks_cached: now(&self.kv_blocks_cached),
            prompt_tokens: self.prompt_tokens.get(),
            generation_tokens: self.generation_tokens.get(),
            prefix_queries_tokens: self.prefix_queries_tokens.get(),
            prefix_hits_tokens: self.prefix_hits_tokens.get(),
            preemptions: self.preemptions.get(),
            steps: self.steps.get(),
            batch_rows_last: now(&self.batch_rows_last),
            requests_finished: self.requests_finished.get(),
            requests_cancelled: self.requests_cancelled.get(),
            requests_failed: self.requests_failed.get(),
            rows_not_finite: self.rows_not_finite.get(),
            requests_moved: self.requests_moved.get(),
            failures: self.failures.get(),
            builds: self.builds.get(),
        }
    }
}
