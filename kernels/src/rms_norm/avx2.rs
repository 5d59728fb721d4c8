//! The scalar text, compiled for 256-bit registers: the same operations in the same order, eight at a time.

#[target_feature(enable = "avx2")]
pub(super) fn rms_norm_row(input: &[f32], weight: &[f32], epsilon: f32, output: &mut [f32]) {
    super::scalar::rms_norm_row(input, weight, epsilon, output);
}
