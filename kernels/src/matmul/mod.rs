//! Activations times a matrix of weights: `output[n][row]` is the sum over the columns of `activations[n][column]` times
//! `weights[row][column]`.
//!
//! Integers are added up exactly within a block, then the blocks' sums in their order, so that every twin gives the same
//! bits, and a row's result does not depend on the rows beside it.

#[cfg(target_arch = "x86_64")]
mod ahead;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(any(feature = "cuda", feature = "cuda-emulator"))]
pub mod cuda;
mod output;
mod rows;
pub mod scalar;
mod spread;
mod tiles;

use crate::error::{KernelError, expect_length};
use crate::{Activations, PackedMatrix, Simd};

/// Writes `activations` times `weights` transposed.
///
/// * `weights`  `[rows, columns]`, any format
/// * `activations`  `[n, columns]`
/// * `output`  `[n, rows]`
///
/// With quantised weights the activations are rounded to 8 bits first, and the groups' products are exact integers.
///
/// # Errors
/// `Size` if the columns differ; `Length` if `output` is not `[n, rows]`.
pub fn matmul(weights: &PackedMatrix, activations: &mut Activations, output: &mut [f32]) -> Result<(), KernelError> {
    matmul_each([(weights, output)], activations)
}

/// As [`matmul`] with several matrices at once: the activations are rounded once, and the threads meet once.
///
/// # Errors
/// As [`matmul`], before anything is computed.
pub fn matmul_each<const N: usize>(
    products: [(&PackedMatrix, &mut [f32]); N],
    activations: &mut Activations,
) -> Result<(), KernelError> {
    for (weights, output) in &products {
        check(weights, activations, output)?;
    }
    for (weights, _) in &products {
        activations.prepare(weights.format());
    }
    spread::run(products.map(spread::Product::new), activations, Simd::in_use());
    Ok(())
}

fn check(weights: &PackedMatrix, activations: &Activations, output: &[f32]) -> Result<(), KernelError> {
    if weights.columns() != activations.columns() {
        let allowed = format!("{}, the weights' columns", weights.columns());
        return Err(KernelError::Size {
            what: "the activations' row length",
            found: activations.columns(),
            allowed,
        });
    }
    expect_length("the product", output.len(), activations.rows() * weights.rows())
}

#[cfg(test)]
mod tests;
