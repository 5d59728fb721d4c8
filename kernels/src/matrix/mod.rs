//! A matrix of weights, packed for the products while it is read.

mod part;
pub(crate) mod tile;

pub use part::Part;

use crate::error::expect_length;
use crate::format::dequantise;
use crate::storage::{Plain, Storage};
use crate::{Format, KernelError};
use tile::{TILE_ROWS, Tile, TileQ4K, TileQ6K, TileQ8_0};

/// Weights `[rows, columns]`, each row a whole number of blocks; a product with it yields `rows` values per activation row.
///
/// Q4_K, Q6_K and Q8_0 lie in tiles of sixteen rows, the last padded with zeros; other formats lie as in the file. Fill it
/// through [`PackedMatrix::parts`].
pub struct PackedMatrix {
    format: Format,
    rows: usize,
    columns: usize,
    storage: Storage,
}

/// How a format lies in memory.
#[derive(Clone, Copy)]
enum Layout {
    /// Row after row, as in the file.
    Rows { row_bytes: usize },
    /// Tiles; those of the same sixteen rows follow one another.
    Tiles { tile_bytes: usize, tile_columns: usize },
}

impl PackedMatrix {
    /// A matrix of zeros.
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
        let bytes = match layout(format, columns) {
            Layout::Rows { row_bytes } => row_bytes.checked_mul(rows),
            Layout::Tiles {
                tile_bytes,
                tile_columns,
            } => (tile_bytes * (columns / tile_columns)).checked_mul(rows.div_ceil(TILE_ROWS)),
        };
        // Offsets into the file's bytes are counted too, and these are at most as many.
        let bytes = bytes.filter(|bytes| *bytes > 0 && columns.checked_mul(rows).is_some());
        let bytes = bytes.ok_or_else(|| {
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

    /// A matrix of a file's bytes.
    ///
    /// # Errors
    /// As [`PackedMatrix::zeroed`]; `Length` if the bytes are not exactly the matrix's.
    pub fn from_bytes(format: Format, rows: usize, columns: usize, bytes: &[u8]) -> Result<PackedMatrix, KernelError> {
        let mut matrix = PackedMatrix::zeroed(format, rows, columns)?;
        expect_length("the matrix's bytes", bytes.len(), rows * matrix.source_row_bytes())?;
        for part in matrix.parts(usize::MAX) {
            let source = part.source();
            part.fill(&bytes[source])?;
        }
        Ok(matrix)
    }

    /// How the weights are stored in the file.
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

    /// Bytes that the weights take in memory.
    pub fn bytes(&self) -> usize {
        self.storage.bytes().len()
    }

    /// Bytes of one row in the file.
    pub(crate) fn source_row_bytes(&self) -> usize {
        self.columns / self.format.block_elements() * self.format.block_bytes()
    }

    /// The bytes of row `row`; the format is one that lies as in the file.
    pub(crate) fn row(&self, row: usize) -> &[u8] {
        let row_bytes = self.source_row_bytes();
        &self.storage.bytes()[row * row_bytes..(row + 1) * row_bytes]
    }

    /// The blocks of all rows; the format is one that lies as in the file.
    pub(crate) fn blocks<T: Plain>(&self) -> &[T] {
        self.storage.blocks()
    }

    /// The tiles of rows `16 * index` and following; `T` is the format's own.
    pub(crate) fn tiles<T: Tile>(&self, index: usize) -> &[T] {
        let tiles = self.columns / T::COLUMNS;
        &self.storage.blocks()[index * tiles..(index + 1) * tiles]
    }

    /// Writes the values of row `row` to `values` `[columns]`.
    pub(crate) fn read_row(&self, row: usize, values: &mut [f32]) {
        match self.format {
            Format::Q4K => self.read_row_of_tiles::<TileQ4K>(row, values),
            Format::Q6K => self.read_row_of_tiles::<TileQ6K>(row, values),
            Format::Q8_0 => self.read_row_of_tiles::<TileQ8_0>(row, values),
            _ => dequantise(self.format, self.row(row), values),
        }
    }

    fn read_row_of_tiles<T: Tile>(&self, row: usize, values: &mut [f32]) {
        let tiles = self.tiles::<T>(row / TILE_ROWS);
        for (tile, values) in tiles.iter().zip(values.chunks_exact_mut(T::COLUMNS)) {
            tile.block(row % TILE_ROWS).write(values);
        }
    }
}

fn layout(format: Format, columns: usize) -> Layout {
    match format {
        Format::Q4K => tiles::<TileQ4K>(),
        Format::Q6K => tiles::<TileQ6K>(),
        Format::Q8_0 => tiles::<TileQ8_0>(),
        _ => Layout::Rows {
            row_bytes: columns / format.block_elements() * format.block_bytes(),
        },
    }
}

fn tiles<T: Tile>() -> Layout {
    Layout::Tiles {
        tile_bytes: size_of::<T>(),
        tile_columns: T::COLUMNS,
    }
}

#[cfg(test)]
mod tests;
