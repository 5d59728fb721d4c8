//! Q6_K.

use std::arch::x86_64::*;

use super::{broadcast, broadcast_sums, load_pairs, load_words, scaled, scales, stored};
use crate::activations::Q8K;
use crate::matmul::tiles::Sums;
use crate::matrix::tile::TileQ6K;

/// As [`super::super::scalar::q6k`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(in super::super) fn q6k<const N: usize>(tiles: &[TileQ6K], rows: [&[Q8K]; N]) -> [Sums; N] {
    let mut sums = [_mm512_setzero_ps(); N];
    for (index, tile) in tiles.iter().enumerate() {
        let blocks = rows.map(|row| &row[index]);
        let products = products(tile, blocks);
        let scale = scales(&tile.scale);
        for n in 0..N {
            let scale = _mm512_mul_ps(scale, _mm512_set1_ps(blocks[n].scale));
            sums[n] = _mm512_add_ps(sums[n], scaled(products[n], scale));
        }
    }
    sums.map(|sums| stored(sums))
}

/// The sum of group scale * dot with the quants less 32.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn products<const N: usize>(tile: &TileQ6K, blocks: [&Q8K; N]) -> [__m512i; N] {
    let mut products = [_mm512_setzero_si512(); N];
    let mut excess = [_mm512_setzero_si512(); N];
    for pair in 0..8 {
        let weights = weights(tile, pair);
        let scales = _mm512_cvtepi8_epi16(load_pairs(&tile.scales[pair]));
        // The first scale of a row is the low half of its lane, the second the high half.
        let of_group = [
            _mm512_srai_epi32::<16>(_mm512_slli_epi32::<16>(scales)),
            _mm512_srai_epi32::<16>(scales),
        ];
        for n in 0..N {
            for (group, scale) in of_group.into_iter().enumerate() {
                let quants = &blocks[n].quants[32 * pair + 16 * group..32 * pair + 16 * group + 16];
                let mut dot = _mm512_setzero_si512();
                for word in 0..4 {
                    dot = _mm512_dpbusd_epi32(dot, weights[4 * group + word], broadcast(quants, 4 * word));
                }
                products[n] = _mm512_add_epi32(products[n], _mm512_mullo_epi32(dot, scale));
            }
            let sums = broadcast_sums([blocks[n].sums[2 * pair], blocks[n].sums[2 * pair + 1]]);
            excess[n] = _mm512_dpwssd_epi32(excess[n], scales, sums);
        }
    }
    for n in 0..N {
        products[n] = _mm512_sub_epi32(products[n], _mm512_slli_epi32::<5>(excess[n]));
    }
    products
}

/// The quants, 0 to 63, of 32 columns from 32 * `pair` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn weights(tile: &TileQ6K, pair: usize) -> [__m512i; 8] {
    let (half, k) = (pair / 4, pair % 4);
    let mut weights = [_mm512_setzero_si512(); 8];
    for (word, weight) in weights.iter_mut().enumerate() {
        let low = load_words(&tile.low[half][k % 2][word]);
        let high = load_words(&tile.high[half][word]);
        let low = if k < 2 { low } else { _mm512_srli_epi16::<4>(low) };
        let high = match k {
            0 => _mm512_slli_epi16::<4>(high),
            1 => _mm512_slli_epi16::<2>(high),
            2 => high,
            _ => _mm512_srli_epi16::<2>(high),
        };
        let low = _mm512_and_si512(low, _mm512_set1_epi8(15));
        *weight = _mm512_or_si512(low, _mm512_and_si512(high, _mm512_set1_epi8(0x30)));
    }
    weights
}
