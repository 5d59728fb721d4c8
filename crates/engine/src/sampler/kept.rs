//! The tokens that may be drawn: what `min_p`, `top_k` and `top_p` leave, found without sorting the vocabulary.

use std::cmp::Ordering;

use super::weight::{LEAST, ONE, part_of_one, weight};
use crate::job::Sampling;

/// How many of the likeliest tokens are sorted first; doubled while `top_p` wants more.
const FIRST_LOOK: usize = 64;

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
    // One comparison sorts out nearly all tokens of a real model. A little low, so that rounding loses none.
    let floor = largest + (LEAST - 0.1) * temperature;
    for (id, &logit) in (0_u32..).zip(logits) {
        if logit >= floor {
            let scaled = (logit - largest) / temperature;
            let weight = weight(scaled);
            if weight > 0 {
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
    let least = part_of_one(sampling.min_p).min(ONE);
    kept.retain(|candidate| candidate.weight >= least);
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
    sorting.clear();
    sorting.extend_from_slice(kept);
    let mut rest = sorting.as_mut_slice();
    let (mut look, mut sum) = (FIRST_LOOK, 0);
    while !rest.is_empty() {
        let likeliest = if look < rest.len() {
            rest.select_nth_unstable_by(look - 1, likelier);
            let (likeliest, after) = std::mem::take(&mut rest).split_at_mut(look);
            rest = after;
            likeliest
        } else {
            std::mem::take(&mut rest)
        };
        likeliest.sort_unstable_by(likelier);
        for candidate in likeliest.iter() {
            sum += candidate.weight;
            if sum >= wanted {
                return Some(*candidate);
            }
        }
        look *= 2;
    }
    None
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
