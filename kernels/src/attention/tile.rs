//! What is computed together: some consecutive rows of one sequence with the query heads of one key head.
//!
//! A tile's keys are taken in ranges of a fixed number of tokens, each attended to from nothing, and merged in order: so a
//! long cache can be shared out among threads and a row's operations stay the same ones, shared out or not.

use std::ops::Range;

use super::Row;
use super::scalar::STRETCH;
use crate::KvLayer;
use crate::math::exp;

/// Keys that are attended to at a time.
pub(super) const RANGE_TOKENS: usize = 256;
const _: () = assert!(RANGE_TOKENS.is_multiple_of(STRETCH));

/// Pairs of rows and heads in a tile at most, but for one row of many heads: enough that making keys and values f32 costs
/// little beside using them, few enough that the tile's sums stay in the second-level cache.
const PAIRS: usize = 48;
/// Rows of a tile at most: each meets the keys that any of them sees.
const ROWS_MAX: usize = 16;

/// Rows of one sequence at consecutive positions, and the query heads that share one key head.
pub(super) struct Tile<'a> {
    pub(super) layer: &'a KvLayer,
    pub(super) kv_head: usize,
    pub(super) block_table: &'a [u32],
    first_position: usize,
    group: usize,
    queries: &'a [f32],         // [rows, kv_heads, group * head_dim], all key heads' of these rows
    output: Vec<&'a mut [f32]>, // [rows] of [group * head_dim]
}

impl<'a> Tile<'a> {
    /// Cuts a batch into tiles.
    ///
    /// * `queries`, `output`  `[rows, kv_heads, group * head_dim]`, as checked by the door
    pub(super) fn cut(
        queries: &'a [f32],
        group: usize,
        layer: &'a KvLayer,
        rows: &[Row<'a>],
        output: &'a mut [f32],
    ) -> Vec<Tile<'a>> {
        let (kv_heads, item) = (layer.shape().kv_heads, group * layer.shape().head_dim);
        let mut tiles: Vec<Tile> = Vec::new();
        let mut outputs = output.chunks_exact_mut(kv_heads * item);
        for range in together(rows, (PAIRS / group).clamp(1, ROWS_MAX)) {
            let first_tile = tiles.len();
            tiles.extend((0..kv_heads).map(|kv_head| Tile {
                layer,
                kv_head,
                block_table: rows[range.start].block_table,
                first_position: rows[range.start].position,
                group,
                queries: &queries[range.start * kv_heads * item..range.end * kv_heads * item],
                output: Vec::with_capacity(range.len()),
            }));
            for row in outputs.by_ref().take(range.len()) {
                let heads = row.chunks_exact_mut(item);
                for (tile, output) in tiles[first_tile..].iter_mut().zip(heads) {
                    tile.output.push(output);
                }
            }
        }
        tiles
    }

    pub(super) fn head_dim(&self) -> usize {
        self.layer.shape().head_dim
    }

    /// Pairs of a row and a head, row by row.
    pub(super) fn pairs(&self) -> usize {
        self.output.len() * self.group
    }

    /// The position of a pair's row.
    pub(super) fn position(&self, pair: usize) -> usize {
        self.first_position + pair / self.group
    }

    pub(super) fn last_position(&self) -> usize {
        self.first_position + self.output.len() - 1
    }

    /// A pair's query `[head_dim]`.
    pub(super) fn query(&self, pair: usize) -> &'a [f32] {
        let (row, head) = (pair / self.group, pair % self.group);
        let heads = row * self.layer.shape().kv_heads + self.kv_head;
        &self.queries[(heads * self.group + head) * self.head_dim()..][..self.head_dim()]
    }

    /// Multiplications and additions of the whole tile, each pair of them counted once.
    pub(super) fn work(&self) -> usize {
        2 * self.pairs() * (self.last_position() + 1) * self.head_dim()
    }

    /// The ranges of keys that its rows see; every row sees the first key of each.
    pub(super) fn ranges(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let count = self.last_position() / RANGE_TOKENS + 1;
        (0..count).map(|index| index * RANGE_TOKENS..(index + 1) * RANGE_TOKENS)
    }

    /// Writes the outputs once `part` holds all ranges.
    pub(super) fn finish(&mut self, part: &Part) {
        let head_dim = self.layer.shape().head_dim;
        let heads = self
            .output
            .iter_mut()
            .flat_map(|output| output.chunks_exact_mut(head_dim));
        let pairs = heads.zip(part.mixed.chunks_exact(head_dim)).zip(&part.sums);
        for ((output, mixed), sum) in pairs {
            for (output, mixed) in output.iter_mut().zip(mixed) {
                *output = mixed / sum;
            }
        }
    }
}

/// The rows in runs of one sequence, at most `most` long, none across the border of two ranges.
fn together(rows: &[Row<'_>], most: usize) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        match runs.last_mut() {
            Some(run)
                if run.len() < most
                    && row.position == rows[index - 1].position + 1
                    && !row.position.is_multiple_of(RANGE_TOKENS)
                    && std::ptr::eq(row.block_table, rows[index - 1].block_table) =>
            {
                run.end = index + 1;
            }
            _ => runs.push(index..index + 1),
        }
    }
    runs
}

/// What some keys give: for each pair the largest score, the weights relative to it added up, and the values by them.
pub(super) struct Part {
    pub(super) maximums: Vec<f32>, // [pairs]
    pub(super) sums: Vec<f32>,     // [pairs]
    pub(super) mixed: Vec<f32>,    // [pairs, head_dim]
}

impl Part {
    /// That of no keys at all.
    pub(super) fn empty(tile: &Tile<'_>) -> Part {
        Part {
            maximums: vec![f32::NEG_INFINITY; tile.pairs()],
            sums: vec![0.0; tile.pairs()],
            mixed: vec![0.0; tile.pairs() * tile.head_dim()],
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.maximums.fill(f32::NEG_INFINITY);
        self.sums.fill(0.0);
        self.mixed.fill(0.0);
    }

    /// Adds the keys of `part`, which come after those of this one.
    pub(super) fn merge(&mut self, part: &Part) {
        let head_dim = self.mixed.len() / self.sums.len().max(1);
        let pairs = self
            .mixed
            .chunks_exact_mut(head_dim)
            .zip(part.mixed.chunks_exact(head_dim));
        for (pair, (mixed, more)) in pairs.enumerate() {
            let (before, after) = (self.maximums[pair], part.maximums[pair]);
            let maximum = if after > before { after } else { before };
            let (shrink, weight) = (exp(before - maximum), exp(after - maximum));
            self.maximums[pair] = maximum;
            self.sums[pair] = self.sums[pair] * shrink + part.sums[pair] * weight;
            for (mixed, more) in mixed.iter_mut().zip(more) {
                *mixed = *mixed * shrink + *more * weight;
            }
        }
    }
}
