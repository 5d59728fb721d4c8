//! Root-mean-square normalisation, row by row.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(any(feature = "cuda", feature = "cuda-emulator"))]
pub mod cuda;
pub mod scalar;

use crate::error::{KernelError, expect_length};
use crate::parallel;
#[cfg(target_arch = "x86_64")]
use crate::simd;

/// Divides each row by the root of its mean square and multiplies by the weights.
///
/// * `input`  `[rows, columns]`
/// * `weight`  `[columns]`
/// * `output`  `[rows, columns]`; `epsilon` is added to the mean square
///
/// # Errors
/// `Length` if the input is not whole rows or the output is not as long.
///
/// Source: Zhang and Sennrich 2019, equation 4. Twin: [`scalar::rms_norm_row`], equal bit for bit.
pub fn rms_norm(input: &[f32], weight: &[f32], epsilon: f32, output: &mut [f32]) -> Result<(), KernelError> {
    let columns = weight.len().max(1);
    expect_length(
        "the rows to normalise",
        input.len(),
        input.len() / columns * weight.len(),
    )?;
    expect_length("the normalised rows", output.len(), input.len())?;
    parallel::for_each_row(output, columns, 2 * input.len(), |row, normed| {
        rms_norm_row(&input[row * columns..(row + 1) * columns], weight, epsilon, normed);
    });
    Ok(())
}

/// As [`rms_norm`], but in place and with rows of one head each: the norms of Qwen 3's queries and keys.
///
/// # Errors
/// `Length` if `values` is not whole rows.
pub fn rms_norm_in_place(values: &mut [f32], weight: &[f32], epsilon: f32) -> Result<(), KernelError> {
    let columns = weight.len().max(1);
    expect_length(
        "the rows to normalise",
        values.len(),
        values.len() / columns * weight.len(),
    )?;
    let mut copy = vec![0.0; columns];
    for row in values.chunks_exact_mut(columns) {
        copy.copy_from_slice(row);
        rms_norm_row(&copy, weight, epsilon, row);
    }
    Ok(())
}

fn rms_norm_row(input: &[f32], weight: &[f32], epsilon: f32, output: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if simd::has_avx2() {
        // SAFETY: AVX2 was just found.
        return unsafe { avx2::rms_norm_row(input, weight, epsilon, output) };
    }
    scalar::rms_norm_row(input, weight, epsilon, output);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(length: usize) -> Vec<f32> {
        (0..length).map(|i| ((i * 31 % 97) as f32 - 48.0) / 16.0).collect()
    }

    #[test]
    fn a_row_has_unit_mean_square_times_its_weights() {
        for columns in [1, 7, 32, 100, 1536] {
            let (input, weight) = (wave(3 * columns), wave(columns));
            let mut output = vec![0.0; 3 * columns];
            rms_norm(&input, &weight, 1e-6, &mut output).unwrap();
            for (input, output) in input.chunks(columns).zip(output.chunks(columns)) {
                let square = input.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / columns as f64;
                for ((input, weight), found) in input.iter().zip(&weight).zip(output) {
                    let truth = f64::from(*input) / (square + 1e-6).sqrt() * f64::from(*weight);
                    assert!(
                        (truth - f64::from(*found)).abs() <= 1e-6 * truth.abs(),
                        "{columns}: {found}, {truth}"
                    );
                }
            }
        }
    }

    #[test]
    fn wide_registers_give_the_same_bits() {
        for columns in [1, 31, 64, 896] {
            let (input, weight) = (wave(columns), wave(columns));
            let (mut fast, mut truth) = (vec![0.0; columns], vec![0.0; columns]);
            rms_norm(&input, &weight, 1e-5, &mut fast).unwrap();
            scalar::rms_norm_row(&input, &weight, 1e-5, &mut truth);
            assert_eq!(fast, truth, "{columns}");
            let mut in_place = input.clone();
            rms_norm_in_place(&mut in_place, &weight, 1e-5).unwrap();
            assert_eq!(in_place, truth, "{columns}");
        }
    }

    #[test]
    fn broken_rows_are_refused() {
        assert!(rms_norm(&[1.0; 5], &[1.0; 2], 1e-5, &mut [0.0; 5]).is_err());
        assert!(rms_norm(&[1.0; 4], &[1.0; 2], 1e-5, &mut [0.0; 2]).is_err());
        assert!(rms_norm(&[1.0; 4], &[], 1e-5, &mut [0.0; 4]).is_err());
    }
}
