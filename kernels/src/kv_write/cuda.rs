//! One layer's keys and values on a card.

use half::f16;

use super::{BLOCK_TOKENS, KV_GROUP, KvFormat, KvShape, LANES};
use crate::KernelError;
use crate::cuda::{Arg, Gpu, GpuBuffer, GpuError};

/// As [`KvLayer`](super::KvLayer), on a card and laid out for it: the elements of one head of one token lie together.
pub struct GpuKvLayer {
    shape: KvShape,
    blocks: usize,
    store: Store,
}

enum Store {
    F16 {
        keys: GpuBuffer<f16>,   // [blocks, kv_heads, 16, head_dim]
        values: GpuBuffer<f16>, // [blocks, kv_heads, 16, head_dim]
    },
    Q8_0 {
        keys: GpuBuffer<i8>,          // [blocks, kv_heads, 16, head_dim]
        key_scales: GpuBuffer<f16>,   // [blocks, kv_heads, 16, groups]
        values: GpuBuffer<i8>,        // [blocks, kv_heads, 16, head_dim]
        value_scales: GpuBuffer<f16>, // [blocks, kv_heads, 16, groups]
    },
}

impl GpuKvLayer {
    /// A pool of `blocks` zeroed blocks.
    ///
    /// # Errors
    /// `Refused` if a head is not a multiple of 16 elements; `NoMemory`; `Driver`.
    pub fn zeroed(gpu: &Gpu, shape: KvShape, format: KvFormat, blocks: usize) -> Result<GpuKvLayer, GpuError> {
        if !shape.head_dim.is_multiple_of(LANES) {
            let (what, found) = ("the head's length", shape.head_dim);
            let allowed = format!("a multiple of {LANES}");
            return Err(KernelError::Size { what, found, allowed }.into());
        }
        let tokens = blocks.saturating_mul(BLOCK_TOKENS * shape.kv_heads);
        let elements = tokens.saturating_mul(shape.head_dim);
        let scales = tokens.saturating_mul(shape.head_dim.div_ceil(KV_GROUP));
        let (keys, values) = ("a layer's keys", "a layer's values");
        let store = match format {
            KvFormat::F16 => Store::F16 {
                keys: gpu.zeroed(keys, elements)?,
                values: gpu.zeroed(values, elements)?,
            },
            KvFormat::Q8_0 => Store::Q8_0 {
                keys: gpu.zeroed(keys, elements)?,
                key_scales: gpu.zeroed(keys, scales)?,
                values: gpu.zeroed(values, elements)?,
                value_scales: gpu.zeroed(values, scales)?,
            },
        };
        Ok(GpuKvLayer { shape, blocks, store })
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
        2 * self.blocks * BLOCK_TOKENS * self.shape.kv_heads * self.format().head_bytes(self.shape.head_dim)
    }

    /// Keys, their scales, values, their scales, as kernels take them; there are no scales in f16.
    pub(crate) fn args(&self) -> [Arg; 4] {
        match &self.store {
            Store::F16 { keys, values } => [keys.arg(), Arg::NULL, values.arg(), Arg::NULL],
            Store::Q8_0 {
                keys,
                key_scales,
                values,
                value_scales,
            } => [keys.arg(), key_scales.arg(), values.arg(), value_scales.arg()],
        }
    }
}
