//! The readable truth, and fast enough: a token's keys and values are some hundred numbers a layer.

use half::f16;

use super::BLOCK_TOKENS;
use super::format::KV_GROUP;
use crate::math::nearest;

/// The largest number of f16.
const LARGEST: f32 = 65504.0;

/// Writes one head of one token as f16.
///
/// * `head`  `[head_dim]`
/// * `place`  where element `i` goes, for every `i`
pub fn write_f16(head: &[f32], stored: &mut [u16], place: impl Fn(usize) -> usize) {
    for (element, value) in head.iter().enumerate() {
        stored[place(element)] = f16::from_f32(bounded(*value)).to_bits();
    }
}

/// Writes one head of one token as 8-bit integers.
///
/// * `head`  `[head_dim]`
/// * `quants`  where element `i` goes to `place(i)`
/// * `scales`  `[groups, 16]`, of which slot `slot` is written
pub fn write_q8_0(head: &[f32], slot: usize, quants: &mut [i8], scales: &mut [u16], place: impl Fn(usize) -> usize) {
    for (group, values) in head.chunks(KV_GROUP).enumerate() {
        let largest = values
            .iter()
            .fold(0.0f32, |most, value| most.max(bounded(*value).abs()));
        let scale = f16::from_f32(largest / 127.0);
        // Quants are rounded for the scale as it is stored; one that is too small for f16 is 0, and so are its quants.
        let step = scale.to_f32();
        for (index, value) in values.iter().enumerate() {
            let quant = if step > 0.0 { bounded(*value) / step } else { 0.0 };
            quants[place(group * KV_GROUP + index)] = nearest(quant.clamp(-127.0, 127.0)) as i8;
        }
        scales[group * BLOCK_TOKENS + slot] = scale.to_bits();
    }
}

/// A number that f16 holds: infinities and what is beyond its range become its largest, and so does what is no number.
///
/// So all that lies in the cache is finite, which attention counts on: a slot that a row does not see has weight 0, and
/// 0 times a finite number is 0.
fn bounded(value: f32) -> f32 {
    if value.is_nan() {
        LARGEST
    } else {
        value.clamp(-LARGEST, LARGEST)
    }
}
