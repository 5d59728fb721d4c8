//! Sixteen numbers at a time: how a twin reads them from the cache, and how it adds them up.

use crate::BLOCK_TOKENS;
use crate::kv_write::{HeadBlock, KV_GROUP, LANES};
use crate::math::finite_f16;

/// The operations that a twin has its own instructions for; whichever way, they give the same bits.
pub(super) trait Lanes {
    /// Reads 16 finite f16: exact.
    fn halves(bits: &[u16; LANES]) -> [f32; LANES];

    /// Reads 16 integers, by a scale each: 7 bits by 11, which f32 holds exactly.
    fn quants(quants: &[i8; LANES], scales: &[f32; LANES]) -> [f32; LANES];

    /// `sums += factor * numbers`, rounded after the multiplication and after the addition.
    fn add_scaled(sums: &mut [f32; LANES], factor: f32, numbers: &[f32; LANES]);
}

/// By operations that every machine has.
pub(super) struct Portable;

impl Lanes for Portable {
    #[inline(always)]
    fn halves(bits: &[u16; LANES]) -> [f32; LANES] {
        bits.map(finite_f16)
    }

    #[inline(always)]
    fn quants(quants: &[i8; LANES], scales: &[f32; LANES]) -> [f32; LANES] {
        std::array::from_fn(|lane| f32::from(quants[lane]) * scales[lane])
    }

    #[inline(always)]
    fn add_scaled(sums: &mut [f32; LANES], factor: f32, numbers: &[f32; LANES]) {
        for (sum, number) in sums.iter_mut().zip(numbers) {
            *sum += factor * number;
        }
    }
}

/// Reads the keys of a block.
#[inline(always)]
pub(super) fn keys<L: Lanes>(block: HeadBlock<'_>, keys: &mut [[f32; BLOCK_TOKENS]]) {
    match block {
        HeadBlock::F16(bits) => {
            for (keys, bits) in keys.iter_mut().zip(bits.as_chunks().0) {
                *keys = L::halves(bits);
            }
        }
        HeadBlock::Q8_0 { quants, scales } => {
            let groups = keys.chunks_mut(KV_GROUP).zip(quants.chunks(KV_GROUP * BLOCK_TOKENS));
            for ((keys, quants), scales) in groups.zip(scales.as_chunks().0) {
                let scales = L::halves(scales); // [16], one for each token
                for (keys, quants) in keys.iter_mut().zip(quants.as_chunks().0) {
                    *keys = L::quants(quants, &scales);
                }
            }
        }
    }
}

/// Reads the elements `first..first + 16` of the values of a block.
#[inline(always)]
pub(super) fn values<L: Lanes>(block: HeadBlock<'_>, first: usize, values: &mut [[f32; LANES]; BLOCK_TOKENS]) {
    let range = first * BLOCK_TOKENS..(first + LANES) * BLOCK_TOKENS;
    match block {
        HeadBlock::F16(bits) => {
            for (values, bits) in values.iter_mut().zip(bits[range].as_chunks().0) {
                *values = L::halves(bits);
            }
        }
        HeadBlock::Q8_0 { quants, scales } => {
            let scales = L::halves(&scales.as_chunks().0[first / KV_GROUP]); // [16], one for each token
            let tokens = values.iter_mut().zip(quants[range].as_chunks().0);
            for ((values, quants), scale) in tokens.zip(scales) {
                *values = L::quants(quants, &[scale; LANES]);
            }
        }
    }
}
