//! Causal attention of new tokens over a paged cache: decode and chunked prefill alike.
//!
//! Each row goes through its sequence's blocks from the first to its own position, 16 keys at a time, with the running
//! maximum and sum of an online softmax: the order is fixed by the positions alone, so that neither the chunk a row came
//! in nor the rows beside it change a bit of it.

#[cfg(target_arch = "x86_64")]
mod avx2;
pub mod scalar;

use crate::error::{KernelError, expect_below, expect_length};
use crate::parallel;
#[cfg(target_arch = "x86_64")]
use crate::simd;
use crate::{BLOCK_TOKENS, KvLayer};

/// The most elements of a head.
pub const HEAD_DIM_MAX: usize = 256;
/// The most query heads that share a key head.
pub const GROUP_MAX: usize = 64;
/// A head's length is a multiple of this.
pub const HEAD_DIM_STEP: usize = scalar::CHUNK;

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
/// Softmax of `query . key / sqrt(head_dim)`; keys and values are f16, everything else f32.
///
/// # Errors
/// `Size` if the heads do not divide or are too large; `Range` if a position is past its table or the pool; `Length`.
///
/// Source: Milakov and Gimelshein 2018, algorithm 3. Twin: [`scalar::attend`], equal bit for bit.
pub fn attention(
    queries: &[f32],
    heads: usize,
    layer: &KvLayer,
    rows: &[Row<'_>],
    output: &mut [f32],
) -> Result<(), KernelError> {
    let group = check(queries, heads, layer, rows, output)?;
    let (kv_heads, item) = (layer.shape().kv_heads, group * layer.shape().head_dim);
    let attend = |index: usize, output: &mut [f32]| {
        let queries = &queries[index * item..(index + 1) * item];
        attend(queries, layer, index % kv_heads, rows[index / kv_heads], output);
    };
    let keys: usize = rows.iter().map(|row| row.position + 1).sum();
    parallel::for_each_row(output, item, 2 * keys * heads * layer.shape().head_dim, attend);
    Ok(())
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
    if shape.head_dim == 0 || shape.head_dim > HEAD_DIM_MAX || !shape.head_dim.is_multiple_of(scalar::CHUNK) {
        let allowed = format!("a multiple of {} up to {HEAD_DIM_MAX}", scalar::CHUNK);
        return Err(KernelError::Size {
            what: "the head's length",
            found: shape.head_dim,
            allowed,
        });
    }
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

/// One row's query heads of one key head.
fn attend(queries: &[f32], layer: &KvLayer, kv_head: usize, row: Row<'_>, output: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if simd::has_avx2() {
        // SAFETY: AVX2 was just found.
        return unsafe { avx2::attend(queries, layer, kv_head, row, output) };
    }
    scalar::attend(queries, layer, kv_head, row, output);
}

#[cfg(test)]
mod tests;
