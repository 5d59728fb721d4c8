//! Causal attention of new tokens over a paged cache: decode and chunked prefill alike.
//!
//! Each row goes through its sequence's keys from the first to its own position, in ranges and stretches of fixed length,
//! with the running maximum and sum of an online softmax: the order is fixed by the positions alone, so that neither the
//! chunk a row came in, nor the rows beside it, nor the number of threads change a bit of it.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(any(feature = "cuda", feature = "cuda-emulator"))]
pub mod cuda;
mod lanes;
mod scalar;
mod tile;

use std::ops::Range;

use crate::error::{KernelError, expect_below, expect_length};
use crate::kv_write::LANES;
use crate::parallel::{SPREAD_FROM, for_each_chunk};
#[cfg(target_arch = "x86_64")]
use crate::simd;
use crate::{BLOCK_TOKENS, KvLayer, KvShape};
use scalar::Scratch;
use tile::{Part, Tile};

/// The most elements of a head.
pub const HEAD_DIM_MAX: usize = 256;
/// The most query heads that share a key head.
pub const GROUP_MAX: usize = 64;
/// A head's length is a multiple of this.
pub const HEAD_DIM_STEP: usize = LANES;

/// One row of a batch: where its sequence's keys and values are, and how many of them it sees.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The row's position; it sees the positions 0 to this one.
    pub position: usize,
    /// The sequence's blocks.
    pub block_table: &'a [u32],
}

/// Mixes the cached values by how well each row's queries match the cached keys.
///
/// * `queries`  `[rows, heads, head_dim]`, turned, unscaled
/// * `layer`  the cache, which already holds the rows' own keys and values; `heads % kv_heads == 0`
/// * `rows`  `[rows]`
/// * `output`  `[rows, heads, head_dim]`
///
/// Softmax of `query . key / sqrt(head_dim)`; keys and values as the cache's format holds them, everything else f32.
///
/// # Errors
/// `Size` if the heads do not divide or are too large; `Range` if a position is past its table or the pool; `Length`.
///
/// Source: Milakov and Gimelshein 2018, algorithm 3, and section 3.1 for the merging of ranges.
pub fn attention(
    queries: &[f32],
    heads: usize,
    layer: &KvLayer,
    rows: &[Row<'_>],
    output: &mut [f32],
) -> Result<(), KernelError> {
    let group = check(queries, heads, layer, rows, output)?;
    let tiles = Tile::cut(queries, group, layer, rows, output);
    if tiles.len() < JOBS_ENOUGH {
        by_range(tiles, Twin::best());
    } else {
        by_tile(tiles, Twin::best());
    }
    Ok(())
}

/// So many tiles give every core of a usual machine one; below, their ranges are dealt out singly.
const JOBS_ENOUGH: usize = 16;

/// One job for each tile.
fn by_tile(mut tiles: Vec<Tile<'_>>, twin: Twin) {
    let work = tiles.iter().map(Tile::work).sum();
    spread(&mut tiles, work, |tile| {
        let (mut whole, mut part) = (Part::empty(tile), Part::empty(tile));
        let mut scratch = Scratch::new(tile);
        for range in tile.ranges() {
            part.clear();
            twin.attend(tile, range, &mut scratch, &mut part);
            whole.merge(&part);
        }
        tile.finish(&whole);
    });
}

/// One job for each range of each tile: the same operations.
fn by_range(mut tiles: Vec<Tile<'_>>, twin: Twin) {
    let work = tiles.iter().map(Tile::work).sum();
    let ranges = |(index, tile)| Tile::ranges(tile).map(move |range| (index, range, Part::empty(tile)));
    let mut jobs: Vec<(usize, Range<usize>, Part)> = tiles.iter().enumerate().flat_map(ranges).collect();
    spread(&mut jobs, work, |(index, range, part)| {
        let tile = &tiles[*index];
        twin.attend(tile, range.clone(), &mut Scratch::new(tile), part);
    });
    for jobs in jobs.chunk_by(|(index, ..), (next, ..)| index == next) {
        let tile = &mut tiles[jobs[0].0];
        let mut whole = Part::empty(tile);
        jobs.iter().for_each(|(_, _, part)| whole.merge(part));
        tile.finish(&whole);
    }
}

/// Runs the jobs, on several threads if `work` (in multiply-adds) is worth it.
fn spread<T: Send>(jobs: &mut [T], work: usize, run: impl Fn(&mut T) + Sync) {
    if work < SPREAD_FROM || jobs.len() == 1 {
        jobs.iter_mut().for_each(run);
    } else {
        for_each_chunk(jobs, 1, |_, job| job.iter_mut().for_each(&run));
    }
}

/// The ways that the same operations are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Twin {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Twin {
    /// Those that this machine runs, the fastest last.
    #[cfg(test)]
    fn here() -> Vec<Twin> {
        let mut twins = vec![Twin::Scalar];
        if Twin::best() != Twin::Scalar {
            twins.push(Twin::best());
        }
        twins
    }

    fn best() -> Twin {
        #[cfg(target_arch = "x86_64")]
        if simd::has_avx2() {
            return Twin::Avx2;
        }
        Twin::Scalar
    }

    fn attend(self, tile: &Tile<'_>, tokens: Range<usize>, scratch: &mut Scratch, part: &mut Part) {
        match self {
            Twin::Scalar => scalar::attend::<lanes::Portable>(tile, tokens, scratch, part),
            #[cfg(target_arch = "x86_64")]
            Twin::Avx2 => {
                // SAFETY: `best`, which alone names this twin, has found AVX2 and F16C.
                unsafe { avx2::attend(tile, tokens, scratch, part) }
            }
        }
    }
}

/// Checks everything and returns the query heads per key head.
fn check(
    queries: &[f32],
    heads: usize,
    layer: &KvLayer,
    rows: &[Row<'_>],
    output: &[f32],
) -> Result<usize, KernelError> {
    let shape = layer.shape();
    let group = check_heads(heads, shape)?;
    expect_length("the queries", queries.len(), rows.len() * heads * shape.head_dim)?;
    expect_length("the attention's output", output.len(), queries.len())?;
    for row in rows {
        let blocks = row.position / BLOCK_TOKENS + 1;
        expect_below("block of the position", blocks - 1, row.block_table.len())?;
        for block in &row.block_table[..blocks] {
            expect_below("block", *block as usize, layer.blocks())?;
        }
    }
    Ok(group)
}

/// Checks the heads and their length and returns the query heads per key head.
fn check_heads(heads: usize, shape: KvShape) -> Result<usize, KernelError> {
    if shape.kv_heads == 0 || heads == 0 || !heads.is_multiple_of(shape.kv_heads) {
        let allowed = format!("a multiple of the {} key heads", shape.kv_heads);
        return Err(KernelError::Size {
            what: "the number of heads",
            found: heads,
            allowed,
        });
    }
    let group = heads / shape.kv_heads;
    if group > GROUP_MAX {
        let allowed = format!("at most {GROUP_MAX}");
        return Err(KernelError::Size {
            what: "the query heads per key head",
            found: group,
            allowed,
        });
    }
    if shape.head_dim == 0 || shape.head_dim > HEAD_DIM_MAX || !shape.head_dim.is_multiple_of(LANES) {
        let allowed = format!("a multiple of {} up to {HEAD_DIM_MAX}", LANES);
        return Err(KernelError::Size {
            what: "the head's length",
            found: shape.head_dim,
            allowed,
        });
    }
    Ok(group)
}

#[cfg(test)]
mod tests;
