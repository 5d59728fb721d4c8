//! Q6_K.

use std::arch::x86_64::*;

use super::{HALVES, broadcast, broadcast_sums, load_words, scaled, scales, stored};
use crate::activations::Q8K;
use crate::matmul::ahead::prefetch;
use crate::matmul::tiles::Sums;
use crate::matrix::tile::{TileQ6K, Words};

/// As [`super::super::scalar::q6k`].
#[target_feature(enable = "avx2,f16c")]
pub(in super::super) fn q6k<const N: usize>(tiles: &[TileQ6K], rows: [&[Q8K]; N]) -> [Sums; N] {
    let mut sums = [[_mm256_setzero_ps(); 2]; N];
    for (index, tile) in tiles.iter().enumerate() {
        let blocks = rows.map(|row| &row[index]);
        // Few rows leave registers for both halves of the tile, which then share the broadcasts.
        let products = if N == 1 {
            products::<N, 2>(tile, HALVES, blocks)
        } else {
            let [first, second] = HALVES.map(|half| products::<N, 1>(tile, [half], blocks));
            std::array::from_fn(|n| [first[n][0], second[n][0]])
        };
        let excess = excess(tile, blocks);
        for (half, first) in HALVES.into_iter().enumerate() {
            let scale = scales(&tile.scale, first);
            for n in 0..N {
                let product = _mm256_sub_epi32(products[n][half], _mm256_slli_epi32::<5>(excess[n][half]));
                let scale = _mm256_mul_ps(scale, _mm256_set1_ps(blocks[n].scale));
                sums[n][half] = _mm256_add_ps(sums[n][half], scaled(product, scale));
            }
        }
    }
    sums.map(|sums| stored(sums))
}

/// Of eight rows from each of `halves` on: the sum of group scale * dot with the quants, which are 32 too high.
#[inline]
#[target_feature(enable = "avx2")]
fn products<const N: usize, const H: usize>(
    tile: &TileQ6K,
    halves: [usize; H],
    blocks: [&Q8K; N],
) -> [[__m256i; H]; N] {
    let mut products = [[_mm256_setzero_si256(); H]; N];
    for (group, words) in tile.quants.iter().enumerate() {
        if halves[0] == 0 {
            prefetch(words);
        }
        let mut weights = [[_mm256_setzero_si256(); 4]; H];
        let mut scales = [_mm256_setzero_si256(); H];
        for half in 0..H {
            weights[half] = unpacked(words, halves[half]);
            scales[half] = twice(&tile.scales[group / 2], halves[half], group % 2);
        }
        for n in 0..N {
            let quants = &blocks[n].quants[16 * group..16 * group + 16];
            for pair in 0..2 {
                let activations = [broadcast(quants, 8 * pair), broadcast(quants, 8 * pair + 4)];
                for half in 0..H {
                    let dots = [
                        _mm256_maddubs_epi16(weights[half][2 * pair], activations[0]),
                        _mm256_maddubs_epi16(weights[half][2 * pair + 1], activations[1]),
                    ];
                    let dot = _mm256_madd_epi16(_mm256_add_epi16(dots[0], dots[1]), scales[half]);
                    products[n][half] = _mm256_add_epi32(products[n][half], dot);
                }
            }
        }
    }
    products
}

/// The quants, 0 to 63, of sixteen columns of eight rows from `first` on.
#[inline]
#[target_feature(enable = "avx2")]
fn unpacked(words: &[Words; 3], first: usize) -> [__m256i; 4] {
    let (mask, top) = (_mm256_set1_epi8(63), _mm256_set1_epi8(0xc0_u8 as i8));
    let packed = [
        load_words(&words[0], first),
        load_words(&words[1], first),
        load_words(&words[2], first),
    ];
    // Bits 0 and 1 come from the first word's top, 2 and 3 from the second's, 4 and 5 from the third's.
    let lowest = _mm256_srli_epi16::<6>(_mm256_and_si256(packed[0], top));
    let middle = _mm256_srli_epi16::<4>(_mm256_and_si256(packed[1], top));
    let highest = _mm256_srli_epi16::<2>(_mm256_and_si256(packed[2], top));
    [
        _mm256_and_si256(packed[0], mask),
        _mm256_and_si256(packed[1], mask),
        _mm256_and_si256(packed[2], mask),
        _mm256_or_si256(_mm256_or_si256(lowest, middle), highest),
    ]
}

/// Of both halves: the sum of group scale * activation sum.
#[inline]
#[target_feature(enable = "avx2")]
fn excess<const N: usize>(tile: &TileQ6K, blocks: [&Q8K; N]) -> [[__m256i; 2]; N] {
    let mut products = [[_mm256_setzero_si256(); 2]; N];
    for (pair, scales) in tile.scales.iter().enumerate() {
        prefetch(scales);
        let scales = HALVES.map(|first| _mm256_cvtepi8_epi16(load_scales(scales, first)));
        for (products, block) in products.iter_mut().zip(blocks) {
            let sums = broadcast_sums(&block.sums, pair);
            for (product, scales) in products.iter_mut().zip(scales) {
                *product = _mm256_add_epi32(*product, _mm256_madd_epi16(scales, sums));
            }
        }
    }
    products
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
