//! Rows of the embedding table, read where they lie quantised.

pub mod scalar;

use crate::error::{KernelError, expect_below, expect_length};
use crate::{PackedMatrix, parallel};

/// Writes the table's row of each token.
///
/// * `table`  `[vocabulary, hidden]`, any format
/// * `tokens`  `[rows]`, each below `vocabulary`
/// * `output`  `[rows, hidden]`
///
/// # Errors
/// `Range` for a token past the table; `Length` if `output` is not `[rows, hidden]`.
pub fn embedding(table: &PackedMatrix, tokens: &[u32], output: &mut [f32]) -> Result<(), KernelError> {
    for token in tokens {
        expect_below("token", *token as usize, table.rows())?;
    }
    expect_length("the embedding", output.len(), tokens.len() * table.columns())?;
    // A row costs some ten operations an element.
    let work = 10 * output.len();
    parallel::for_each_row(output, table.columns(), work, |row, values| {
        scalar::embedding_row(table, tokens[row], values);
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Format;
    use candle_core::quantized::k_quants::{
        BlockQ2K, BlockQ3K, BlockQ4_0, BlockQ4K, BlockQ5_0, BlockQ5K, BlockQ6K, BlockQ8_0, GgmlType,
    };

    /// Candle's own dequantisation of the same bytes is the outside view.
    fn check<T: GgmlType + crate::storage::Plain>(format: Format) {
        let (rows, columns) = (3, 512);
        let values: Vec<f32> = (0..rows * columns)
            .map(|i| ((i * 89 % 197) as f32 - 98.0) / 61.0)
            .collect();
        let mut blocks = vec![T::zeros(); rows * columns / T::BLCK_SIZE];
        T::from_float(&values, &mut blocks);
        let mut truth = vec![0.0; rows * columns];
        T::to_float(&blocks, &mut truth);
        let bytes = crate::storage::bytes_of(&blocks);
        let table = PackedMatrix::from_bytes(format, rows, columns, bytes).unwrap();
        let mut output = vec![0.0; 2 * columns];
        embedding(&table, &[2, 0], &mut output).unwrap();
        assert_eq!(output[..columns], truth[2 * columns..], "{format:?}");
        assert_eq!(output[columns..], truth[..columns], "{format:?}");
    }

    #[test]
    fn rows_are_what_candle_dequantises() {
        check::<BlockQ4_0>(Format::Q4_0);
        check::<BlockQ5_0>(Format::Q5_0);
        check::<BlockQ8_0>(Format::Q8_0);
        check::<BlockQ2K>(Format::Q2K);
        check::<BlockQ3K>(Format::Q3K);
        check::<BlockQ4K>(Format::Q4K);
        check::<BlockQ5K>(Format::Q5K);
        check::<BlockQ6K>(Format::Q6K);
    }

    #[test]
    fn a_token_past_the_table_is_refused() {
        let table = PackedMatrix::zeroed(Format::F16, 4, 8).unwrap();
        assert!(embedding(&table, &[3], &mut [0.0; 8]).is_ok());
        assert!(embedding(&table, &[4], &mut [0.0; 8]).is_err());
        assert!(embedding(&table, &[1], &mut [0.0; 9]).is_err());
    }
}
