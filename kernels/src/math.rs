//! The arithmetic that every twin shares, written so that the compiler vectorises it and no build changes a bit of it.

/// Lanes of a sum: four AVX2 registers, so that the additions of one row overlap.
pub const LANES: usize = 32;

/// Adds the lanes in a fixed order: halves onto each other.
#[inline(always)]
pub fn sum_lanes<const N: usize>(mut lanes: [f32; N]) -> f32 {
    let mut width = N / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// The sum of products, over [`LANES`] partial sums; the slices have the same length.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a_chunks, a_tail) = a.as_chunks::<LANES>();
    let (b_chunks, b_tail) = b.as_chunks::<LANES>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    for (lane, (a, b)) in a_tail.iter().zip(b_tail).enumerate() {
        lanes[lane] += a * b;
    }
    sum_lanes(lanes)
}

/// 1.5 * 2^23: adding and subtracting it rounds an f32 of magnitude below 2^22 to the nearest integer, ties to even.
const ROUNDER: f32 = 12_582_912.0;

/// The nearest integer, ties to even; `|x| < 2^22`. Unlike `f32::round` it needs no library call on plain x86-64.
#[inline(always)]
pub fn nearest(x: f32) -> f32 {
    (x + ROUNDER) - ROUNDER
}

/// e^x within 2 units in the last place; 0 below -87, infinity's neighbourhood is cut at x = 88.
///
/// The library's `exp` differs from system to system and does not vectorise; this one is the same everywhere.
/// x = n ln 2 + r with |r| <= ln 2 / 2, e^r by its Taylor polynomial of degree 7, 2^n by the exponent's bits.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4; // 355 / 512: n * LN2_HIGH is exact.
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let bounded = x.clamp(-87.0, 88.0);
    let n = nearest(bounded * std::f32::consts::LOG2_E);
    let r = (bounded - n * LN2_HIGH) - n * LN2_LOW;
    let mut p = 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    // `n + ROUNDER` holds n in its low mantissa bits: no float-to-integer conversion, which would check its range.
    let exponent = (n + ROUNDER)
        .to_bits()
        .wrapping_sub(ROUNDER.to_bits())
        .wrapping_add(127)
        << 23;
    let power = p * f32::from_bits(exponent);
    if x < -87.0 { 0.0 } else { power }
}

/// The value of an f16 that is finite, from its bits; what the KV cache holds always is.
///
/// The exponent is moved into f32's place and corrected by an exact multiplication, which also handles subnormal numbers:
/// no branch, no F16C needed, the same everywhere.
#[inline(always)]
pub fn finite_f16(bits: u16) -> f32 {
    const TWO_TO_112: f32 = f32::from_bits((112 + 127) << 23);
    let bits = u32::from(bits);
    let magnitude = f32::from_bits((bits & 0x7fff) << 13) * TWO_TO_112;
    f32::from_bits(magnitude.to_bits() | ((bits & 0x8000) << 16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        let mut worst = 0.0f64;
        for step in -87_000..=88_000 {
            let x = step as f32 / 1000.0;
            let truth = f64::from(x).exp();
            let error = (f64::from(exp(x)) - truth).abs() / truth;
            worst = worst.max(error);
        }
        assert!(worst < 2.0 * f64::from(f32::EPSILON), "worst relative error {worst:e}");
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-88.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn nearest_rounds_ties_to_even() {
        for (x, expected) in [
            (0.5, 0.0),
            (1.5, 2.0),
            (-0.5, 0.0),
            (-1.5, -2.0),
            (126.6, 127.0),
            (2.4, 2.0),
        ] {
            assert_eq!(nearest(x), expected, "{x}");
        }
    }

    #[test]
    fn every_finite_f16_is_converted_exactly() {
        for bits in 0..=u16::MAX {
            let truth = half::f16::from_bits(bits);
            if truth.is_finite() {
                assert_eq!(finite_f16(bits).to_bits(), truth.to_f32().to_bits(), "{bits:#x}");
            }
        }
    }

    #[test]
    fn dot_counts_every_element_once() {
        for length in [0, 1, 31, 32, 33, 64, 100, 257] {
            let a: Vec<f32> = (0..length).map(|i| i as f32).collect();
            let ones = vec![1.0; length];
            assert_eq!(
                dot(&a, &ones),
                (length * length.saturating_sub(1) / 2) as f32,
                "{length}"
            );
        }
    }
}
