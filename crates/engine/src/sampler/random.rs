//! Draws that depend on a seed and a number only, so that a sequence draws the same whatever happened in between.

/// The step of Weyl's sequence in SplitMix64: 2^64 divided by the golden ratio, odd.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The `index`-th draw of `seed`, evenly among all 64-bit numbers.
///
/// Source: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators" (SplitMix64), entered at any
/// point. The seed is mixed once before, so that neighbouring seeds do not give shifted copies of one stream.
pub(crate) fn draw(seed: u64, index: u64) -> u64 {
    let start = mix(seed.wrapping_add(GOLDEN));
    mix(start.wrapping_add(index.wrapping_add(1).wrapping_mul(GOLDEN)))
}

/// The `index`-th draw of `seed`, evenly in `0..end`; 0 if `end` is 0.
pub(crate) fn draw_below(seed: u64, index: u64, end: u64) -> u64 {
    let wide = u128::from(draw(seed, index)) * u128::from(end);
    // The high half of the product is below `end`, so it fits.
    u64::try_from(wide >> 64).unwrap_or(0)
}

/// Spreads every bit over all others (SplitMix64's finalizer).
pub(crate) fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mixer_is_splitmix64() {
        // First outputs of SplitMix64 from state 0, as in the authors' reference program.
        let outputs = [1, 2, 3].map(|n: u64| mix(n.wrapping_mul(GOLDEN)));
        let expected = [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f];
        assert_eq!(outputs, expected);
    }

    #[test]
    fn draws_spread_evenly_over_seeds_and_over_indices() {
        let check = |drawn: fn(u64) -> u64, what: &str| {
            let mut counts = [0_u32; 10];
            (0..10_000).for_each(|n| counts[usize::try_from(drawn(n)).unwrap()] += 1);
            // 1000 each, standard deviation 30.
            assert!(
                counts.iter().all(|count| (850..1150).contains(count)),
                "{what}: {counts:?}"
            );
        };
        check(|n| draw_below(7, n, 10), "indices");
        check(|n| draw_below(n, 3, 10), "seeds");
        assert_eq!(draw_below(1, 1, 0), 0);
    }
}
