//! A job on its way: everything that is needed to go on with it at any engine.
//!
//! Host memory only. What an engine has of it (blocks, computed positions) can be lost and computed again from the
//! tokens; the sampler goes where the sequence goes, so no token is lost, repeated or different.

use std::sync::Arc;

use crate::blocks::blocks_for;
use crate::constraint::{Allowed, Constraint, ConstraintError};
use crate::embedding::Embedding;
use crate::job::{Event, Finish, Job, Token, Want};
use crate::model::{BLOCK_TOKENS, ModelShape, Pooling, Wanted};
use crate::prefix::BlockTokens;
use crate::replies::Outlet;
use crate::sampler::{Choice, SampleError, Sampler, Scratch};

/// Strikes from which on a sequence gets steps of its own, so that it can no longer take others down.
const SUSPECT_STRIKES: usize = 2;

/// Why a sequence got no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoToken {
    /// The model's row is no use.
    #[error("no token can be chosen: {0}")]
    Row(#[from] SampleError),
    /// Its constraint gave up.
    #[error("the answer's form cannot be kept: {0}")]
    Constraint(#[from] ConstraintError),
    /// The states of its text are no use.
    #[error("the text has no embedding: the model's states are not finite numbers")]
    States,
    /// Choosing it panicked.
    #[error("choosing the token failed")]
    Panic,
}

/// A job that was accepted and has not ended.
pub(crate) struct Sequence {
    /// Number of acceptance: the lower, the older.
    pub(crate) serial: u64,
    pub(crate) cache_scope: u64,
    pub(crate) sampler: Sampler,
    pub(crate) outlet: Outlet,
    /// Blocks held at this engine, in order of positions.
    pub(crate) block_table: Vec<u32>,
    /// Positions whose keys and values are in the blocks.
    pub(crate) computed: usize,
    /// Whether `Started` was sent.
    pub(crate) started: bool,
    /// Whether the client must read before it can go on.
    pub(crate) paused: bool,
    /// Whether it is in the step being run.
    pub(crate) in_step: bool,
    /// Failed steps it was in, since it last got a token in a step of its own.
    pub(crate) strikes: usize,
    /// What it gives out if that is not tokens.
    pub(crate) embedding: Option<Embedding>,
    /// Prompt, then output.
    tokens: Vec<u32>,
    prompt_tokens: usize,
    /// Length at which it ends.
    tokens_max: usize,
    end_tokens: Arc<[u32]>,
    ignore_end: bool,
    constraint: Option<Box<dyn Constraint>>,
}

impl Sequence {
    /// A job that was checked; `shape` is what every engine can hold.
    pub(crate) fn new(serial: u64, mut job: Job, shape: &ModelShape, outlet: Outlet) -> Self {
        let embedding = (job.want == Want::Embedding).then(|| Embedding::new(shape.pooling));
        if embedding.is_some() && shape.pooling == Pooling::First {
            // A token's state depends on those before it only: the rest would be computed for nothing.
            job.prompt.truncate(1);
        }
        let prompt_tokens = job.prompt.len();
        let tokens_max = match job.want {
            Want::Tokens => prompt_tokens
                .saturating_add(job.output_tokens_max)
                .min(shape.sequence_tokens_max()),
            Want::Embedding => usize::MAX,
        };
        Self {
            serial,
            cache_scope: job.cache_scope,
            sampler: Sampler::new(job.sampling, &job.prompt),
            outlet,
            block_table: Vec::new(),
            computed: 0,
            started: false,
            paused: false,
            in_step: false,
            strikes: 0,
            embedding,
            tokens: job.prompt,
            prompt_tokens,
            tokens_max,
            end_tokens: job.end_tokens,
            ignore_end: job.ignore_end,
            constraint: job.constraint,
        }
    }

    pub(crate) fn prompt_tokens(&self) -> usize {
        self.prompt_tokens
    }

    /// Tokens so far, prompt and output.
    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether it has all the tokens it may have.
    pub(crate) fn is_full(&self) -> bool {
        self.tokens.len() >= self.tokens_max
    }

    /// Whether it runs in steps of its own.
    pub(crate) fn is_suspect(&self) -> bool {
        self.strikes >= SUSPECT_STRIKES
    }

    /// Tokens still to compute before the next one can be chosen, at least 1.
    pub(crate) fn remaining(&self) -> usize {
        self.tokens.len().saturating_sub(self.computed)
    }

    /// What is wanted of its next `count` tokens.
    pub(crate) fn wanted(&self, count: usize) -> Wanted {
        let is_last = count >= self.remaining();
        match &self.embedding {
            Some(embedding) => embedding.wanted(is_last),
            None if is_last => Wanted::Logits,
            None => Wanted::Nothing,
        }
    }

    /// Whether it can go on from blocks that were computed for others.
    pub(crate) fn may_adopt(&self) -> bool {
        !self.embedding.as_ref().is_some_and(Embedding::wants_every_state)
    }

    /// Notes that its blocks are gone: it is computed from its beginning again.
    pub(crate) fn restart(&mut self) {
        self.block_table.clear();
        self.computed = 0;
        if let Some(embedding) = &mut self.embedding {
            embedding.restart();
        }
    }

    /// The next `count` tokens to compute.
    pub(crate) fn next_tokens(&self, count: usize) -> &[u32] {
        let end = (self.computed + count).min(self.tokens.len());
        self.tokens.get(self.computed..end).unwrap_or_default()
    }

    /// The tokens of its `index`-th block, if it has that many.
    pub(crate) fn block_tokens(&self, index: usize) -> Option<&BlockTokens> {
        self.tokens.as_chunks::<BLOCK_TOKENS>().0.get(index)
    }

    /// Blocks that it lacks to hold this many tokens.
    pub(crate) fn blocks_lacking(&self, tokens: usize) -> usize {
        blocks_for(tokens).saturating_sub(self.block_table.len())
    }

    /// Chooses the next token among those that may come; `None` if it is to end because none may.
    ///
    /// * `row` [vocabulary]
    pub(crate) fn choose(&mut self, row: &[f32], scratch: &mut Scratch) -> Result<Option<Token>, NoToken> {
        let Some(constraint) = &mut self.constraint else {
            return Ok(Some(self.sampler.sample(row, &Choice::Free, scratch)?));
        };
        let mut mask = std::mem::take(&mut scratch.mask);
        mask.reset(row.len());
        let choice = match constraint.allow(&mut mask)? {
            Allowed::Anything => Choice::Free,
            Allowed::AnythingButEnd if self.ignore_end => Choice::Free,
            Allowed::AnythingButEnd => {
                mask.allow_all();
                self.end_tokens.iter().for_each(|end| mask.forbid(*end));
                Choice::Among(&mask)
            }
            Allowed::Masked { end } => {
                for token in self.end_tokens.iter() {
                    if end && !self.ignore_end {
                        mask.allow(*token);
                    } else {
                        mask.forbid(*token);
                    }
                }
                Choice::Among(&mask)
            }
        };
        if matches!(choice, Choice::Among(mask) if mask.is_empty()) {
            scratch.mask = mask;
            return Ok(None);
        }
        let token = self.sampler.sample(row, &choice, scratch)?;
        scratch.mask = mask;
        if self.ignore_end || !self.end_tokens.contains(&token.id) {
            constraint.accept(token.id)?;
        }
        Ok(Some(token))
    }

    /// Takes the sampler's token: gives it out or ends, and says how it ended.
    pub(crate) fn take(&mut self, token: Token) -> Option<Finish> {
        if !self.ignore_end && self.end_tokens.contains(&token.id) {
            return Some(Finish::End);
        }
        self.tokens.push(token.id);
        self.outlet.send(Event::Token(token));
        self.is_full().then_some(Finish::Length)
    }

    /// Ends it. The only way out besides a client that went away.
    pub(crate) fn finish(self, finish: Finish) {
        self.outlet.send(Event::Finished(finish));
    }
}
