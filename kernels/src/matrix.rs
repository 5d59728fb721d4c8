//! A matrix of weights in its file's own format.

use crate::error::expect_length;
use crate::format::dequantise;
use crate::storage::Storage;
use crate::{Format, KernelError};

/// Weights `[rows, columns]`, each row a whole number of blocks; a product with it yields `rows` values per activation row.
///
/// The bytes are the file's: read them straight into [`PackedMatrix::bytes_mut`].
pub struct PackedMatrix {
    format: Format,
    rows: usize,
    columns: usize,
    storage: Storage,
}

impl PackedMatrix {
    /// A matrix of zero bytes.
    ///
    /// # Errors
    /// `Size` if `columns` is not a whole number of blocks or a size is zero or overflows; `NoMemory`.
    pub fn zeroed(format: Format, rows: usize, columns: usize) -> Result<PackedMatrix, KernelError> {
        if columns == 0 || !columns.is_multiple_of(format.block_elements()) {
            let allowed = format!("a multiple of {} for {format:?} weights", format.block_elements());
            return Err(KernelError::Size {
                what: "columns",
                found: columns,
                allowed,
            });
        }
        let row_bytes = columns / format.block_elements() * format.block_bytes();
        let bytes = row_bytes.checked_mul(rows).filter(|bytes| *bytes > 0).ok_or_else(|| {
            let allowed = "at least 1 and small enough to address".to_owned();
            KernelError::Size {
                what: "rows",
                found: rows,
                allowed,
            }
        })?;
        Ok(PackedMatrix {
            format,
            rows,
            columns,
            storage: Storage::zeroed(bytes)?,
        })
    }

    /// A matrix of the bytes given.
    ///
    /// # Errors
    /// As [`PackedMatrix::zeroed`]; `Length` if the bytes are not exactly the matrix's.
    pub fn from_bytes(format: Format, rows: usize, columns: usize, bytes: &[u8]) -> Result<PackedMatrix, KernelError> {
        let mut matrix = PackedMatrix::zeroed(format, rows, columns)?;
        expect_length("the matrix's bytes", bytes.len(), matrix.bytes().len())?;
        matrix.bytes_mut().copy_from_slice(bytes);
        Ok(matrix)
    }

    /// How the weights are stored.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Values that a product yields for one activation row.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Elements of an activation row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The weights' bytes, in memory as in the file.
    pub fn bytes(&self) -> &[u8] {
        self.storage.bytes()
    }

    /// The weights' bytes, to be filled.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.storage.bytes_mut()
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Bytes of one row.
    pub(crate) fn row_bytes(&self) -> usize {
        self.columns / self.format.block_elements() * self.format.block_bytes()
    }

    /// Writes the values of row `row` to `values` `[columns]`.
    pub(crate) fn read_row(&self, row: usize, values: &mut [f32]) {
        let row_bytes = self.row_bytes();
        dequantise(
            self.format,
            &self.bytes()[row * row_bytes..(row + 1) * row_bytes],
            values,
        );
    }
}
