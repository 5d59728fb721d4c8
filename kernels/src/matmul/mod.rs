//! Products of weights `[rows, columns]` with activations `[n, columns]` -> `[n, rows]`.
//!
//! The fast twin runs weight row by weight row, so that each is read from memory once per call however many activation
//! rows there are. Every result is one dot product of one weight row and one activation row, the same function for any
//! `n`: a row's result does not depend on the rows beside it.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod fast;
mod output;
pub mod scalar;

use crate::error::{KernelError, expect_length};
use crate::{Activations, PackedMatrix};

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
    check(weights, activations, output)?;
    activations.prepare(weights.format());
    fast::matmul(weights, activations, output);
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
