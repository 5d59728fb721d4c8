//! The truth: plain loops over fixed lanes, which the compiler turns into whichever registers it is allowed.
//!
//! Up to four query heads go through a block together, so that each key and value is converted from f16 once for them and
//! their additions overlap. How heads are taken together changes no head's own operations.

use super::Row;
use crate::math::{exp, finite_f16, sum_lanes};
use crate::{BLOCK_TOKENS, KvLayer};

/// Elements of a head's output that are kept in registers over a block's values.
pub(super) const CHUNK: usize = 16;

/// Attends with the query heads that share `kv_head`.
///
/// * `queries`, `output`  `[group, head_dim]`
#[inline(always)]
pub fn attend(queries: &[f32], layer: &KvLayer, kv_head: usize, row: Row<'_>, output: &mut [f32]) {
    let head_dim = layer.shape().head_dim;
    let (mut queries, mut output) = (queries, output);
    while !queries.is_empty() {
        let heads = queries.len() / head_dim;
        let taken = if heads >= 4 {
            4
        } else if heads >= 2 {
            2
        } else {
            1
        };
        let (now, later) = queries.split_at(taken * head_dim);
        let (now_output, later_output) = output.split_at_mut(taken * head_dim);
        match taken {
            4 => attend_together::<4>(now, layer, kv_head, row, now_output),
            2 => attend_together::<2>(now, layer, kv_head, row, now_output),
            _ => attend_together::<1>(now, layer, kv_head, row, now_output),
        }
        (queries, output) = (later, later_output);
    }
}

/// `N` heads over all blocks of the row.
#[inline(always)]
fn attend_together<const N: usize>(queries: &[f32], layer: &KvLayer, kv_head: usize, row: Row<'_>, output: &mut [f32]) {
    let head_dim = layer.shape().head_dim;
    let scale = 1.0 / (head_dim as f32).sqrt();
    let mut maximums = [f32::NEG_INFINITY; N];
    let mut sums = [0.0f32; N];
    output.fill(0.0);
    for (index, block) in row.block_table[..=row.position / BLOCK_TOKENS].iter().enumerate() {
        let seen = (row.position + 1 - index * BLOCK_TOKENS).min(BLOCK_TOKENS);
        let mut weights = scores::<N>(queries, head_dim, layer.keys(*block as usize, kv_head));
        let mut shrinks = [1.0f32; N];
        for head in 0..N {
            let scores = &mut weights[head];
            let mut maximum = maximums[head];
            for score in &mut scores[..seen] {
                *score *= scale;
                maximum = if *score > maximum { *score } else { maximum };
            }
            scores[seen..].fill(f32::NEG_INFINITY);
            for score in scores.iter_mut() {
                *score = exp(*score - maximum);
            }
            shrinks[head] = exp(maximums[head] - maximum);
            sums[head] = sums[head] * shrinks[head] + sum_lanes(*scores);
            maximums[head] = maximum;
        }
        mix::<N>(
            &weights,
            &shrinks,
            layer.values(*block as usize, kv_head),
            head_dim,
            seen,
            output,
        );
    }
    for (head, sum) in output.chunks_exact_mut(head_dim).zip(sums) {
        head.iter_mut().for_each(|value| *value /= sum);
    }
}

/// The products of `N` queries with a block's 16 keys `[head_dim, 16]`, element by element in order.
#[inline(always)]
fn scores<const N: usize>(queries: &[f32], head_dim: usize, keys: &[u16]) -> [[f32; BLOCK_TOKENS]; N] {
    let mut scores = [[0.0f32; BLOCK_TOKENS]; N];
    for (element, bits) in keys.as_chunks::<BLOCK_TOKENS>().0.iter().enumerate() {
        let keys = bits.map(finite_f16);
        for head in 0..N {
            let query = queries[head * head_dim + element];
            for token in 0..BLOCK_TOKENS {
                scores[head][token] += query * keys[token];
            }
        }
    }
    scores
}

/// Shrinks the outputs of `N` heads and adds the block's first `seen` values `[16, head_dim]` by their weights.
#[inline(always)]
fn mix<const N: usize>(
    weights: &[[f32; BLOCK_TOKENS]; N],
    shrinks: &[f32; N],
    values: &[u16],
    head_dim: usize,
    seen: usize,
    output: &mut [f32],
) {
    for start in (0..head_dim).step_by(CHUNK) {
        let mut sums = [[0.0f32; CHUNK]; N];
        for head in 0..N {
            for lane in 0..CHUNK {
                sums[head][lane] = output[head * head_dim + start + lane] * shrinks[head];
            }
        }
        for token in 0..seen {
            let bits = &values[token * head_dim + start..][..CHUNK];
            for head in 0..N {
                for lane in 0..CHUNK {
                    sums[head][lane] += weights[head][token] * finite_f16(bits[lane]);
                }
            }
        }
        for head in 0..N {
            output[head * head_dim + start..][..CHUNK].copy_from_slice(&sums[head]);
        }
    }
}
