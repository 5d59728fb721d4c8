//! Pieces of a matrix that threads fill at the same time, each from its own bytes of the file.

use std::ops::Range;

use super::tile::{self, TILE_ROWS, Tile, TileQ4K, TileQ6K, TileQ8_0};
use super::{Layout, PackedMatrix, layout};
use crate::error::expect_length;
use crate::storage::blocks_mut;
use crate::{Format, KernelError};

/// Some rows of a matrix, to be filled.
pub struct Part<'a> {
    format: Format,
    columns: usize,
    source: Range<usize>,
    place: &'a mut [u8],
}

impl PackedMatrix {
    /// The matrix in parts of about `bytes` bytes of the file, at least sixteen rows.
    pub fn parts(&mut self, bytes: usize) -> impl Iterator<Item = Part<'_>> {
        let (format, columns) = (self.format, self.columns);
        let row_bytes = self.source_row_bytes();
        let total = self.rows * row_bytes;
        let groups = (bytes / (TILE_ROWS * row_bytes)).clamp(1, self.rows.div_ceil(TILE_ROWS));
        let group_bytes = match layout(format, columns) {
            Layout::Rows { row_bytes } => row_bytes * TILE_ROWS,
            Layout::Tiles {
                tile_bytes,
                tile_columns,
            } => tile_bytes * (columns / tile_columns),
        };
        let source_bytes = groups * TILE_ROWS * row_bytes;
        let places = self.storage.bytes_mut().chunks_mut(groups * group_bytes);
        places.enumerate().map(move |(index, place)| Part {
            format,
            columns,
            source: index * source_bytes..total.min((index + 1) * source_bytes),
            place,
        })
    }
}

impl Part<'_> {
    /// Where the part's bytes are in the file's tensor.
    pub fn source(&self) -> Range<usize> {
        self.source.clone()
    }

    /// Packs the part.
    ///
    /// * `source`  the bytes of [`Part::source`]
    ///
    /// # Errors
    /// `Length` if they are not as many.
    pub fn fill(self, source: &[u8]) -> Result<(), KernelError> {
        expect_length("the part's bytes", source.len(), self.source.len())?;
        match self.format {
            Format::Q4K => self.pack::<TileQ4K>(source),
            Format::Q6K => self.pack::<TileQ6K>(source),
            Format::Q8_0 => self.pack::<TileQ8_0>(source),
            _ => self.place.copy_from_slice(source),
        }
        Ok(())
    }

    fn pack<T: Tile>(self, source: &[u8]) {
        let tiles = self.columns / T::COLUMNS;
        let sources = source.chunks(TILE_ROWS * tiles * T::BLOCK_BYTES);
        for (tiles, source) in blocks_mut::<T>(self.place).chunks_exact_mut(tiles).zip(sources) {
            tile::pack(tiles, source);
        }
    }
}
