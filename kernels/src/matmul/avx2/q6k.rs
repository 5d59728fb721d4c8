//! Q6_K.

use std::arch::x86_64::*;

use super::{HALVES, broadcast, load_words, scaled, scales, stored};
use crate::activations::Q8K;
use crate::matmul::tiles::Sums;
use crate::matrix::tile::TileQ6K;

/// As [`super::super::scalar::q6k`].
#[target_feature(enable = "avx2,f16c")]
pub(in super::super) fn q6k<const N: usize>(tiles: &[TileQ6K], rows: [&[Q8K]; N]) -> [Sums; N] {
    let mut sums = [[_mm256_setzero_ps(); 2]; N];
    for (index, tile) in tiles.iter().enumerate() {
        let blocks = rows.map(|row| &row[index]);
        for (half, first) in HALVES.into_iter().enumerate() {
            let products = products(tile, first, blocks);
            let excess = excess(tile, first, blocks);
            let scale = scales(&tile.scale, first);
            for n in 0..N {
                let product = _mm256_sub_epi32(products[n], _mm256_slli_epi32::<5>(excess[n]));
                let scale = _mm256_mul_ps(scale, _mm256_set1_ps(blocks[n].scale));
                sums[n][half] = _mm256_add_ps(sums[n][half], scaled(product, scale));
            }
        }
    }
    sums.map(|sums| stored(sums))
}

/// Of eight rows from `first` on: the sum of group scale * dot with the quants, which are 32 too high.
#[inline]
#[target_feature(enable = "avx2")]
fn products<const N: usize>(tile: &TileQ6K, first: usize, blocks: [&Q8K; N]) -> [__m256i; N] {
    let mut products = [_mm256_setzero_si256(); N];
    for pair in 0..8 {
        let weights = weights(tile, first, pair);
        for (group, weights) in weights.as_chunks::<4>().0.iter().enumerate() {
            let scale = twice(&tile.scales[pair], first, group);
            for (product, block) in products.iter_mut().zip(blocks) {
                let quants = &block.quants[32 * pair + 16 * group..32 * pair + 16 * group + 16];
                let dot = |word: usize| _mm256_maddubs_epi16(weights[word], broadcast(quants, 4 * word));
                let dots = [_mm256_add_epi16(dot(0), dot(1)), _mm256_add_epi16(dot(2), dot(3))];
                for dot in dots {
                    *product = _mm256_add_epi32(*product, _mm256_madd_epi16(dot, scale));
                }
            }
        }
    }
    products
}

/// The quants, 0 to 63, of 32 columns from 32 * `pair` on.
#[inline]
#[target_feature(enable = "avx2")]
fn weights(tile: &TileQ6K, first: usize, pair: usize) -> [__m256i; 8] {
    let (half, k) = (pair / 4, pair % 4);
    let mut weights = [_mm256_setzero_si256(); 8];
    for (word, weight) in weights.iter_mut().enumerate() {
        let low = load_words(&tile.low[half][k % 2][word], first);
        let high = load_words(&tile.high[half][word], first);
        let low = if k < 2 { low } else { _mm256_srli_epi16::<4>(low) };
        let high = match k {
            0 => _mm256_slli_epi16::<4>(high),
            1 => _mm256_slli_epi16::<2>(high),
            2 => high,
            _ => _mm256_srli_epi16::<2>(high),
        };
        let low = _mm256_and_si256(low, _mm256_set1_epi8(15));
        *weight = _mm256_or_si256(low, _mm256_and_si256(high, _mm256_set1_epi8(0x30)));
    }
    weights
}

/// Of eight rows from `first` on: the sum of group scale * activation sum.
#[inline]
#[target_feature(enable = "avx2")]
fn excess<const N: usize>(tile: &TileQ6K, first: usize, blocks: [&Q8K; N]) -> [__m256i; N] {
    let mut products = [_mm256_setzero_si256(); N];
    for (pair, scales) in tile.scales.iter().enumerate() {
        let scales = _mm256_cvtepi8_epi16(load_scales(scales, first));
        for (product, block) in products.iter_mut().zip(blocks) {
            let sums = broadcast_sums(&block.sums, pair);
            *product = _mm256_add_epi32(*product, _mm256_madd_epi16(scales, sums));
        }
    }
    products
}

/// Eight times the sums of two neighbouring groups.
#[inline]
#[target_feature(enable = "avx2")]
fn broadcast_sums(sums: &[i16; 16], pair: usize) -> __m256i {
    let [first, second] = [sums[2 * pair], sums[2 * pair + 1]];
    _mm256_set1_epi32(i32::from(first) & 0xffff | i32::from(second) << 16)
}

/// The first (`group` 0) or second (1) scale of each of eight rows from `first` on, twice in 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn twice(scales: &[[i8; 2]; 16], first: usize, group: usize) -> __m256i {
    let both = _mm256_broadcastsi128_si256(load_scales(scales, first));
    // Into the high bytes; the low ones, of index -1, become 0.
    let firsts = _mm256_setr_epi8(
        -1, 0, -1, 0, -1, 2, -1, 2, -1, 4, -1, 4, -1, 6, -1, 6, -1, 8, -1, 8, -1, 10, -1, 10, -1, 12, -1, 12, -1, 14,
        -1, 14,
    );
    let indices = if group == 0 {
        firsts
    } else {
        _mm256_or_si256(firsts, _mm256_set1_epi16(0x0100))
    };
    _mm256_srai_epi16::<8>(_mm256_shuffle_epi8(both, indices))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_scales(scales: &[[i8; 2]; 16], first: usize) -> __m128i {
    let scales = &scales.as_flattened()[2 * first..2 * first + 16];
    // SAFETY: `scales` has the 16 bytes that are read, as just cut; the load asks for no alignment.
    unsafe { _mm_loadu_si128(scales.as_ptr().cast()) }
}
