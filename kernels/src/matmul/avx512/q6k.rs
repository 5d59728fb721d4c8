//! Q6_K.

use std::arch::x86_64::*;

use super::{broadcast, broadcast_sums, load_pairs, load_words, scaled, scales, stored};
use crate::activations::Q8K;
use crate::matmul::ahead::prefetch;
use crate::matmul::tiles::Sums;
use crate::matrix::tile::{TileQ6K, Words};

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
    for (pair, scales) in tile.scales.iter().enumerate() {
        prefetch(scales);
        let scales = _mm512_cvtepi8_epi16(load_pairs(scales));
        // The first scale of a row is the low half of its lane, the second the high half.
        let of_group = [
            _mm512_srai_epi32::<16>(_mm512_slli_epi32::<16>(scales)),
            _mm512_srai_epi32::<16>(scales),
        ];
        for (group, scale) in of_group.into_iter().enumerate() {
            let words = &tile.quants[2 * pair + group];
            prefetch(words);
            let weights = unpacked(words);
            for n in 0..N {
                let quants = &blocks[n].quants[32 * pair + 16 * group..32 * pair + 16 * group + 16];
                let mut dot = _mm512_setzero_si512();
                for (word, weights) in weights.into_iter().enumerate() {
                    dot = _mm512_dpbusd_epi32(dot, weights, broadcast(quants, 4 * word));
                }
                products[n] = _mm512_add_epi32(products[n], _mm512_mullo_epi32(dot, scale));
            }
        }
        for n in 0..N {
            let sums = broadcast_sums(&blocks[n].sums, pair);
            excess[n] = _mm512_dpwssd_epi32(excess[n], scales, sums);
        }
    }
    for n in 0..N {
        products[n] = _mm512_sub_epi32(products[n], _mm512_slli_epi32::<5>(excess[n]));
    }
    products
}

/// The quants, 0 to 63, of sixteen columns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn unpacked(words: &[Words; 3]) -> [__m512i; 4] {
    let (mask, top) = (_mm512_set1_epi8(63), _mm512_set1_epi8(0xc0_u8 as i8));
    let packed = [load_words(&words[0]), load_words(&words[1]), load_words(&words[2])];
    // Bits 0 and 1 come from the first word's top, 2 and 3 from the second's, 4 and 5 from the third's.
    let lowest = _mm512_srli_epi16::<6>(_mm512_and_si512(packed[0], top));
    let middle = _mm512_srli_epi16::<4>(_mm512_and_si512(packed[1], top));
    let highest = _mm512_srli_epi16::<2>(_mm512_and_si512(packed[2], top));
    [
        _mm512_and_si512(packed[0], mask),
        _mm512_and_si512(packed[1], mask),
        _mm512_and_si512(packed[2], mask),
        _mm512_or_si512(_mm512_or_si512(lowest, middle), highest),
    ]
}
