//! The readable truth, and fast enough: a token's keys and values are some hundred numbers a layer.

use super::{BLOCK_TOKENS, bounded_f16};

/// Writes one token to slot `slot` of its block.
///
/// * `keys`, `values`  `[kv_heads, head_dim]`
/// * `key_block`  `[kv_heads, head_dim, 16]`
/// * `value_block`  `[kv_heads, 16, head_dim]`
pub fn write(
    head_dim: usize,
    slot: usize,
    keys: &[f32],
    values: &[f32],
    key_block: &mut [u16],
    value_block: &mut [u16],
) {
    for (place, key) in key_block.chunks_exact_mut(BLOCK_TOKENS).zip(keys) {
        place[slot] = bounded_f16(*key);
    }
    let heads = value_block
        .chunks_exact_mut(head_dim * BLOCK_TOKENS)
        .zip(values.chunks_exact(head_dim));
    for (head, values) in heads {
        for (place, value) in head[slot * head_dim..(slot + 1) * head_dim].iter_mut().zip(values) {
            *place = bounded_f16(*value);
        }
    }
}
