//! Logits to the next token. One sampler per sequence; it goes where the sequence goes.
//!
//! What may not come is masked first of all. Then in vLLM's order: bias, repetition penalty (over prompt and output), frequency and presence penalties (over
//! the output), temperature, `min_p`, `top_k`, `top_p`, draw. The vocabulary is never sorted.

mod kept;
mod logprobs;
pub(crate) mod random;
mod weight;

use std::collections::HashMap;

use crate::constraint::Mask;
use crate::job::{Sampling, Token};
use kept::Candidate;
use logprobs::Logprobs;

/// Why no token can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SampleError {
    /// Not a number, or infinitely likely.
    #[error("the model's logit for token {0} is not a finite number")]
    NotFinite(usize),
    /// Every token is at minus infinity.
    #[error("the model gave no token a chance")]
    NoChance,
}

/// Which tokens may be chosen.
#[derive(Debug)]
pub(crate) enum Choice<'m> {
    /// All of them.
    Free,
    /// Those in the mask.
    Among(&'m Mask),
}

/// Buffers that one engine's samplers share.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) mask: Mask,
    bent: Vec<f32>,
    kept: Vec<Candidate>,
    sorting: Vec<Candidate>,
}

/// Chooses the tokens of one sequence.
#[derive(Debug, Clone)]
pub(crate) struct Sampler {
    sampling: Sampling,
    /// How often each token is in the output; tokens of the prompt are here with 0. Empty when nothing asks.
    seen: HashMap<u32, u32>,
    /// Tokens chosen so far.
    drawn: u64,
}

impl Sampler {
    /// For the continuation of `prompt`.
    pub(crate) fn new(sampling: Sampling, prompt: &[u32]) -> Self {
        let seen = if sampling.repetition_penalty == 1.0 {
            HashMap::new()
        } else {
            prompt.iter().map(|token| (*token, 0)).collect()
        };
        Self {
            sampling,
            seen,
            drawn: 0,
        }
    }

    /// Chooses the token after which `logits` were computed, and remembers it.
    ///
    /// * `logits` [vocabulary]; minus infinity is a token that cannot be
    pub(crate) fn sample(
        &mut self,
        logits: &[f32],
        choice: &Choice<'_>,
        scratch: &mut Scratch,
    ) -> Result<Token, SampleError> {
        let likeliest = likeliest(logits)?;
        let Scratch {
            bent, kept, sorting, ..
        } = scratch;
        if let Choice::Among(mask) = choice {
            mask.apply(logits, bent);
        } else if self.bends() {
            bent.clear();
            bent.extend_from_slice(logits);
        }
        let (chances, likeliest_bent) = if self.bends() || matches!(choice, Choice::Among(_)) {
            self.bend(bent);
            (bent.as_slice(), self::likeliest(bent)?)
        } else {
            (logits, likeliest)
        };
        let id = if self.sampling.temperature == 0.0 {
            likeliest_bent.id
        } else {
            let temperature = self.sampling.temperature;
            kept::collect(chances, likeliest_bent.logit, temperature, kept);
            kept::cut(kept, sorting, &self.sampling);
            pick(kept, self.sampling.seed, self.drawn).unwrap_or(likeliest_bent.id)
        };
        self.remember(id);
        Ok(self.token(id, logits, likeliest.logit))
    }

    /// Whether bias or penalties change the logits.
    fn bends(&self) -> bool {
        !self.sampling.logit_bias.is_empty() || !self.seen.is_empty()
    }

    fn bend(&self, logits: &mut [f32]) {
        let sampling = &self.sampling;
        for (token, bias) in &sampling.logit_bias {
            change(logits, *token, |logit| logit + bias);
        }
        for (token, count) in &self.seen {
            change(logits, *token, |logit| {
                let repeated = if logit > 0.0 {
                    logit / sampling.repetition_penalty
                } else {
                    logit * sampling.repetition_penalty
                };
                if *count == 0 {
                    return repeated;
                }
                #[expect(clippy::cast_precision_loss, reason = "a context is far below 2^24 tokens")]
                let frequency = sampling.frequency_penalty * *count as f32;
                repeated - frequency - sampling.presence_penalty
            });
        }
    }

    fn remember(&mut self, id: u32) {
        self.drawn += 1;
        let sampling = &self.sampling;
        let counts =
            sampling.repetition_penalty != 1.0 || sampling.presence_penalty != 0.0 || sampling.frequency_penalty != 0.0;
        if counts {
            *self.seen.entry(id).or_insert(0) += 1;
        }
    }

    fn token(&self, id: u32, logits: &[f32], largest: f32) -> Token {
        let Some(count) = self.sampling.logprobs else {
            return Token {
                id,
                logprob: None,
                top: Vec::new(),
            };
        };
        let logprobs = Logprobs::new(logits, largest);
        let logit = logits.get(id as usize).copied();
        Token {
            id,
            logprob: logit.map(|logit| logprobs.of(logit)),
            top: logprobs.top(logits, count),
        }
    }
}

/// A token with the largest logit.
#[derive(Clone, Copy)]
struct Likeliest {
    id: u32,
    logit: f32,
}

/// The likeliest token, of equals the lowest id.
fn likeliest(logits: &[f32]) -> Result<Likeliest, SampleError> {
    let mut likeliest = Likeliest {
        id: 0,
        logit: f32::NEG_INFINITY,
    };
    let mut all_below_infinity = true;
    for (id, &logit) in (0_u32..).zip(logits) {
        all_below_infinity &= logit < f32::INFINITY;
        if logit > likeliest.logit {
            likeliest = Likeliest { id, logit };
        }
    }
    if !all_below_infinity {
        let wrong = logits
            .iter()
            .position(|logit| logit.is_nan() || *logit == f32::INFINITY);
        return Err(SampleError::NotFinite(wrong.unwrap_or_default()));
    }
    if likeliest.logit == f32::NEG_INFINITY {
        return Err(SampleError::NoChance);
    }
    Ok(likeliest)
}

/// Changes one logit. A token that cannot be stays so, and no finite penalty makes one certain or impossible.
fn change(logits: &mut [f32], token: u32, to: impl Fn(f32) -> f32) {
    if let Some(logit) = logits.get_mut(token as usize)
        && *logit > f32::NEG_INFINITY
    {
        *logit = to(*logit).clamp(f32::MIN, f32::MAX);
    }
}

/// Draws by weight, walking in order of ids.
fn pick(kept: &[Candidate], seed: u64, index: u64) -> Option<u32> {
    let total = kept.iter().map(|candidate| candidate.weight).sum();
    let mut point = random::draw_below(seed, index, total);
    for candidate in kept {
        if point < candidate.weight {
            return Some(candidate.id);
        }
        point -= candidate.weight;
    }
    None
}

#[cfg(test)]
mod tests;
