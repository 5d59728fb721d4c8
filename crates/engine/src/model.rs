//! What the engine asks of a model: its shape, and one step over a batch of ragged segments.
//!
//! The engine decides which token lies in which block; the model owns the blocks' bytes. The trait has two kinds of
//! implementation: real ones with tensors, and a scripted one for simulation.

/// Tokens in one KV block.
///
/// Small enough that a shared prompt is shared nearly whole, large enough that tables stay short.
pub const BLOCK_TOKENS: usize = 16;

/// The sizes that a model was built with. They never change while it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelShape {
    /// Logits per row; token ids are below it.
    pub vocabulary: usize,
    /// Longest sequence, prompt and output together.
    pub context_tokens: usize,
    /// KV blocks of [`BLOCK_TOKENS`] tokens; block ids are below it.
    pub kv_blocks: usize,
    /// Elements of a token's state.
    pub hidden: usize,
    /// What a text's embedding is made of.
    pub pooling: Pooling,
}

/// Whose states make a text's embedding. A token's state is what the model has of it after the final norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The last token's: it has seen all the others.
    Last,
    /// The mean over all tokens.
    Mean,
    /// The first token's.
    First,
}

impl ModelShape {
    /// Longest sequence that the context and the whole KV pool can hold.
    #[must_use]
    pub fn sequence_tokens_max(&self) -> usize {
        self.context_tokens.min(self.kv_blocks.saturating_mul(BLOCK_TOKENS))
    }
}

/// The tokens of one sequence that a step computes.
///
/// Position `p` of the sequence lies in block `block_table[p / BLOCK_TOKENS]`, slot `p % BLOCK_TOKENS`. Positions
/// before `first_position` were computed by earlier steps, perhaps for another sequence that began with the same
/// tokens. Within a batch no two segments write to the same block.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    /// Consecutive tokens, at least one.
    pub tokens: &'a [u32],
    /// Position of the first of `tokens`.
    pub first_position: usize,
    /// Blocks of the sequence, enough for `first_position + tokens.len()` positions.
    pub block_table: &'a [u32],
    /// What is wanted of it.
    pub wanted: Wanted,
}

/// What is wanted of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing yet: more tokens of its sequence are to come.
    Nothing,
    /// The logits after its last token.
    Logits,
    /// The state of its last token.
    LastState,
    /// The states of all its tokens.
    EveryState,
}

impl Wanted {
    /// How many states are wanted of a segment of so many tokens.
    #[must_use]
    pub fn states(self, tokens: usize) -> usize {
        match self {
            Wanted::Nothing | Wanted::Logits => 0,
            Wanted::LastState => 1,
            Wanted::EveryState => tokens,
        }
    }
}

/// A model as the engine sees it.
///
/// Built, used and dropped on one thread, so it need not be `Send`. What is given for a segment must depend on that
/// sequence's own tokens only, to the last bit: not on the batch, the chunking or the blocks' ids.
pub trait LanguageModel {
    /// The model's sizes.
    fn shape(&self) -> ModelShape;

    /// Runs one step: stores keys and values of every segment's tokens, attends to everything before them.
    ///
    /// * `batch` at least one segment
    /// * `output` cleared, then filled with [segments that want logits, vocabulary], after them [states, hidden], both in
    ///   the order of segments and tokens
    ///
    /// # Errors
    /// When the step did not happen. The engine then drops this model, builds another, and recomputes elsewhere.
    fn forward(&mut self, batch: &[Segment<'_>], output: &mut Vec<f32>) -> Result<(), ModelError>;
}

/// Why a model could not be built or could not run a step, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ModelError(pub String);
