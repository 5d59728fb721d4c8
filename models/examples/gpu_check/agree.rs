//! How far two answers to the same talk are apart.

use std::fmt;

use crate::run::{Logits, likeliest};

/// Tokens whose log probabilities are compared.
const TOP: usize = 20;

/// Limits of a correct pair: both round activations to 8 bits and keep keys and values in the same format, in another
/// order of operations. The oracle's limits, see the example `oracle`: logits here have a variance of about 1 as well.
const KL_MEAN_MAX: f64 = 1e-3;
const TOP_MEAN_MAX: f64 = 0.05;
const MARGIN_MAX: f64 = 0.1;

/// Differences of answers to one talk, over all steps.
#[derive(Debug, Clone, Default)]
pub struct Agreement {
    steps: usize,
    /// Steps with the same likeliest token.
    pub same: usize,
    /// Steps with the same bits.
    bits: usize,
    kl_sum: f64,
    kl_largest: f64,
    top_sum: f64,
    top_largest: f64,
    /// How much likelier the expected token was than the one found, where they differ: the largest difference.
    margin: f64,
    /// A logit that is no number.
    is_broken: bool,
}

impl Agreement {
    /// Compares answers that were given the same tokens.
    pub fn between(expected: &Logits, found: &Logits) -> Agreement {
        let mut agreement = Agreement::default();
        for (expected, found) in expected.iter().flatten().zip(found.iter().flatten()) {
            agreement.add(expected, found);
        }
        agreement.is_broken |= expected.iter().flatten().count() != found.iter().flatten().count();
        agreement
    }

    fn add(&mut self, expected: &[f32], found: &[f32]) {
        self.steps += 1;
        self.is_broken |= found.len() != expected.len() || !found.iter().all(|logit| logit.is_finite());
        if self.is_broken {
            return;
        }
        self.bits += usize::from(expected == found);
        let (ours, theirs) = (likeliest(found) as usize, likeliest(expected) as usize);
        self.same += usize::from(ours == theirs);
        let (found, expected) = (log_softmax(found), log_softmax(expected));
        self.margin = self.margin.max(expected[theirs] - expected[ours]);
        let kl: f64 = found
            .iter()
            .zip(&expected)
            .map(|(found, expected)| expected.exp() * (expected - found))
            .sum();
        self.kl_sum += kl;
        self.kl_largest = self.kl_largest.max(kl);
        for token in top(&expected) {
            let gap = (found[token] - expected[token]).abs();
            self.top_sum += gap / TOP as f64;
            self.top_largest = self.top_largest.max(gap);
        }
    }

    /// Whether every bit is the same.
    pub fn is_same_bits(&self) -> bool {
        !self.is_broken && self.steps > 0 && self.bits == self.steps
    }

    /// Whether nothing differs but what rounding explains.
    pub fn is_close(&self) -> bool {
        let steps = self.steps as f64;
        let is_near = self.kl_sum <= steps * KL_MEAN_MAX && self.top_sum <= steps * TOP_MEAN_MAX;
        self.steps > 0 && !self.is_broken && is_near && self.margin < MARGIN_MAX
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_broken {
            return f.write_str("logits are missing or are no numbers");
        }
        if self.bits == self.steps {
            return write!(f, "all {} steps bit for bit", self.steps);
        }
        let steps = self.steps as f64;
        write!(
            f,
            "KL mean {:.1e}, largest {:.1e}; top {TOP} off by {:.4}, at most {:.3}; greedy {}/{} the same",
            self.kl_sum / steps,
            self.kl_largest,
            self.top_sum / steps,
            self.top_largest,
            self.same,
            self.steps
        )?;
        if self.same < self.steps {
            write!(f, ", margin elsewhere at most {:.3}", self.margin)?;
        }
        Ok(())
    }
}

/// The likeliest tokens.
fn top(log_probabilities: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..log_probabilities.len()).collect();
    let descending = |a: &usize, b: &usize| log_probabilities[*b].total_cmp(&log_probabilities[*a]);
    order.select_nth_unstable_by(TOP, descending);
    order.truncate(TOP);
    order
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - most).exp()).sum();
    logits.iter().map(|logit| f64::from(logit - most) - sum.ln()).collect()
}
