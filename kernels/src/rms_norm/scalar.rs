//! The readable truth.

use crate::math::dot;

/// Normalises one row; all slices have the row's length.
#[inline(always)]
pub fn rms_norm_row(input: &[f32], weight: &[f32], epsilon: f32, output: &mut [f32]) {
    let mean_square = dot(input, input) / input.len() as f32;
    let factor = 1.0 / (mean_square + epsilon).sqrt();
    for ((output, input), weight) in output.iter_mut().zip(input).zip(weight) {
        *output = input * factor * weight;
    }
}
