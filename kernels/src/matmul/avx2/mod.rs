//! The AVX2 twins: eight weight rows in a register, two registers a tile, four columns of each at a time.
//!
//! `vpmaddubsw` multiplies unsigned weights with signed activations and adds neighbours in 16 bits. Q4_K's products fit
//! there eight times over (8 * 2 * 15 * 127 < 2^15), Q6_K's twice (2 * 2 * 63 * 127 < 2^15): so long they are added up in
//! 16 bits, then `vpmaddwd` multiplies them with the group's scale and widens.

mod q4k;
mod q6k;
mod q8_0;

use std::arch::x86_64::*;

use crate::matrix::tile::{TILE_ROWS, Words};

pub(super) use q4k::q4k;
pub(super) use q6k::q6k;
pub(super) use q8_0::q8_0;

/// Eight of sixteen rows.
const HALVES: [usize; 2] = [0, 8];

/// The words of eight rows from `first` on.
#[inline]
#[target_feature(enable = "avx2")]
fn load_words(words: &Words, first: usize) -> __m256i {
    load(&words.as_flattened()[4 * first..])
}

/// 32 bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8]) -> __m256i {
    let bytes = &bytes[..32];
    // SAFETY: `bytes` has the 32 bytes that are read, as just cut; the load asks for no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// 16 bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn load_half(bytes: &[u8]) -> __m128i {
    let bytes = &bytes[..16];
    // SAFETY: `bytes` has the 16 bytes that are read, as just cut; the load asks for no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

/// Eight times the four activations from `at` on.
#[inline]
#[target_feature(enable = "avx2")]
fn broadcast(quants: &[i8], at: usize) -> __m256i {
    let word = &quants[at..at + 4];
    _mm256_set1_epi32(i32::from_le_bytes([
        word[0] as u8,
        word[1] as u8,
        word[2] as u8,
        word[3] as u8,
    ]))
}

/// Eight times the sums of two neighbouring groups.
#[inline]
#[target_feature(enable = "avx2")]
fn broadcast_sums(sums: &[i16], pair: usize) -> __m256i {
    let sums = &sums[2 * pair..2 * pair + 2];
    _mm256_set1_epi32(i32::from(sums[0]) & 0xffff | i32::from(sums[1]) << 16)
}

/// The f16 scales of eight rows from `first` on.
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn scales(scales: &[u16; TILE_ROWS], first: usize) -> __m256 {
    let scales = &scales[first..first + 8];
    // SAFETY: `scales` has the eight f16 that are read, as just cut; the load asks for no alignment.
    let halves = unsafe { _mm_loadu_si128(scales.as_ptr().cast()) };
    _mm256_cvtph_ps(halves)
}

/// `products` as f32, times `scale`.
#[inline]
#[target_feature(enable = "avx2")]
fn scaled(products: __m256i, scale: __m256) -> __m256 {
    _mm256_mul_ps(_mm256_cvtepi32_ps(products), scale)
}

/// The sums of both halves, in the order of the rows.
#[inline]
#[target_feature(enable = "avx2")]
fn stored(sums: [__m256; 2]) -> [f32; TILE_ROWS] {
    let mut stored = [0.0; TILE_ROWS];
    for (half, sums) in stored.as_chunks_mut::<8>().0.iter_mut().zip(sums) {
        // SAFETY: `half` has the eight f32 that are written; the store asks for no alignment.
        unsafe { _mm256_storeu_ps(half.as_mut_ptr(), sums) }
    }
    stored
}
