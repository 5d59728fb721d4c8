//! The truth: plain loops over fixed lanes, which the compiler turns into whichever registers it is allowed.
//!
//! The pairs of rows and heads that share a key head go through its keys together, so that each key and value is made an
//! f32 once for all of them. That changes no pair's own operations: each goes through the keys in stretches of 64, and a
//! key that it does not see gets the weight 0, which changes no sum. That holds because all that lies in the cache is
//! finite and because no sum is ever -0.

use std::ops::Range;

use super::lanes::{self, Lanes};
use super::tile::{Part, Tile};
use crate::BLOCK_TOKENS;
use crate::kv_write::LANES;
use crate::math::{exp, sum_lanes};

/// Keys between two looks at the maximum.
pub(super) const STRETCH: usize = 64;
/// The most pairs whose sums are kept in registers.
const WIDTH_MAX: usize = 6;

const STRETCH_BLOCKS: usize = STRETCH / BLOCK_TOKENS;

/// What one tile's work writes and reads again.
pub(super) struct Scratch {
    queries: Vec<f32>,                                           // per bundle [head_dim, width]
    weights: Vec<[f32; STRETCH]>,                                // [pairs]
    shrinks: Vec<f32>,                                           // [pairs]
    keys: Vec<[f32; BLOCK_TOKENS]>,                              // [head_dim]
    values: Box<[[[f32; LANES]; BLOCK_TOKENS]; STRETCH_BLOCKS]>, // [tokens, 16]
}

impl Scratch {
    /// Room for `tile`, with its queries laid out for [`attend`].
    pub(super) fn new(tile: &Tile<'_>) -> Scratch {
        let (pairs, head_dim) = (tile.pairs(), tile.head_dim());
        let mut queries = vec![0.0; pairs * head_dim];
        for bundle in bundles(pairs) {
            let place = &mut queries[bundle.start * head_dim..bundle.end * head_dim];
            for (index, pair) in bundle.clone().enumerate() {
                let column = place[index..].iter_mut().step_by(bundle.len());
                column.zip(tile.query(pair)).for_each(|(place, query)| *place = *query);
            }
        }
        Scratch {
            queries,
            weights: vec![[0.0; STRETCH]; pairs],
            shrinks: vec![0.0; pairs],
            keys: vec![[0.0; BLOCK_TOKENS]; head_dim],
            values: Box::new([[[0.0; LANES]; BLOCK_TOKENS]; STRETCH_BLOCKS]),
        }
    }
}

/// `0..pairs` in pieces of nearly equal length, as few as there can be.
fn bundles(pairs: usize) -> impl Iterator<Item = Range<usize>> {
    let count = pairs.div_ceil(WIDTH_MAX);
    (0..count).map(move |index| index * pairs / count..(index + 1) * pairs / count)
}

/// Attends with all pairs of `tile` to those of the keys `tokens` that they see.
///
/// `tokens` begins at a multiple of [`STRETCH`] and every row sees the first of them; `part` is empty.
#[inline(always)]
pub(super) fn attend<L: Lanes>(tile: &Tile<'_>, tokens: Range<usize>, scratch: &mut Scratch, part: &mut Part) {
    let (layer, head_dim) = (tile.layer, tile.head_dim());
    let scale = 1.0 / (head_dim as f32).sqrt();
    let end = tokens.end.min(tile.last_position() + 1);
    for start in (tokens.start..end).step_by(STRETCH) {
        let blocks = &tile.block_table[start / BLOCK_TOKENS..(start + STRETCH).min(end).div_ceil(BLOCK_TOKENS)];
        for (index, block) in blocks.iter().enumerate() {
            lanes::keys::<L>(layer.keys(*block as usize, tile.kv_head), &mut scratch.keys);
            for bundle in bundles(tile.pairs()) {
                let queries = &scratch.queries[bundle.start * head_dim..bundle.end * head_dim];
                score_bundle::<L>(queries, &scratch.keys, index, &mut scratch.weights[bundle]);
            }
        }
        for (pair, weights) in scratch.weights.iter_mut().enumerate() {
            let seen = (tile.position(pair) + 1).saturating_sub(start).min(STRETCH);
            scratch.shrinks[pair] = weigh(weights, seen, scale, &mut part.maximums[pair], &mut part.sums[pair]);
        }
        for first in (0..head_dim).step_by(LANES) {
            for (values, block) in scratch.values.iter_mut().zip(blocks) {
                let block = layer.values(*block as usize, tile.kv_head);
                lanes::values::<L>(block, first, values);
            }
            let values = scratch.values[..blocks.len()].as_flattened();
            for bundle in bundles(tile.pairs()) {
                let mixed = &mut part.mixed[bundle.start * head_dim..bundle.end * head_dim];
                let (weights, shrinks) = (&scratch.weights[bundle.clone()], &scratch.shrinks[bundle]);
                mix_bundle::<L>(weights, shrinks, values, first, mixed);
            }
        }
    }
}

/// The products of a bundle's queries with block `index` of the stretch.
#[inline(always)]
fn score_bundle<L: Lanes>(queries: &[f32], keys: &[[f32; BLOCK_TOKENS]], index: usize, scores: &mut [[f32; STRETCH]]) {
    match scores.len() {
        1 => score::<L, 1>(queries, keys, index, scores),
        2 => score::<L, 2>(queries, keys, index, scores),
        3 => score::<L, 3>(queries, keys, index, scores),
        4 => score::<L, 4>(queries, keys, index, scores),
        5 => score::<L, 5>(queries, keys, index, scores),
        _ => score::<L, WIDTH_MAX>(queries, keys, index, scores),
    }
}

/// `N` queries `[head_dim, N]` with 16 keys `[head_dim, 16]`, element by element in order.
#[inline(always)]
fn score<L: Lanes, const N: usize>(
    queries: &[f32],
    keys: &[[f32; BLOCK_TOKENS]],
    index: usize,
    scores: &mut [[f32; STRETCH]],
) {
    let mut sums = [[0.0f32; BLOCK_TOKENS]; N];
    for (queries, keys) in queries.as_chunks::<N>().0.iter().zip(keys) {
        for pair in 0..N {
            L::add_scaled(&mut sums[pair], queries[pair], keys);
        }
    }
    for (scores, sums) in scores.iter_mut().zip(sums) {
        scores[index * BLOCK_TOKENS..][..BLOCK_TOKENS].copy_from_slice(&sums);
    }
}

/// Turns a stretch's scores, of which the first `seen` count, into weights relative to the maximum so far.
///
/// Returns what everything before is to be multiplied by.
#[inline(always)]
fn weigh(scores: &mut [f32; STRETCH], seen: usize, scale: f32, maximum: &mut f32, sum: &mut f32) -> f32 {
    let mut most = [*maximum; LANES];
    for (index, score) in scores.iter_mut().enumerate() {
        *score = if index < seen {
            *score * scale
        } else {
            f32::NEG_INFINITY
        };
    }
    for scores in scores.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            most[lane] = if scores[lane] > most[lane] {
                scores[lane]
            } else {
                most[lane]
            };
        }
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            most[lane] = if most[lane + width] > most[lane] {
                most[lane + width]
            } else {
                most[lane]
            };
        }
        width /= 2;
    }
    for score in scores.iter_mut() {
        *score = exp(*score - most[0]);
    }
    let shrink = exp(*maximum - most[0]);
    *sum = *sum * shrink + sum_lanes(*scores);
    *maximum = most[0];
    shrink
}

/// Shrinks a bundle's 16 outputs from `first` on and adds the values of the stretch by their weights.
#[inline(always)]
fn mix_bundle<L: Lanes>(
    weights: &[[f32; STRETCH]],
    shrinks: &[f32],
    values: &[[f32; LANES]],
    first: usize,
    mixed: &mut [f32],
) {
    match weights.len() {
        1 => mix::<L, 1>(weights, shrinks, values, first, mixed),
        2 => mix::<L, 2>(weights, shrinks, values, first, mixed),
        3 => mix::<L, 3>(weights, shrinks, values, first, mixed),
        4 => mix::<L, 4>(weights, shrinks, values, first, mixed),
        5 => mix::<L, 5>(weights, shrinks, values, first, mixed),
        _ => mix::<L, WIDTH_MAX>(weights, shrinks, values, first, mixed),
    }
}

/// The same for `N` pairs; `values` `[tokens, 16]`, token by token in order.
#[inline(always)]
fn mix<L: Lanes, const N: usize>(
    weights: &[[f32; STRETCH]],
    shrinks: &[f32],
    values: &[[f32; LANES]],
    first: usize,
    mixed: &mut [f32],
) {
    let Some(weights) = weights.first_chunk::<N>() else {
        return;
    };
    let head_dim = mixed.len() / N;
    let mut sums = [[0.0f32; LANES]; N];
    for pair in 0..N {
        let before = &mixed[pair * head_dim + first..][..LANES];
        for lane in 0..LANES {
            // Adding 0 makes a -0 that underflow left a 0.
            sums[pair][lane] = before[lane] * shrinks[pair] + 0.0;
        }
    }
    for (token, values) in values.iter().enumerate().take(STRETCH) {
        for pair in 0..N {
            L::add_scaled(&mut sums[pair], weights[pair][token], values);
        }
    }
    for pair in 0..N {
        mixed[pair * head_dim + first..][..LANES].copy_from_slice(&sums[pair]);
    }
}
