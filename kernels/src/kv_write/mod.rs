//! The keys and values of one layer, in blocks of 16 tokens, and the writing of new ones.

pub mod scalar;

use half::f16;

use crate::error::{KernelError, expect_below, expect_length};
use crate::storage::zeroed;

/// Tokens in one block.
pub const BLOCK_TOKENS: usize = 16;

/// What one token leaves in a layer's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvShape {
    /// Key and value heads.
    pub kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
}

impl KvShape {
    /// Elements of all keys (or all values) of one token.
    pub fn row_elements(self) -> usize {
        self.kv_heads * self.head_dim
    }

    fn block_elements(self) -> usize {
        self.row_elements() * BLOCK_TOKENS
    }
}

/// One layer's cache: a pool of blocks that sequences' tables point into.
pub struct KvLayer {
    shape: KvShape,
    /// `[blocks, kv_heads, head_dim, 16]`: a head's keys lie transposed, so that one query element meets 16 keys at once.
    keys: Vec<u16>,
    /// `[blocks, kv_heads, 16, head_dim]`
    values: Vec<u16>,
}

/// The half-open range of tokens that a sequence has in the cache is its block table's; position p lies in block
/// `table[p / 16]`, slot `p % 16`.
impl KvLayer {
    /// A pool of `blocks` zeroed blocks; the memory is touched when written.
    ///
    /// # Errors
    /// `NoMemory` if the pool cannot be had.
    pub fn zeroed(shape: KvShape, blocks: usize) -> Result<KvLayer, KernelError> {
        let no_memory = KernelError::NoMemory { bytes: usize::MAX };
        let elements = shape.block_elements().checked_mul(blocks).ok_or(no_memory)?;
        Ok(KvLayer {
            shape,
            keys: zeroed(elements)?,
            values: zeroed(elements)?,
        })
    }

    /// What one token leaves.
    pub fn shape(&self) -> KvShape {
        self.shape
    }

    /// Blocks of the pool.
    pub fn blocks(&self) -> usize {
        self.keys.len() / self.shape.block_elements().max(1)
    }

    /// Writes one token's keys and values as f16; beyond its range they are cut to its largest number.
    ///
    /// * `block_table`  the sequence's blocks; `position / 16` is in it
    /// * `keys`, `values`  `[kv_heads, head_dim]`, keys already turned
    ///
    /// # Errors
    /// `Range` if the position is past the table or its block past the pool; `Length` for a row of another shape.
    pub fn write(
        &mut self,
        block_table: &[u32],
        position: usize,
        keys: &[f32],
        values: &[f32],
    ) -> Result<(), KernelError> {
        expect_below("block of the position", position / BLOCK_TOKENS, block_table.len())?;
        let block = block_table[position / BLOCK_TOKENS] as usize;
        expect_below("block", block, self.blocks())?;
        expect_length("the token's keys", keys.len(), self.shape.row_elements())?;
        expect_length("the token's values", values.len(), self.shape.row_elements())?;
        let elements = self.shape.block_elements();
        let range = block * elements..(block + 1) * elements;
        let (key_block, value_block) = (&mut self.keys[range.clone()], &mut self.values[range]);
        scalar::write(
            self.shape.head_dim,
            position % BLOCK_TOKENS,
            keys,
            values,
            key_block,
            value_block,
        );
        Ok(())
    }

    /// The keys `[head_dim, 16]` of one head of one block.
    pub(crate) fn keys(&self, block: usize, kv_head: usize) -> &[u16] {
        let elements = self.shape.head_dim * BLOCK_TOKENS;
        let start = (block * self.shape.kv_heads + kv_head) * elements;
        &self.keys[start..start + elements]
    }

    /// The values `[16, head_dim]` of one head of one block.
    pub(crate) fn values(&self, block: usize, kv_head: usize) -> &[u16] {
        let elements = self.shape.head_dim * BLOCK_TOKENS;
        let start = (block * self.shape.kv_heads + kv_head) * elements;
        &self.values[start..start + elements]
    }
}

/// An f16's bits, finite for every number: infinities and what rounds to them become the largest, NaN stays.
pub(crate) fn bounded_f16(value: f32) -> u16 {
    f16::from_f32(value.clamp(-65504.0, 65504.0)).to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::finite_f16;

    #[test]
    fn a_token_is_found_where_its_table_says() {
        let shape = KvShape {
            kv_heads: 2,
            head_dim: 3,
        };
        let mut layer = KvLayer::zeroed(shape, 4).unwrap();
        let (keys, values) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [-1.0, -2.0, -3.0, -4.0, -5.0, 1e9]);
        layer.write(&[1, 3], 18, &keys, &values).unwrap();
        for head in 0..2 {
            for element in 0..3 {
                let key = finite_f16(layer.keys(3, head)[element * BLOCK_TOKENS + 2]);
                let value = finite_f16(layer.values(3, head)[2 * 3 + element]);
                assert_eq!(key, keys[head * 3 + element]);
                assert_eq!(value, values[head * 3 + element].clamp(-65504.0, 65504.0));
            }
        }
        assert_eq!(layer.keys.iter().filter(|bits| **bits != 0).count(), 6);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut layer = KvLayer::zeroed(
            KvShape {
                kv_heads: 1,
                head_dim: 2,
            },
            2,
        )
        .unwrap();
        assert!(layer.write(&[0], 16, &[0.0; 2], &[0.0; 2]).is_err());
        assert!(layer.write(&[2], 0, &[0.0; 2], &[0.0; 2]).is_err());
        assert!(layer.write(&[1], 0, &[0.0; 3], &[0.0; 2]).is_err());
        assert!(layer.write(&[1], 15, &[0.0; 2], &[0.0; 2]).is_ok());
        assert!(
            KvLayer::zeroed(
                KvShape {
                    kv_heads: 1 << 20,
                    head_dim: 1 << 20
                },
                1 << 20
            )
            .is_err()
        );
    }
}
