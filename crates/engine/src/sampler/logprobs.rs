//! Log-probabilities of the model's own distribution: before bias, penalties, temperature and cuts, as vLLM gives them.

use super::weight::{LANES, exp};

/// The row's likeliest tokens and how to turn a logit into a log-probability.
pub(crate) struct Logprobs {
    largest: f32,
    /// Logarithm of the sum of e^(logit - largest).
    log_sum: f64,
}

impl Logprobs {
    /// Of one row whose largest logit is known and finite.
    pub(crate) fn new(logits: &[f32], largest: f32) -> Self {
        let (mut parts, mut sum) = ([0.0_f32; LANES], 0.0_f64);
        for logits in logits.chunks(LANES) {
            // Anything lower adds less than an f64 sum that is at least 1 can show.
            for (part, logit) in parts.iter_mut().zip(logits) {
                *part = exp((logit - largest).max(-60.0));
            }
            sum += parts
                .iter()
                .take(logits.len())
                .map(|part| f64::from(*part))
                .sum::<f64>();
        }
        Self {
            largest,
            log_sum: sum.ln(),
        }
    }

    /// The log-probability of a token with this logit, finite: JSON has no infinity.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "clamped to what an f32 holds; its precision is what is asked for"
    )]
    pub(crate) fn of(&self, logit: f32) -> f32 {
        let logprob = f64::from(logit) - f64::from(self.largest) - self.log_sum;
        logprob.clamp(f64::from(f32::MIN), 0.0) as f32
    }

    /// The `count` likeliest tokens, likeliest first, ties to the lower id.
    pub(crate) fn top(&self, logits: &[f32], count: usize) -> Vec<(u32, f32)> {
        let mut top: Vec<(u32, f32)> = Vec::with_capacity(count.min(logits.len()) + 1);
        for (id, &logit) in (0_u32..).zip(logits) {
            let full = top.len() >= count;
            if full && top.last().is_none_or(|(_, least)| logit <= *least) {
                continue;
            }
            let place = top.partition_point(|(_, other)| *other >= logit);
            top.insert(place, (id, logit));
            top.truncate(count);
        }
        top.iter_mut().for_each(|(_, logit)| *logit = self.of(*logit));
        top
    }
}
