//! A matrix of weights on a card.

use crate::cuda::{Arg, Gpu, GpuBuffer, GpuError};
use crate::error::expect_length;
use crate::{Format, KernelError};

/// Weights `[rows, columns]`, each row a whole number of blocks, exactly as in the file, and zeros after them: kernels read
/// up to one row, or 512 columns, past the end.
pub struct GpuMatrix {
    format: Format,
    rows: usize,
    columns: usize,
    bytes: GpuBuffer<u8>,
}

impl GpuMatrix {
    /// A matrix of zeros.
    ///
    /// # Errors
    /// `Refused` if `columns` is not a whole number of blocks or a size is 0 or too large; `NoMemory`; `Driver`.
    pub fn zeroed(gpu: &Gpu, format: Format, rows: usize, columns: usize) -> Result<GpuMatrix, GpuError> {
        if columns == 0 || !columns.is_multiple_of(format.block_elements()) {
            let allowed = format!("a multiple of {} for {format:?} weights", format.block_elements());
            let (what, found) = ("columns", columns);
            return Err(KernelError::Size { what, found, allowed }.into());
        }
        // Candle's launchers count rows, columns and blocks in 32 bits with a sign.
        let most = i32::MAX as usize;
        if rows == 0 || rows > most || columns > most || file_bytes(format, rows, columns) / format.block_bytes() > most
        {
            let allowed = format!("1 to {most}, as many blocks at most");
            let (what, found) = ("rows", rows);
            return Err(KernelError::Size { what, found, allowed }.into());
        }
        Ok(GpuMatrix {
            format,
            rows,
            columns,
            bytes: gpu.zeroed("a matrix of weights", GpuMatrix::card_bytes(format, rows, columns))?,
        })
    }

    /// A matrix of a file's bytes.
    ///
    /// # Errors
    /// As [`GpuMatrix::zeroed`]; `Refused` if the bytes are not exactly the matrix's.
    pub fn from_bytes(
        gpu: &Gpu,
        format: Format,
        rows: usize,
        columns: usize,
        bytes: &[u8],
    ) -> Result<GpuMatrix, GpuError> {
        let mut matrix = GpuMatrix::zeroed(gpu, format, rows, columns)?;
        expect_length("the matrix's bytes", bytes.len(), matrix.file_bytes())?;
        gpu.upload(&mut matrix.bytes, 0, bytes)?;
        Ok(matrix)
    }

    /// Bytes that such a matrix takes on a card.
    pub fn card_bytes(format: Format, rows: usize, columns: usize) -> usize {
        file_bytes(format, rows, columns).saturating_add(file_bytes(format, 1, columns.max(super::PADDING)))
    }

    /// Bytes of the matrix in its file: the first ones of [`GpuMatrix::bytes_mut`].
    pub fn file_bytes(&self) -> usize {
        file_bytes(self.format, self.rows, self.columns)
    }

    /// Where [`Upload::send`](crate::cuda::Upload::send) puts the file's bytes; those after them stay 0.
    pub fn bytes_mut(&mut self) -> &mut GpuBuffer<u8> {
        &mut self.bytes
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

    pub(super) fn address(&self) -> u64 {
        self.bytes.address()
    }

    pub(super) fn arg(&self) -> Arg {
        self.bytes.arg()
    }
}

fn file_bytes(format: Format, rows: usize, columns: usize) -> usize {
    let row = (columns / format.block_elements()).saturating_mul(format.block_bytes());
    row.saturating_mul(rows)
}
