//! Q4_K.

use std::arch::x86_64::*;

use super::{HALVES, broadcast, broadcast_sums, load_half, load_words, scaled, scales, stored};
use crate::activations::Q8K;
use crate::matmul::ahead::prefetch;
use crate::matmul::tiles::Sums;
use crate::matrix::tile::TileQ4K;

/// As [`super::super::scalar::q4k`].
#[target_feature(enable = "avx2,f16c")]
pub(in super::super) fn q4k<const N: usize>(tiles: &[TileQ4K], rows: [&[Q8K]; N]) -> [Sums; N] {
    let mut sums = [[_mm256_setzero_ps(); 2]; N];
    for (index, tile) in tiles.iter().enumerate() {
        let blocks = rows.map(|row| &row[index]);
        // Few rows leave registers for the sums of both halves of the tile, which then share the broadcasts.
        let products = if N <= 2 {
            products_of_few(tile, blocks)
        } else {
            let [first, second] = HALVES.map(|half| products(tile, half, blocks));
            std::array::from_fn(|n| [first[n], second[n]])
        };
        let minimums = minimums(tile, blocks);
        for (half, first) in HALVES.into_iter().enumerate() {
            let (scale, minimum) = (scales(&tile.scale, first), scales(&tile.minimum, first));
            for n in 0..N {
                let sum = _mm256_sub_ps(scaled(products[n][half], scale), scaled(minimums[n][half], minimum));
                let sum = _mm256_mul_ps(sum, _mm256_set1_ps(blocks[n].scale));
                sums[n][half] = _mm256_add_ps(sums[n][half], sum);
            }
        }
    }
    sums.map(|sums| stored(sums))
}

/// Of eight rows from `first` on: the sum of group scale * dot. A group's weights stay in registers.
#[inline]
#[target_feature(enable = "avx2")]
fn products<const N: usize>(tile: &TileQ4K, first: usize, blocks: [&Q8K; N]) -> [__m256i; N] {
    let mut products = [_mm256_setzero_si256(); N];
    for group in 0..8 {
        let words = &tile.quants[group / 2];
        if first == 0 && group % 2 == 0 {
            prefetch(words);
        }
        let mut weights = [_mm256_setzero_si256(); 8];
        for (weight, words) in weights.iter_mut().zip(words) {
            let packed = load_words(words, first);
            let shifted = if group % 2 == 0 {
                packed
            } else {
                _mm256_srli_epi16::<4>(packed)
            };
            *weight = _mm256_and_si256(shifted, _mm256_set1_epi8(15));
        }
        let scale = twice(&tile.scales[group], first);
        for (product, block) in products.iter_mut().zip(blocks) {
            let quants = &block.quants[32 * group..32 * group + 32];
            let mut dot = _mm256_maddubs_epi16(weights[0], broadcast(quants, 0));
            for (word, weights) in weights.into_iter().enumerate().skip(1) {
                dot = _mm256_add_epi16(dot, _mm256_maddubs_epi16(weights, broadcast(quants, 4 * word)));
            }
            *product = _mm256_add_epi32(*product, _mm256_madd_epi16(dot, scale));
        }
    }
    products
}

/// Of both halves: the sum of group scale * dot. The dots of two groups stay in registers.
#[inline]
#[target_feature(enable = "avx2")]
fn products_of_few<const N: usize>(tile: &TileQ4K, blocks: [&Q8K; N]) -> [[__m256i; 2]; N] {
    let mask = _mm256_set1_epi8(15);
    let mut products = [[_mm256_setzero_si256(); 2]; N];
    for (chunk, words) in tile.quants.iter().enumerate() {
        let mut dots = [[[_mm256_setzero_si256(); 2]; N]; 2];
        for (word, words) in words.iter().enumerate() {
            prefetch(words);
            let packed = [load_words(words, HALVES[0]), load_words(words, HALVES[1])];
            let low = packed.map(|packed| _mm256_and_si256(packed, mask));
            let high = packed.map(|packed| _mm256_and_si256(_mm256_srli_epi16::<4>(packed), mask));
            for (group, weights) in [low, high].into_iter().enumerate() {
                for n in 0..N {
                    let activations = broadcast(&blocks[n].quants, 64 * chunk + 32 * group + 4 * word);
                    for half in 0..2 {
                        let product = _mm256_maddubs_epi16(weights[half], activations);
                        dots[group][n][half] = _mm256_add_epi16(dots[group][n][half], product);
                    }
                }
            }
        }
        for (group, dots) in dots.iter().enumerate() {
            for (half, first) in HALVES.into_iter().enumerate() {
                let scale = twice(&tile.scales[2 * chunk + group], first);
                for n in 0..N {
                    let product = _mm256_madd_epi16(dots[n][half], scale);
                    products[n][half] = _mm256_add_epi32(products[n][half], product);
                }
            }
        }
    }
    products
}

/// Of both halves: the sum of group minimum * activation sum.
#[inline]
#[target_feature(enable = "avx2")]
fn minimums<const N: usize>(tile: &TileQ4K, blocks: [&Q8K; N]) -> [[__m256i; 2]; N] {
    let mut products = [[_mm256_setzero_si256(); 2]; N];
    for (pair, minimums) in tile.minimums.iter().enumerate() {
        prefetch(minimums);
        let minimums = HALVES.map(|first| _mm256_cvtepu8_epi16(load_half(&minimums.as_flattened()[2 * first..])));
        for (products, block) in products.iter_mut().zip(blocks) {
            let sums = broadcast_sums(&block.sums_of_32, pair);
            for (product, minimums) in products.iter_mut().zip(minimums) {
                *product = _mm256_add_epi32(*product, _mm256_madd_epi16(minimums, sums));
            }
        }
    }
    products
}

/// Each of eight scales from `first` on, twice in 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn twice(scales: &[u8; 16], first: usize) -> __m256i {
    let both = _mm256_broadcastsi128_si256(load_half(scales));
    let low = _mm256_setr_epi8(
        0, -1, 0, -1, 1, -1, 1, -1, 2, -1, 2, -1, 3, -1, 3, -1, 4, -1, 4, -1, 5, -1, 5, -1, 6, -1, 6, -1, 7, -1, 7, -1,
    );
    // A negative index gives 0, and stays negative.
    let indices = if first == 0 {
        low
    } else {
        _mm256_or_si256(low, _mm256_set1_epi16(8))
    };
    _mm256_shuffle_epi8(both, indices)
}
