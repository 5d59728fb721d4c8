//! The scalar text, compiled for 256-bit registers, with f16 and integers read by the instructions for it.

use std::arch::x86_64::{
    __m128i, _mm_loadl_epi64, _mm_loadu_si128, _mm256_add_ps, _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps,
    _mm256_cvtph_ps, _mm256_loadu_ps, _mm256_mul_ps, _mm256_set1_ps, _mm256_storeu_ps,
};
use std::ops::Range;

use super::lanes::Lanes;
use super::scalar::Scratch;
use super::tile::{Part, Tile};
use crate::kv_write::LANES;

/// Eight at a time; only named by [`attend`].
struct Wide;

impl Lanes for Wide {
    #[inline(always)]
    fn halves(bits: &[u16; LANES]) -> [f32; LANES] {
        // SAFETY: `attend`, the only user of this type, requires AVX2 and F16C.
        unsafe { halves(bits) }
    }

    #[inline(always)]
    fn quants(quants: &[i8; LANES], scales: &[f32; LANES]) -> [f32; LANES] {
        // SAFETY: as above.
        unsafe { self::quants(quants, scales) }
    }

    #[inline(always)]
    fn add_scaled(sums: &mut [f32; LANES], factor: f32, numbers: &[f32; LANES]) {
        // SAFETY: as above.
        unsafe { self::add_scaled(sums, factor, numbers) }
    }
}

#[inline]
#[target_feature(enable = "avx2,f16c")]
fn halves(bits: &[u16; LANES]) -> [f32; LANES] {
    let mut numbers = [0.0; LANES];
    for (numbers, bits) in numbers.as_chunks_mut::<8>().0.iter_mut().zip(bits.as_chunks::<8>().0) {
        // SAFETY: 8 u16 are the 16 bytes that are read; no alignment is asked for.
        let bits = unsafe { _mm_loadu_si128(bits.as_ptr().cast::<__m128i>()) };
        let eight = _mm256_cvtph_ps(bits);
        // SAFETY: 8 f32 are the 32 bytes that are written; no alignment is asked for.
        unsafe { _mm256_storeu_ps(numbers.as_mut_ptr(), eight) };
    }
    numbers
}

#[inline]
#[target_feature(enable = "avx2")]
fn quants(quants: &[i8; LANES], scales: &[f32; LANES]) -> [f32; LANES] {
    let mut numbers = [0.0; LANES];
    let eights = quants.as_chunks::<8>().0.iter().zip(scales.as_chunks::<8>().0);
    for (numbers, (quants, scales)) in numbers.as_chunks_mut::<8>().0.iter_mut().zip(eights) {
        // SAFETY: 8 i8 are the 8 bytes that are read; no alignment is asked for.
        let quants = unsafe { _mm_loadl_epi64(quants.as_ptr().cast::<__m128i>()) };
        // SAFETY: 8 f32 are the 32 bytes that are read; no alignment is asked for.
        let scales = unsafe { _mm256_loadu_ps(scales.as_ptr()) };
        let product = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(quants)), scales);
        // SAFETY: 8 f32 are the 32 bytes that are written; no alignment is asked for.
        unsafe { _mm256_storeu_ps(numbers.as_mut_ptr(), product) };
    }
    numbers
}

/// In so many words, because the compiler chooses lanes of its own for some numbers of sums.
#[inline]
#[target_feature(enable = "avx2")]
fn add_scaled(sums: &mut [f32; LANES], factor: f32, numbers: &[f32; LANES]) {
    let factor = _mm256_set1_ps(factor);
    for (sums, numbers) in sums.as_chunks_mut::<8>().0.iter_mut().zip(numbers.as_chunks::<8>().0) {
        // SAFETY: 8 f32 are the 32 bytes that are read; no alignment is asked for.
        let numbers = unsafe { _mm256_loadu_ps(numbers.as_ptr()) };
        // SAFETY: as above.
        let before = unsafe { _mm256_loadu_ps(sums.as_ptr()) };
        let after = _mm256_add_ps(before, _mm256_mul_ps(factor, numbers));
        // SAFETY: 8 f32 are the 32 bytes that are written; no alignment is asked for.
        unsafe { _mm256_storeu_ps(sums.as_mut_ptr(), after) };
    }
}

#[target_feature(enable = "avx2,f16c")]
pub(super) fn attend(tile: &Tile<'_>, tokens: Range<usize>, scratch: &mut Scratch, part: &mut Part) {
    super::scalar::attend::<Wide>(tile, tokens, scratch, part);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::Twin;
    use crate::attention::lanes::Portable;

    #[test]
    fn the_instruction_reads_every_finite_f16_as_integers_do() {
        if !Twin::here().contains(&Twin::Avx2) {
            return;
        }
        let finite = (0..=u16::MAX).filter(|bits| half::f16::from_bits(*bits).is_finite());
        let all: Vec<u16> = finite.collect();
        let (sixteens, rest) = all.as_chunks();
        assert!(rest.is_empty());
        for bits in sixteens {
            let (fast, truth) = (
                Wide::halves(bits).map(f32::to_bits),
                Portable::halves(bits).map(f32::to_bits),
            );
            assert_eq!(fast, truth, "{bits:#x?}");
        }
    }
}
