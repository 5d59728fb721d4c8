//! The tokens that may be drawn: what `min_p`, `top_k` and `top_p` leave, found without sorting the vocabulary.

use std::cmp::Ordering;

use super::weight::{LANES, LEAST, ONE, exp, part_of_one};
use crate::job::Sampling;

/// A token that may be drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) id: u32,
    /// Its logit less the largest, divided by the temperature: 0 or less.
    pub(crate) scaled: f32,
    pub(crate) weight: u64,
}

/// Likelier first, then the lower id: a total order, since no two candidates share an id.
pub(crate) fn likelier(a: &Candidate, b: &Candidate) -> Ordering {
    b.scaled.total_cmp(&a.scaled).then(a.id.cmp(&b.id))
}

/// Fills `kept` with every token that has a weight, in order of ids.
pub(crate) fn collect(logits: &[f32], largest: f32, temperature: f32, kept: &mut Vec<Candidate>) {
    kept.clear();
    // Most of a real model's tokens are far below the largest. A little low, so that rounding loses none.
    let floor = largest + (LEAST - 0.1) * temperature;
    let (mut scaled, mut parts) = ([0.0_f32; LANES], [0.0_f32; LANES]);
    for (first_id, logits) in (0_u32..).step_by(LANES).zip(logits.chunks(LANES)) {
        if !logits.iter().any(|logit| *logit >= floor) {
            continue;
        }
        for (scaled, logit) in scaled.iter_mut().zip(logits) {
            *scaled = (logit - largest) / temperature;
        }
        for (part, scaled) in parts.iter_mut().zip(&scaled) {
            *part = exp(scaled.clamp(LEAST, 0.0));
        }
        kept.reserve(LANES);
        let chances = scaled.iter().zip(&parts).take(logits.len());
        for (id, (&scaled, &part)) in (first_id..).zip(chances) {
            if scaled > LEAST {
                let weight = part_of_one(part);
                kept.push(Candidate { id, scaled, weight });
            }
        }
    }
}

/// Cuts `kept`, in order of ids, down to what the sampling allows, at least one token. `sorting` is scratch.
///
/// Each cut counts shares of what the cut before it left, as vLLM does. `top_k` keeps exactly k, of equals the lower
/// ids; `top_p` keeps the fewest tokens whose share reaches it.
pub(crate) fn cut(kept: &mut Vec<Candidate>, sorting: &mut Vec<Candidate>, sampling: &Sampling) {
    if sampling.min_p > 0.0 {
        let least = part_of_one(sampling.min_p).min(ONE);
        kept.retain(|candidate| candidate.weight >= least);
    }
    if let Some(last) = last_of_top_k(kept, sorting, sampling.top_k) {
        kept.retain(|candidate| likelier(candidate, &last).is_le());
    }
    if let Some(last) = last_of_top_p(kept, sorting, sampling.top_p) {
        kept.retain(|candidate| likelier(candidate, &last).is_le());
    }
}

/// The least likely token that `top_k` keeps; `None` if it keeps all.
fn last_of_top_k(kept: &[Candidate], sorting: &mut Vec<Candidate>, top_k: usize) -> Option<Candidate> {
    if top_k == 0 || top_k >= kept.len() {
        return None;
    }
    sorting.clear();
    sorting.extend_from_slice(kept);
    let (_, last, _) = sorting.select_nth_unstable_by(top_k - 1, likelier);
    Some(*last)
}

/// The least likely token that `top_p` keeps; `None` if it keeps all.
fn last_of_top_p(kept: &[Candidate], sorting: &mut Vec<Candidate>, top_p: f32) -> Option<Candidate> {
    if top_p >= 1.0 {
        return None;
    }
    let total: u64 = kept.iter().map(|candidate| candidate.weight).sum();
    let wanted = share_of(total, top_p);
    // All tokens at or below this weight together are less than what is to be cut, so the last one kept is above it.
    // Half of what the sum allows, because exp may be wrong in the last bit and the order is by logits.
    let tail = total.saturating_sub(wanted) / (2 * kept.len().max(1) as u64);
    sorting.clear();
    sorting.extend(kept.iter().filter(|candidate| candidate.weight > tail));
    // Halve the set where the sum crosses what is wanted: the work is a geometric series, and nothing is sorted.
    let (mut rest, mut sum) = (sorting.as_mut_slice(), 0);
    while rest.len() > 1 {
        let half = rest.len() / 2;
        rest.select_nth_unstable_by(half, likelier);
        let (likeliest, others) = rest.split_at_mut(half);
        let likeliest_sum: u64 = likeliest.iter().map(|candidate| candidate.weight).sum();
        if sum + likeliest_sum >= wanted {
            rest = likeliest;
        } else {
            sum += likeliest_sum;
            rest = others;
        }
    }
    rest.first().copied()
}

/// The least weight that is at least this share of `total`, and at least 1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "at most `total`; a share is given to seven digits, an f64 has fifteen"
)]
pub(crate) fn share_of(total: u64, share: f32) -> u64 {
    ((total as f64 * f64::from(share)).ceil() as u64).clamp(1, total.max(1))
}
