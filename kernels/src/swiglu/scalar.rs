//! The readable truth.

use crate::math::exp;

/// `silu(gate) * up`, element by element.
#[inline(always)]
pub fn swiglu(gate: &[f32], up: &[f32], output: &mut [f32]) {
    for ((output, gate), up) in output.iter_mut().zip(gate).zip(up) {
        *output = gate / (1.0 + exp(-gate)) * up;
    }
}
