//! Q8_0. The weights are signed: `vpmaddubsw` takes their magnitudes, and the activations their signs.

use std::arch::x86_64::*;

use super::{HALVES, broadcast, load_words, scaled, scales, stored};
use crate::activations::Q8_0;
use crate::matmul::ahead::prefetch;
use crate::matmul::tiles::Sums;
use crate::matrix::tile::TileQ8_0;

/// As [`super::super::scalar::q8_0`].
#[target_feature(enable = "avx2,f16c")]
pub(in super::super) fn q8_0<const N: usize>(tiles: &[TileQ8_0], rows: [&[Q8_0]; N]) -> [Sums; N] {
    let mut sums = [[_mm256_setzero_ps(); 2]; N];
    for (index, tile) in tiles.iter().enumerate() {
        let blocks = rows.map(|row| &row[index]);
        let dots = dots(tile, blocks);
        for (half, first) in HALVES.into_iter().enumerate() {
            let scale = scales(&tile.scale, first);
            for n in 0..N {
                let of_block = _mm256_set1_ps(blocks[n].scale);
                sums[n][half] = _mm256_add_ps(sums[n][half], scaled(dots[n][half], _mm256_mul_ps(scale, of_block)));
            }
        }
    }
    sums.map(|sums| stored(sums))
}

#[inline]
#[target_feature(enable = "avx2")]
fn dots<const N: usize>(tile: &TileQ8_0, blocks: [&Q8_0; N]) -> [[__m256i; 2]; N] {
    let mut dots = [[_mm256_setzero_si256(); 2]; N];
    for (word, words) in tile.quants.iter().enumerate() {
        prefetch(words);
        for (half, first) in HALVES.into_iter().enumerate() {
            let weights = load_words(words, first);
            let magnitudes = _mm256_abs_epi8(weights); // 128 stands for itself, unsigned.
            for n in 0..N {
                let activations = _mm256_sign_epi8(broadcast(&blocks[n].quants, 4 * word), weights);
                let pairs = _mm256_maddubs_epi16(magnitudes, activations); // at most 2 * 128 * 127 < 2^15
                dots[n][half] = _mm256_add_epi32(dots[n][half], _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
            }
        }
    }
    dots
}
