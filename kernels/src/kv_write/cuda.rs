//! One layer's keys and values on a card.

use half::f16;

use super::{BLOCK_TOKENS, KV_GROUP, KvFormat, KvShape};
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
        shape.check()?;
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

    /// Bytes of the pool.
    pub fn bytes(&self) -> usize {
        GpuKvLayer::card_bytes(self.shape, self.format(), self.blocks)
    }

    /// Bytes that such a pool takes on a card: [`KvFormat::head_bytes`] for the keys and for the values of every head of
    /// every slot.
    pub fn card_bytes(shape: KvShape, format: KvFormat, blocks: usize) -> usize {
        2 * blocks * BLOCK_TOKENS * shape.kv_heads * format.head_bytes(shape.head_dim)
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

#[cfg(test)]
impl GpuKvLayer {
    /// The numbers that the keys and the values stand for, `[blocks, kv_heads, 16, head_dim]`.
    pub(crate) fn downloaded(&self, gpu: &Gpu) -> Result<(Vec<f32>, Vec<f32>), GpuError> {
        let halves = |buffer| -> Result<Vec<f32>, GpuError> {
            Ok(gpu.downloaded::<f16>(buffer)?.into_iter().map(f16::to_f32).collect())
        };
        let (head_dim, groups) = (self.shape.head_dim, self.shape.head_dim.div_ceil(KV_GROUP));
        let scaled = |quants, scales| -> Result<Vec<f32>, GpuError> {
            let (quants, scales) = (gpu.downloaded::<i8>(quants)?, halves(scales)?);
            let scale = |index| scales[index / head_dim * groups + index % head_dim / KV_GROUP];
            let values = quants.iter().enumerate();
            Ok(values.map(|(index, quant)| f32::from(*quant) * scale(index)).collect())
        };
        match &self.store {
            Store::F16 { keys, values } => Ok((halves(keys)?, halves(values)?)),
            Store::Q8_0 {
                keys,
                key_scales,
                values,
                value_scales,
            } => Ok((scaled(keys, key_scales)?, scaled(values, value_scales)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::tests::gpu;

    #[test]
    fn a_pool_takes_the_room_that_it_says() {
        for (head_dim, format) in [(16, KvFormat::F16), (48, KvFormat::Q8_0), (128, KvFormat::Q8_0)] {
            let shape = KvShape { kv_heads: 3, head_dim };
            let layer = GpuKvLayer::zeroed(&gpu(), shape, format, 5).unwrap();
            let bytes = match &layer.store {
                Store::F16 { keys, values } => keys.bytes() + values.bytes(),
                Store::Q8_0 {
                    keys,
                    key_scales,
                    values,
                    value_scales,
                } => keys.bytes() + key_scales.bytes() + values.bytes() + value_scales.bytes(),
            };
            assert_eq!(layer.bytes(), bytes);
        }
    }

    #[test]
    fn a_head_that_is_not_a_multiple_of_16_is_refused() {
        let shape = KvShape {
            kv_heads: 1,
            head_dim: 24,
        };
        assert!(GpuKvLayer::zeroed(&gpu(), shape, KvFormat::F16, 1).is_err());
    }
}
