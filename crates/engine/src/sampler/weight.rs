//! Chances as whole numbers: sums are exact in any order, so every order of work gives the same token.

/// The weight of the likeliest token. A sum over a million tokens stays below 2^64.
pub(crate) const ONE: u64 = 1 << 44;

/// A logit that is scaled to this or less has no weight: e^-30.5 < 2^-44. Such a token would be drawn once in 10^13 tokens.
pub(crate) const LEAST: f32 = -30.5;

/// Logits worked on at once: a loop over an array of this size, without branches, becomes vector instructions.
pub(crate) const LANES: usize = 256;

/// This share, 0 to 1, of [`ONE`].
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "0 to 2^44 fits, NaN is 0, and ONE is a power of two"
)]
pub(crate) fn part_of_one(share: f32) -> u64 {
    // By way of i64, which the processor converts to in one instruction.
    ((share * ONE as f32) as i64).unsigned_abs()
}

/// e^x for `-87 <= x <= 0`, within two units in the last place.
///
/// Not the system's `exp`: this one gives the same bits on every machine, and compiles to straight arithmetic.
/// x = n ln 2 + r with |r| <= 0.35; 2^n is made in the exponent bits, e^r is its series to the seventh power.
pub(crate) fn exp(x: f32) -> f32 {
    /// Adding 1.5 * 2^23 leaves no bits for a fraction: the sum's low bits are the rounded number.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts; the first has few enough bits that its product with n is exact.
    const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);

    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (x - n * LN_2.0) - n * LN_2.1;
    let tail = 1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0));
    let series = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * tail))));
    let exponent = rounded.to_bits().wrapping_sub(ROUND.to_bits()) << 23;
    series * f32::from_bits(1.0_f32.to_bits().wrapping_add(exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_right_to_two_units_in_the_last_place() {
        for step in 0..=870_000_u32 {
            let x = -f64::from(step) / 10_000.0;
            #[expect(clippy::cast_possible_truncation)]
            let x = x as f32;
            let (found, right) = (f64::from(exp(x)), f64::from(x).exp());
            let error = (found - right).abs() / right;
            assert!(error < 2.4e-7, "e^{x}: {found}, right is {right}");
        }
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn weights_run_from_one_to_nothing() {
        assert_eq!(part_of_one(1.0), ONE);
        assert_eq!(part_of_one(exp(LEAST)), 0);
        assert!(part_of_one(exp(LEAST + 0.1)) > 0);
        assert_eq!(part_of_one(f32::NAN), 0);
    }
}
