//! Q4_K.

use std::arch::x86_64::*;

use super::{broadcast, broadcast_sums, load_pairs, load_words, scaled, scales, stored};
use crate::activations::Q8K;
use crate::matmul::ahead::prefetch;
use crate::matmul::tiles::Sums;
use crate::matrix::tile::{TILE_ROWS, TileQ4K};

/// As [`super::super::scalar::q4k`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(in super::super) fn q4k<const N: usize>(tiles: &[TileQ4K], rows: [&[Q8K]; N]) -> [Sums; N] {
    let mut sums = [_mm512_setzero_ps(); N];
    for (index, tile) in tiles.iter().enumerate() {
        let blocks = rows.map(|row| &row[index]);
        let products = products(tile, blocks);
        let minimums = minimums(tile, blocks);
        let (scale, minimum) = (scales(&tile.scale), scales(&tile.minimum));
        for n in 0..N {
            let sum = _mm512_sub_ps(scaled(products[n], scale), scaled(minimums[n], minimum));
            sums[n] = _mm512_add_ps(sums[n], _mm512_mul_ps(sum, _mm512_set1_ps(blocks[n].scale)));
        }
    }
    sums.map(|sums| stored(sums))
}

/// The sum of group scale * dot.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn products<const N: usize>(tile: &TileQ4K, blocks: [&Q8K; N]) -> [__m512i; N] {
    let mut products = [_mm512_setzero_si512(); N];
    for group in 0..8 {
        if group % 2 == 0 {
            prefetch(&tile.quants[group / 2]);
        }
        let mut weights = [_mm512_setzero_si512(); 8];
        for (weight, words) in weights.iter_mut().zip(&tile.quants[group / 2]) {
            let packed = load_words(words);
            let shifted = if group % 2 == 0 {
                packed
            } else {
                _mm512_srli_epi16::<4>(packed)
            };
            *weight = _mm512_and_si512(shifted, _mm512_set1_epi8(15));
        }
        let scale = widened(&tile.scales[group]);
        for (product, block) in products.iter_mut().zip(blocks) {
            let quants = &block.quants[32 * group..32 * group + 32];
            for (half, weights) in weights.as_chunks::<4>().0.iter().enumerate() {
                let mut dot = _mm512_setzero_si512();
                for (word, weights) in weights.iter().enumerate() {
                    dot = _mm512_dpbusd_epi32(dot, *weights, broadcast(quants, 16 * half + 4 * word));
                }
                // 16 products are at most 16 * 15 * 127 < 2^15: the low 16 bits of the lane are the dot, and its high ones
                // meet the zeros of the scale. This is a multiplication and an addition in one.
                *product = _mm512_dpwssd_epi32(*product, dot, scale);
            }
        }
    }
    products
}

/// The sum of group minimum * activation sum.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn minimums<const N: usize>(tile: &TileQ4K, blocks: [&Q8K; N]) -> [__m512i; N] {
    let mut products = [_mm512_setzero_si512(); N];
    for (pair, minimums) in tile.minimums.iter().enumerate() {
        prefetch(minimums);
        let minimums = _mm512_cvtepu8_epi16(load_pairs(minimums));
        for (product, block) in products.iter_mut().zip(blocks) {
            let sums = broadcast_sums(&block.sums_of_32, pair);
            *product = _mm512_dpwssd_epi32(*product, minimums, sums);
        }
    }
    products
}

#[inline]
#[target_feature(enable = "avx512f")]
fn widened(scales: &[u8; TILE_ROWS]) -> __m512i {
    // SAFETY: `scales` has the 16 bytes that are read; the load asks for no alignment.
    let scales = unsafe { _mm_loadu_si128(scales.as_ptr().cast()) };
    _mm512_cvtepu8_epi32(scales)
}
