//! Q8_0. The weights are signed: 128 more is unsigned, and 128 times the activations' sum too much.

use std::arch::x86_64::*;

use super::{broadcast, load_words, scaled, scales, stored};
use crate::activations::Q8_0;
use crate::matmul::ahead::prefetch;
use crate::matmul::tiles::Sums;
use crate::matrix::tile::TileQ8_0;

/// As [`super::super::scalar::q8_0`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(in super::super) fn q8_0<const N: usize>(tiles: &[TileQ8_0], rows: [&[Q8_0]; N]) -> [Sums; N] {
    let mut sums = [_mm512_setzero_ps(); N];
    for (index, tile) in tiles.iter().enumerate() {
        prefetch(tile);
        let mut weights = [_mm512_setzero_si512(); 8];
        for (weight, words) in weights.iter_mut().zip(&tile.quants) {
            *weight = _mm512_xor_si512(load_words(words), _mm512_set1_epi8(-128));
        }
        let scale = scales(&tile.scale);
        for (sums, row) in sums.iter_mut().zip(rows) {
            let block = &row[index];
            let dot = dot(&weights, block);
            let scale = _mm512_mul_ps(scale, _mm512_set1_ps(block.scale));
            *sums = _mm512_add_ps(*sums, scaled(dot, scale));
        }
    }
    sums.map(|sums| stored(sums))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn dot(weights: &[__m512i; 8], block: &Q8_0) -> __m512i {
    let mut dots = [_mm512_setzero_si512(); 2];
    for (word, weights) in weights.iter().enumerate() {
        dots[word % 2] = _mm512_dpbusd_epi32(dots[word % 2], *weights, broadcast(&block.quants, 4 * word));
    }
    let excess = _mm512_set1_epi32(block.sum << 7);
    _mm512_sub_epi32(_mm512_add_epi32(dots[0], dots[1]), excess)
}
