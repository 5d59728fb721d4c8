//! The gated activation of the feed-forward layer.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(any(feature = "cuda", feature = "cuda-emulator"))]
pub mod cuda;
pub mod scalar;

use crate::error::{KernelError, expect_length};
use crate::parallel;
#[cfg(target_arch = "x86_64")]
use crate::simd;

/// Writes `silu(gate) * up`, with `silu(x) = x / (1 + e^-x)`.
///
/// All three are [rows, `columns`].
///
/// # Errors
/// `Length` if they are not equally long, whole rows.
///
/// Source: Shazeer 2020, equation 6. Twin: [`scalar::swiglu`], equal bit for bit.
pub fn swiglu(gate: &[f32], up: &[f32], columns: usize, output: &mut [f32]) -> Result<(), KernelError> {
    expect_length("the up projection", up.len(), gate.len())?;
    expect_length("the gated rows", output.len(), gate.len())?;
    expect_length("the gate's rows", gate.len(), gate.len() / columns.max(1) * columns)?;
    // An exponential is some twenty operations.
    parallel::for_each_row(output, columns, 20 * gate.len(), |row, output| {
        let range = row * columns..(row + 1) * columns;
        swiglu_row(&gate[range.clone()], &up[range], output);
    });
    Ok(())
}

fn swiglu_row(gate: &[f32], up: &[f32], output: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if simd::has_avx2() {
        // SAFETY: AVX2 was just found.
        return unsafe { avx2::swiglu(gate, up, output) };
    }
    scalar::swiglu(gate, up, output);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_silu_times_up() {
        let gate: Vec<f32> = (-400..400).map(|i| i as f32 / 4.0).collect();
        let up: Vec<f32> = (0..800).map(|i| (i % 7) as f32 - 3.0).collect();
        let (mut fast, mut scalar) = (vec![0.0; 800], vec![0.0; 800]);
        swiglu(&gate, &up, 100, &mut fast).unwrap();
        scalar::swiglu(&gate, &up, &mut scalar);
        assert_eq!(fast, scalar);
        for ((gate, up), found) in gate.iter().zip(&up).zip(&fast) {
            let truth = f64::from(*gate) / (1.0 + (-f64::from(*gate)).exp()) * f64::from(*up);
            assert!(
                (truth - f64::from(*found)).abs() <= 1e-6 * truth.abs() + 1e-30,
                "{gate}: {found}, {truth}"
            );
        }
    }

    #[test]
    fn unequal_lengths_are_refused() {
        assert!(swiglu(&[1.0; 4], &[1.0; 3], 2, &mut [0.0; 4]).is_err());
        assert!(swiglu(&[1.0; 4], &[1.0; 4], 3, &mut [0.0; 4]).is_err());
        assert!(swiglu(&[1.0; 4], &[1.0; 4], 2, &mut [0.0; 2]).is_err());
    }
}
