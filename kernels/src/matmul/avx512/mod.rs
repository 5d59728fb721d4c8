//! The AVX-512 VNNI twins: sixteen weight rows in a register, four columns of each at a time.
//!
//! `vpdpbusd` multiplies unsigned weights with signed activations and adds four neighbours to a row's 32-bit lane.

mod q4k;
mod q6k;
mod q8_0;

use std::arch::x86_64::*;

use crate::matrix::tile::{TILE_ROWS, Words};

pub(super) use q4k::q4k;
pub(super) use q6k::q6k;
pub(super) use q8_0::q8_0;

#[inline]
#[target_feature(enable = "avx512f")]
fn load_words(words: &Words) -> __m512i {
    // SAFETY: `words` has the 64 bytes that are read; the load asks for no alignment.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

/// 32 bytes, of two bytes a row.
#[inline]
#[target_feature(enable = "avx512f")]
fn load_pairs<T>(pairs: &[[T; 2]; TILE_ROWS]) -> __m256i {
    const { assert!(size_of::<T>() == 1) };
    // SAFETY: `pairs` has the 32 bytes that are read, by the assertion above; the load asks for no alignment.
    unsafe { _mm256_loadu_si256(pairs.as_ptr().cast()) }
}

/// Sixteen times the four activations from `at` on.
#[inline]
#[target_feature(enable = "avx512f")]
fn broadcast(quants: &[i8], at: usize) -> __m512i {
    let word = &quants[at..at + 4];
    _mm512_set1_epi32(i32::from_le_bytes([
        word[0] as u8,
        word[1] as u8,
        word[2] as u8,
        word[3] as u8,
    ]))
}

/// Sixteen times the sums of two neighbouring groups.
#[inline]
#[target_feature(enable = "avx512f")]
fn broadcast_sums(sums: &[i16], pair: usize) -> __m512i {
    let sums = &sums[2 * pair..2 * pair + 2];
    _mm512_set1_epi32(i32::from(sums[0]) & 0xffff | i32::from(sums[1]) << 16)
}

/// The f16 scales of the rows.
#[inline]
#[target_feature(enable = "avx512f")]
fn scales(scales: &[u16; TILE_ROWS]) -> __m512 {
    // SAFETY: `scales` has the 32 bytes that are read; the load asks for no alignment.
    let halves = unsafe { _mm256_loadu_si256(scales.as_ptr().cast()) };
    _mm512_cvtph_ps(halves)
}

/// `products` as f32, times `scale`.
#[inline]
#[target_feature(enable = "avx512f")]
fn scaled(products: __m512i, scale: __m512) -> __m512 {
    _mm512_mul_ps(_mm512_cvtepi32_ps(products), scale)
}

/// The sums in the order of the rows.
#[inline]
#[target_feature(enable = "avx512f")]
fn stored(sums: __m512) -> [f32; TILE_ROWS] {
    let mut stored = [0.0; TILE_ROWS];
    // SAFETY: `stored` has the sixteen f32 that are written; the store asks for no alignment.
    unsafe { _mm512_storeu_ps(stored.as_mut_ptr(), sums) }
    stored
}
