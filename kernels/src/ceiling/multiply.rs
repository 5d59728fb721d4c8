//! Products of 8-bit integers out of registers: as fast as the multipliers go, with nothing to load and nothing to wait
//! for.
//!
//! The AVX2 figure stands for the matrix product of 4-bit weights in groups of 32: eight `vpmaddubsw` whose pairs are
//! added in 16 bits by `vpaddw`, then one `vpmaddwd` and one `vpaddd` that widen and add up a group. It has no loads, no
//! unpacking and no scales, so a real product stays below it. The instructions are written as assembly because a compiler
//! would compute a product of two constants once.

use std::hint::black_box;

use crate::Simd;

/// Sums that grow independently, so that no product waits for the one before it.
#[cfg(target_arch = "x86_64")]
const AVX2_CHAINS: usize = 4;
#[cfg(target_arch = "x86_64")]
const AVX512_CHAINS: usize = 16;
/// Bytes that the scalar loop multiplies.
const SCALAR_BYTES: usize = 1024;

/// One factor everywhere, and the other: their sums of eight pairs stay within 16 bits.
const WEIGHT: u8 = 13;
const ACTIVATION: i8 = 101;

/// Products that `groups` rounds make.
pub(super) fn products(simd: Simd, groups: u64) -> u64 {
    let in_a_group = match simd {
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 => AVX512_CHAINS * 64,
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 => AVX2_CHAINS * 8 * 32,
        _ => SCALAR_BYTES,
    };
    groups * in_a_group as u64
}

/// Makes them, with plain loops where the machine lacks the instructions. Returns the sum of the lanes of all sums, each
/// lane of 32 bits and wrapping.
pub(super) fn run(simd: Simd, groups: u64) -> i64 {
    let (weight, activation) = (black_box(WEIGHT), black_box(ACTIVATION));
    black_box(match simd.min(Simd::of_machine()) {
        // SAFETY: `of_machine` found AVX-512 F and VNNI.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 => unsafe { run_avx512_vnni(weight, activation, groups) },
        // SAFETY: `of_machine` found AVX2.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 => unsafe { run_avx2(weight, activation, groups) },
        _ => run_scalar(weight, activation, groups),
    })
}

fn run_scalar(weight: u8, activation: i8, groups: u64) -> i64 {
    let (mut weights, mut activations) = ([weight; SCALAR_BYTES], [activation; SCALAR_BYTES]);
    let mut sums = [0i32; 32];
    for _ in 0..groups {
        // Opaque, so that the next round is not known to be the same.
        let (weights, activations) = (&*black_box(&mut weights), &*black_box(&mut activations));
        for (weights, activations) in weights.as_chunks::<32>().0.iter().zip(activations.as_chunks::<32>().0) {
            for lane in 0..32 {
                let product = i32::from(weights[lane]) * i32::from(activations[lane]);
                sums[lane] = sums[lane].wrapping_add(product);
            }
        }
    }
    sums.into_iter().map(i64::from).sum()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn run_avx2(weight: u8, activation: i8, groups: u64) -> i64 {
    use std::arch::x86_64::*;
    let weights = _mm256_set1_epi8(weight.cast_signed());
    let activations = _mm256_set1_epi8(activation);
    let ones = _mm256_set1_epi16(1);
    let mut sums = [_mm256_setzero_si256(); AVX2_CHAINS];
    for _ in 0..groups {
        let mut pairs = [_mm256_setzero_si256(); AVX2_CHAINS];
        for _ in 0..8 {
            for pair in &mut pairs {
                // SAFETY: the registers named are all that is read and written; AVX2 is on in this function.
                unsafe {
                    std::arch::asm!(
                        "vpmaddubsw {product}, {weights}, {activations}",
                        "vpaddw {pair}, {pair}, {product}",
                        product = out(ymm_reg) _,
                        weights = in(ymm_reg) weights,
                        activations = in(ymm_reg) activations,
                        pair = inout(ymm_reg) *pair,
                        options(nomem, nostack, preserves_flags),
                    );
                }
            }
        }
        for (sum, pair) in sums.iter_mut().zip(pairs) {
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pair, ones));
        }
    }
    sums.into_iter().map(|sum| lanes_of(sum)).sum()
}

/// The sum of eight lanes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn lanes_of(sum: std::arch::x86_64::__m256i) -> i64 {
    use std::arch::x86_64::*;
    let halves = [_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum)];
    let wide = halves.map(|half| _mm256_cvtepi32_epi64(half));
    let four = _mm256_add_epi64(wide[0], wide[1]);
    let two = _mm_add_epi64(_mm256_castsi256_si128(four), _mm256_extracti128_si256::<1>(four));
    _mm_cvtsi128_si64(two) + _mm_extract_epi64::<1>(two)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
fn run_avx512_vnni(weight: u8, activation: i8, groups: u64) -> i64 {
    use std::arch::x86_64::*;
    let weights = _mm512_set1_epi8(weight.cast_signed());
    let activations = _mm512_set1_epi8(activation);
    let mut sums = [_mm512_setzero_si512(); AVX512_CHAINS];
    for _ in 0..groups {
        for sum in &mut sums {
            // SAFETY: the registers named are all that is read and written; AVX-512 VNNI is on in this function.
            unsafe {
                std::arch::asm!(
                    "vpdpbusd {sum}, {weights}, {activations}",
                    sum = inout(zmm_reg) *sum,
                    weights = in(zmm_reg) weights,
                    activations = in(zmm_reg) activations,
                    options(nomem, nostack, preserves_flags),
                );
            }
        }
    }
    let halves = sums.map(|sum| [_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64::<1>(sum)]);
    halves.as_flattened().iter().map(|half| lanes_of(*half)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum tells how many products were made: each is 13 * 101.
    #[test]
    fn as_many_products_are_made_as_are_counted() {
        for simd in Simd::ALL.into_iter().filter(|simd| *simd <= Simd::of_machine()) {
            for groups in [0, 1, 2, 77] {
                let made = run(simd, groups) / (i64::from(WEIGHT) * i64::from(ACTIVATION));
                let counted = products(simd, groups);
                assert_eq!(made, i64::try_from(counted).unwrap(), "{simd}, {groups} rounds");
            }
        }
    }
}
