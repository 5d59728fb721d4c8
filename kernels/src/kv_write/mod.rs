//! The keys and values of one layer, in blocks of 16 tokens, and the writing of new ones.

#[cfg(any(feature = "cuda", feature = "cuda-emulator"))]
pub mod cuda;
mod format;
pub mod scalar;

pub use format::{KV_GROUP, KvFormat};

use std::ops::Range;

use crate::error::{KernelError, expect_below, expect_length};
use crate::storage::zeroed;

/// Tokens in one block.
pub const BLOCK_TOKENS: usize = 16;

/// A head's length is a multiple of this; so many elements of a token's value lie together.
pub(crate) const LANES: usize = 16;

/// What one token leaves in a layer's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvShape {
    /// Key and value heads.
    pub kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
}

impl KvShape {
    /// Passes if a head is whole lanes.
    fn check(self) -> Result<(), KernelError> {
        if self.head_dim.is_multiple_of(LANES) {
            return Ok(());
        }
        let (what, found) = ("the head's length", self.head_dim);
        let allowed = format!("a multiple of {LANES}");
        Err(KernelError::Size { what, found, allowed })
    }

    /// Elements of all keys (or all values) of one token.
    pub fn row_elements(self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Groups of [`KV_GROUP`] elements in a head.
    fn groups(self) -> usize {
        self.head_dim.div_ceil(KV_GROUP)
    }

    fn block_elements(self) -> usize {
        self.row_elements() * BLOCK_TOKENS
    }
}

/// One layer's cache: a pool of blocks that sequences' tables point into.
pub struct KvLayer {
    shape: KvShape,
    blocks: usize,
    store: Store,
}

/// A head's keys lie transposed in their block, so that one query element meets 16 keys at once. Values lie by 16 elements
/// of each token, so that who adds up 16 elements of the output reads its share of a block from end to end.
enum Store {
    F16 {
        keys: Vec<u16>,   // [blocks, kv_heads, head_dim, 16]
        values: Vec<u16>, // [blocks, kv_heads, head_dim / 16, 16 tokens, 16]
    },
    Q8_0 {
        keys: Vec<i8>,          // [blocks, kv_heads, head_dim, 16]
        key_scales: Vec<u16>,   // [blocks, kv_heads, groups, 16], f16
        values: Vec<i8>,        // [blocks, kv_heads, head_dim / 16, 16 tokens, 16]
        value_scales: Vec<u16>, // [blocks, kv_heads, groups, 16], f16
    },
}

/// The keys `[head_dim, 16 tokens]` or the values `[head_dim / 16, 16 tokens, 16]` of one head of one block, as stored.
#[derive(Clone, Copy)]
pub(crate) enum HeadBlock<'a> {
    F16(&'a [u16]),
    Q8_0 {
        quants: &'a [i8],
        scales: &'a [u16], // [groups, 16 tokens], f16
    },
}

/// The half-open range of tokens that a sequence has in the cache is its block table's; position p lies in block
/// `table[p / 16]`, slot `p % 16`.
impl KvLayer {
    /// A pool of `blocks` zeroed blocks; the memory is touched when written.
    ///
    /// # Errors
    /// `Size` if a head is not a multiple of 16 elements; `NoMemory` if the pool cannot be had.
    pub fn zeroed(shape: KvShape, format: KvFormat, blocks: usize) -> Result<KvLayer, KernelError> {
        shape.check()?;
        let no_memory = KernelError::NoMemory { bytes: usize::MAX };
        let elements = shape.block_elements().checked_mul(blocks).ok_or(no_memory)?;
        let scales = shape.kv_heads * shape.groups() * BLOCK_TOKENS * blocks; // No more than the elements.
        let store = match format {
            KvFormat::F16 => Store::F16 {
                keys: zeroed(elements)?,
                values: zeroed(elements)?,
            },
            KvFormat::Q8_0 => Store::Q8_0 {
                keys: zeroed(elements)?,
                key_scales: zeroed(scales)?,
                values: zeroed(elements)?,
                value_scales: zeroed(scales)?,
            },
        };
        Ok(KvLayer { shape, blocks, store })
    }

    /// What one token leaves.
    pub fn shape(&self) -> KvShape {
        self.shape
    }

    /// How it is stored.
    pub fn format(&self) -> KvFormat {
        match self.store {
            Store::F16 { .. } => KvFormat::F16,
            Store::Q8_0 { .. } => KvFormat::Q8_0,
        }
    }

    /// Blocks of the pool.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Bytes of the pool: [`KvFormat::head_bytes`] for the keys and for the values of every head of every slot.
    pub fn bytes(&self) -> usize {
        match &self.store {
            Store::F16 { keys, values } => size_of_val(&**keys) + size_of_val(&**values),
            Store::Q8_0 {
                keys,
                key_scales,
                values,
                value_scales,
            } => keys.len() + values.len() + size_of_val(&**key_scales) + size_of_val(&**value_scales),
        }
    }

    /// Writes one token's keys and values. Beyond f16's range they are cut to its largest number, which also stands for
    /// what is no number.
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
        let head_dim = self.shape.head_dim.max(1);
        let heads = keys.chunks_exact(head_dim).zip(values.chunks_exact(head_dim));
        for (kv_head, (keys, values)) in heads.enumerate() {
            self.write_head(block, kv_head, position % BLOCK_TOKENS, keys, values);
        }
        Ok(())
    }

    fn write_head(&mut self, block: usize, kv_head: usize, slot: usize, keys: &[f32], values: &[f32]) {
        let (elements, groups) = (self.elements_of(block, kv_head), self.scales_of(block, kv_head));
        let key_place = |element: usize| element * BLOCK_TOKENS + slot;
        let value_place = value_place(slot);
        match &mut self.store {
            Store::F16 {
                keys: stored_keys,
                values: stored_values,
            } => {
                scalar::write_f16(keys, &mut stored_keys[elements.clone()], key_place);
                scalar::write_f16(values, &mut stored_values[elements], value_place);
            }
            Store::Q8_0 {
                keys: key_quants,
                key_scales,
                values: value_quants,
                value_scales,
            } => {
                let (quants, scales) = (&mut key_quants[elements.clone()], &mut key_scales[groups.clone()]);
                scalar::write_q8_0(keys, slot, quants, scales, key_place);
                let (quants, scales) = (&mut value_quants[elements], &mut value_scales[groups]);
                scalar::write_q8_0(values, slot, quants, scales, value_place);
            }
        }
    }

    /// The keys of one head of one block.
    pub(crate) fn keys(&self, block: usize, kv_head: usize) -> HeadBlock<'_> {
        match &self.store {
            Store::F16 { keys, .. } => HeadBlock::F16(&keys[self.elements_of(block, kv_head)]),
            Store::Q8_0 { keys, key_scales, .. } => HeadBlock::Q8_0 {
                quants: &keys[self.elements_of(block, kv_head)],
                scales: &key_scales[self.scales_of(block, kv_head)],
            },
        }
    }

    /// The values of one head of one block.
    pub(crate) fn values(&self, block: usize, kv_head: usize) -> HeadBlock<'_> {
        match &self.store {
            Store::F16 { values, .. } => HeadBlock::F16(&values[self.elements_of(block, kv_head)]),
            Store::Q8_0 {
                values, value_scales, ..
            } => HeadBlock::Q8_0 {
                quants: &values[self.elements_of(block, kv_head)],
                scales: &value_scales[self.scales_of(block, kv_head)],
            },
        }
    }

    /// Where the elements of one head of one block lie.
    fn elements_of(&self, block: usize, kv_head: usize) -> Range<usize> {
        let count = self.shape.head_dim * BLOCK_TOKENS;
        let start = (block * self.shape.kv_heads + kv_head) * count;
        start..start + count
    }

    /// Where their scales lie.
    fn scales_of(&self, block: usize, kv_head: usize) -> Range<usize> {
        let count = self.shape.groups() * BLOCK_TOKENS;
        let start = (block * self.shape.kv_heads + kv_head) * count;
        start..start + count
    }
}

/// Where a block holds the elements of the value in `slot`.
fn value_place(slot: usize) -> impl Fn(usize) -> usize {
    move |element| (element / LANES * BLOCK_TOKENS + slot) * LANES + element % LANES
}

#[cfg(test)]
mod tests;
