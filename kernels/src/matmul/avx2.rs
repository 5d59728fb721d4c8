//! The AVX2 twins of the Q4_K and Q6_K products: a block of weights is unpacked once for up to four activation rows.
//!
//! Unpacking a block costs about as much as multiplying it with one row, so this nearly halves the work of a batch. Each
//! row's arithmetic is the same sequence of operations however many go together: it does not depend on its company.

use std::arch::x86_64::*;

use candle_core::quantized::k_quants::BlockQ8K;
use half::f16;

use crate::storage::bytes_of;

const ACTIVATION_BYTES: usize = 292;

/// 256 activations: scale f32, 256 quants i8, the sums i16 of each 16 of them.
struct Activation<'a>(&'a [u8; ACTIVATION_BYTES]);

impl Activation<'_> {
    fn scale(&self) -> f32 {
        f32::from_le_bytes(*part(self.0, 0))
    }

    fn quants(&self, group: usize) -> &[u8; 32] {
        part(self.0, 4 + 32 * group)
    }

    fn sums(&self) -> &[u8; 32] {
        part(self.0, 260)
    }
}

/// `N` bytes of a block from `at` on: places that the format fixes, inside every block.
#[inline(always)]
fn part<const N: usize>(block: &[u8], at: usize) -> &[u8; N] {
    match block[at..].first_chunk() {
        Some(part) => part,
        None => unreachable!("a block of {} bytes has no {N} from {at} on", block.len()),
    }
}

/// The dot products of one weight row with some activation rows, in one format.
pub(super) trait Unpacked: Sync {
    /// * `weight`  the row's blocks
    /// * `activations`  as many blocks each
    fn dot<const N: usize>(&self, weight: &[u8], activations: [&[BlockQ8K]; N]) -> [f32; N];
}

/// Q4_K weights; exists only where the processor has what it needs.
pub(super) struct Q4K(());

/// Q6_K weights; exists only where the processor has what it needs.
pub(super) struct Q6K(());

impl Q4K {
    pub(super) fn new() -> Option<Q4K> {
        has_avx2_fma_f16c().then_some(Q4K(()))
    }
}

impl Q6K {
    pub(super) fn new() -> Option<Q6K> {
        has_avx2_fma_f16c().then_some(Q6K(()))
    }
}

impl Unpacked for Q4K {
    fn dot<const N: usize>(&self, weight: &[u8], activations: [&[BlockQ8K]; N]) -> [f32; N] {
        // SAFETY: `Q4K::new` found AVX2, FMA and F16C.
        unsafe { dot_q4_k(weight, activations) }
    }
}

impl Unpacked for Q6K {
    fn dot<const N: usize>(&self, weight: &[u8], activations: [&[BlockQ8K]; N]) -> [f32; N] {
        // SAFETY: `Q6K::new` found AVX2, FMA and F16C.
        unsafe { dot_q6_k(weight, activations) }
    }
}

fn has_avx2_fma_f16c() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx2") && has!("fma") && has!("f16c")
}

#[target_feature(enable = "avx2,fma,f16c")]
fn dot_q4_k<const N: usize>(weight: &[u8], activations: [&[BlockQ8K]; N]) -> [f32; N] {
    let nibble = _mm256_set1_epi8(15);
    let mut sums = [_mm256_setzero_ps(); N];
    for (index, block) in weight.as_chunks::<144>().0.iter().enumerate() {
        let activations = activations.map(|row| block_of(row, index));
        let (scales, minimums) = scales_q4_k(part(block, 4));
        let mut products = [_mm256_setzero_si256(); N];
        for pair in 0..4 {
            let packed = load(part(block, 16 + 32 * pair));
            let high = _mm256_srli_epi16::<4>(packed);
            for (half, quants) in [packed, high].into_iter().enumerate() {
                let (group, quants) = (2 * pair + half, _mm256_and_si256(quants, nibble));
                let scale = _mm256_set1_epi16(i16::from(scales[group]));
                for (sum, activation) in products.iter_mut().zip(&activations) {
                    *sum = multiplied(*sum, quants, activation.quants(group), scale);
                }
            }
        }
        // Each minimum belongs to two sums of 16.
        let minimums = _mm_set1_epi64x(i64::from_le_bytes(minimums));
        let minimums = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(minimums, minimums));
        let (scale, minimum) = (f16_at(block, 0), f16_at(block, 2));
        for (row, activation) in activations.iter().enumerate() {
            let below = _mm256_madd_epi16(minimums, load(activation.sums()));
            sums[row] = scaled(sums[row], products[row], scale * activation.scale());
            sums[row] = scaled(sums[row], below, -minimum * activation.scale());
        }
    }
    sums.map(|sum| added(sum))
}

#[target_feature(enable = "avx2,fma,f16c")]
fn dot_q6_k<const N: usize>(weight: &[u8], activations: [&[BlockQ8K]; N]) -> [f32; N] {
    let nibble = _mm256_set1_epi8(15);
    let mut sums = [_mm256_setzero_ps(); N];
    for (index, block) in weight.as_chunks::<210>().0.iter().enumerate() {
        let activations = activations.map(|row| block_of(row, index));
        let scales: &[u8; 16] = part(block, 192);
        let mut products = [_mm256_setzero_si256(); N];
        for half in 0..2 {
            let low = [load(part(block, 64 * half)), load(part(block, 64 * half + 32))];
            let high = load(part(block, 128 + 32 * half)); // Two bits for each of four groups.
            let highs = [
                _mm256_slli_epi16::<4>(_mm256_and_si256(high, _mm256_set1_epi8(0x03))),
                _mm256_slli_epi16::<2>(_mm256_and_si256(high, _mm256_set1_epi8(0x0c))),
                _mm256_and_si256(high, _mm256_set1_epi8(0x30)),
                _mm256_srli_epi16::<2>(_mm256_and_si256(high, _mm256_set1_epi8(0xc0_u8 as i8))),
            ];
            let lows = [
                low[0],
                low[1],
                _mm256_srli_epi16::<4>(low[0]),
                _mm256_srli_epi16::<4>(low[1]),
            ];
            for (quarter, (low, high)) in lows.into_iter().zip(highs).enumerate() {
                let group = 4 * half + quarter;
                let quants = _mm256_or_si256(_mm256_and_si256(low, nibble), high); // 0 to 63, 32 too high
                let scale = |at: usize| _mm_set1_epi16(i16::from(scales[at] as i8));
                let scale = _mm256_set_m128i(scale(2 * group + 1), scale(2 * group));
                for (sum, activation) in products.iter_mut().zip(&activations) {
                    *sum = multiplied(*sum, quants, activation.quants(group), scale);
                }
            }
        }
        let scales = _mm256_cvtepi8_epi16(_mm_set_epi64x(
            i64::from_le_bytes(*part(scales, 8)),
            i64::from_le_bytes(*part(scales, 0)),
        ));
        let scale = f16_at(block, 208);
        for (row, activation) in activations.iter().enumerate() {
            let excess = _mm256_slli_epi32::<5>(_mm256_madd_epi16(scales, load(activation.sums())));
            let product = _mm256_sub_epi32(products[row], excess);
            sums[row] = scaled(sums[row], product, scale * activation.scale());
        }
    }
    sums.map(|sum| added(sum))
}

fn block_of(row: &[BlockQ8K], index: usize) -> Activation<'_> {
    Activation(part(bytes_of(&row[index..=index]), 0))
}

/// The eight scales and the eight minimums of a Q4_K block, 6 bits each, packed in 12 bytes.
fn scales_q4_k(packed: &[u8; 12]) -> ([u8; 8], [u8; 8]) {
    let word = |at: usize| u32::from_le_bytes(*part(packed, at));
    let (low_six, low_four) = (0x3f3f_3f3f, 0x0f0f_0f0f);
    let top_two = |word: u32| (word >> 2) & 0x3030_3030;
    let scales = [word(0) & low_six, (word(8) & low_four) | top_two(word(0))];
    let minimums = [word(4) & low_six, ((word(8) >> 4) & low_four) | top_two(word(4))];
    let joined = |words: [u32; 2]| (u64::from(words[0]) | u64::from(words[1]) << 32).to_le_bytes();
    (joined(scales), joined(minimums))
}

/// `sum` and, in its eight lanes, the products of 32 weights (0 to 63) and 32 activations, times `scale`.
#[inline]
#[target_feature(enable = "avx2")]
fn multiplied(sum: __m256i, weights: __m256i, activations: &[u8; 32], scale: __m256i) -> __m256i {
    let pairs = _mm256_maddubs_epi16(weights, load(activations)); // at most 2 * 63 * 127, within i16
    _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, scale))
}

/// `sum + scale * products`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn scaled(sum: __m256, products: __m256i, scale: f32) -> __m256 {
    _mm256_fmadd_ps(_mm256_set1_ps(scale), _mm256_cvtepi32_ps(products), sum)
}

/// The sum of the eight lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn added(lanes: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps::<1>(lanes));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

#[inline]
#[target_feature(enable = "f16c")]
fn f16_at(block: &[u8], at: usize) -> f32 {
    let bits = f16::from_le_bytes(*part(block, at)).to_bits();
    _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(bits))))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: `bytes` has the 32 bytes that are read; the load asks for no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}
