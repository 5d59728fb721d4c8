//! Element by element additions: the residual and the biases.

#[cfg(any(feature = "cuda", feature = "cuda-emulator"))]
pub mod cuda;

use crate::error::{KernelError, expect_length};

/// Adds `values` to `sums`.
///
/// # Errors
/// `Length` if their lengths differ.
pub fn add(sums: &mut [f32], values: &[f32]) -> Result<(), KernelError> {
    expect_length("the addend", values.len(), sums.len())?;
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    Ok(())
}

/// Adds `bias` `[columns]` to every row of `rows` `[n, columns]`.
///
/// # Errors
/// `Length` if `rows` is not whole rows of the bias's length.
pub fn add_bias(rows: &mut [f32], bias: &[f32]) -> Result<(), KernelError> {
    let whole = rows.len() / bias.len().max(1) * bias.len();
    expect_length("the biased rows", rows.len(), whole)?;
    for row in rows.chunks_exact_mut(bias.len().max(1)) {
        row.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_gets_the_bias() {
        let mut rows = [1.0, 2.0, 3.0, 4.0];
        add_bias(&mut rows, &[10.0, 20.0]).unwrap();
        assert_eq!(rows, [11.0, 22.0, 13.0, 24.0]);
        add(&mut rows, &[1.0, 0.0, 0.0, -4.0]).unwrap();
        assert_eq!(rows, [12.0, 22.0, 13.0, 20.0]);
        assert!(add_bias(&mut rows, &[1.0; 3]).is_err());
        assert!(add_bias(&mut rows, &[]).is_err());
        assert!(add(&mut rows, &[1.0; 3]).is_err());
    }
}
