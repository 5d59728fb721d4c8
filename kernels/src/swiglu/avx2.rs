//! The scalar text, compiled for 256-bit registers.

#[target_feature(enable = "avx2")]
pub(super) fn swiglu(gate: &[f32], up: &[f32], output: &mut [f32]) {
    super::scalar::swiglu(gate, up, output);
}
