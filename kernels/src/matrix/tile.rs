//! Sixteen weight rows interleaved: what one load of the products takes from each row lies side by side.
//!
//! A tile holds one block of columns of [`TILE_ROWS`] rows. Its quants keep the 32-bit words of the rows' own blocks, word 0
//! of all rows first, then word 1: a 512-bit load has four columns of 16 rows, a 256-bit load those of 8 rows, and a
//! product with a broadcast word of activations adds up one lane per row. Nothing is summed across lanes, and each row's
//! sums have the same order in every instruction set. A tile takes about the bytes of the blocks that it was made of.

use half::f16;

use crate::format::{self, Block};
use crate::storage::Plain;

/// Weight rows of a tile.
pub(crate) const TILE_ROWS: usize = 16;

/// The same 32-bit word of sixteen rows.
pub(crate) type Words = [[u8; 4]; TILE_ROWS];

/// One block of columns of sixteen rows.
pub(crate) trait Tile: Plain {
    /// Columns of a tile.
    const COLUMNS: usize;
    /// Bytes of one row's block in the file.
    const BLOCK_BYTES: usize;

    /// Puts a file's block in the place of row `row`.
    fn put(&mut self, row: usize, block: &[u8]);

    /// The block of row `row`, in the common form.
    fn block(&self, row: usize) -> Block;
}

/// Q4_K: 4.63 bits a weight.
#[repr(C, align(64))]
pub(crate) struct TileQ4K {
    /// `[4, 8]`: columns 64c + 4g to 64c + 4g + 3 in the low nibbles, those 32 further in the high ones.
    pub(crate) quants: [[Words; 8]; 4],
    /// One per 32 columns.
    pub(crate) scales: [[u8; TILE_ROWS]; 8],
    /// Two, of neighbouring groups of 32 columns, per row.
    pub(crate) minimums: [[[u8; 2]; TILE_ROWS]; 4],
    /// Multiplies the scales, f16.
    pub(crate) scale: [u16; TILE_ROWS],
    /// Multiplies the minimums, f16.
    pub(crate) minimum: [u16; TILE_ROWS],
}

/// Q6_K: 6.63 bits a weight. The weights are 32 less than their quants.
#[repr(C, align(64))]
pub(crate) struct TileQ6K {
    /// `[16, 3]`: columns 16g + 4i to 16g + 4i + 3 in the low six bits; their top two bits are bits 2i and 2i + 1 of columns
    /// 16g + 12 to 16g + 15.
    pub(crate) quants: [[Words; 3]; 16],
    /// Two, of neighbouring groups of 16 columns, per row.
    pub(crate) scales: [[[i8; 2]; TILE_ROWS]; 8],
    /// Multiplies the scales, f16.
    pub(crate) scale: [u16; TILE_ROWS],
    /// Keeps tiles on cache lines.
    unused: [u8; 32],
}

/// Q8_0: 8.5 bits a weight.
#[repr(C, align(32))]
pub(crate) struct TileQ8_0 {
    /// Columns 4g to 4g + 3, signed.
    pub(crate) quants: [Words; 8],
    /// Multiplies the quants, f16.
    pub(crate) scale: [u16; TILE_ROWS],
}

/// The little-endian f16 at the start of `bytes`, as its bits.
fn half_bits(bytes: &[u8]) -> u16 {
    u16::from_le_bytes([bytes[0], bytes[1]])
}

/// Copies the words of one row's `bytes` to their places.
fn put_words<'a>(places: impl Iterator<Item = &'a mut Words>, row: usize, bytes: &[u8]) {
    for (words, word) in places.zip(bytes.as_chunks::<4>().0) {
        words[row] = *word;
    }
}

impl Tile for TileQ4K {
    const COLUMNS: usize = 256;
    const BLOCK_BYTES: usize = 144;

    fn put(&mut self, row: usize, block: &[u8]) {
        put_words(self.quants.as_flattened_mut().iter_mut(), row, &block[16..144]);
        for group in 0..8 {
            let (scale, minimum) = format::scale_and_minimum(&block[4..16], group);
            self.scales[group][row] = scale;
            self.minimums[group / 2][row][group % 2] = minimum;
        }
        self.scale[row] = half_bits(block);
        self.minimum[row] = half_bits(&block[2..]);
    }

    fn block(&self, row: usize) -> Block {
        let mut block = Block::scaled(
            f16::from_bits(self.scale[row]).to_f32(),
            f16::from_bits(self.minimum[row]).to_f32(),
        );
        for group in 0..16 {
            block.group_scales[group] = i32::from(self.scales[group / 2][row]);
            block.group_minimums[group] = i32::from(self.minimums[group / 4][row][group / 2 % 2]);
        }
        for (column, quant) in block.quants.iter_mut().enumerate() {
            let byte = self.quants[column / 64][column % 32 / 4][row][column % 4];
            *quant = i32::from(if column % 64 < 32 { byte & 15 } else { byte >> 4 });
        }
        block
    }
}

impl Tile for TileQ6K {
    const COLUMNS: usize = 256;
    const BLOCK_BYTES: usize = 210;

    fn put(&mut self, row: usize, block: &[u8]) {
        let word = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
        for (group, words) in self.quants.iter_mut().enumerate() {
            let (half, k) = (group / 8, group / 2 % 4);
            let columns: [u32; 4] = std::array::from_fn(|i| {
                let at = 16 * (group % 2) + 4 * i;
                let low = word(64 * half + 32 * (k % 2) + at) >> (4 * (k / 2));
                let high = word(128 + 32 * half + at) >> (2 * k);
                low & 0x0f0f_0f0f | (high & 0x0303_0303) << 4
            });
            for (i, words) in words.iter_mut().enumerate() {
                let top = (columns[3] >> (2 * i)) & 0x0303_0303;
                words[row] = (columns[i] | top << 6).to_le_bytes();
            }
        }
        for (pair, scales) in block[192..208].as_chunks::<2>().0.iter().enumerate() {
            self.scales[pair][row] = scales.map(|scale| scale as i8);
        }
        self.scale[row] = half_bits(&block[208..]);
    }

    fn block(&self, row: usize) -> Block {
        let mut block = Block::scaled(f16::from_bits(self.scale[row]).to_f32(), 0.0);
        for (group, scale) in block.group_scales.iter_mut().enumerate() {
            *scale = i32::from(self.scales[group / 2][row][group % 2]);
        }
        for (column, quant) in block.quants.iter_mut().enumerate() {
            let (words, i) = (&self.quants[column / 16], column % 16 / 4);
            let byte = |word: usize| i32::from(words[word][row][column % 4]);
            *quant = match i {
                3 => byte(0) >> 6 | (byte(1) >> 6) << 2 | (byte(2) >> 6) << 4,
                _ => byte(i) & 63,
            } - 32;
        }
        block
    }
}

impl Tile for TileQ8_0 {
    const COLUMNS: usize = 32;
    const BLOCK_BYTES: usize = 34;

    fn put(&mut self, row: usize, block: &[u8]) {
        put_words(self.quants.iter_mut(), row, &block[2..34]);
        self.scale[row] = half_bits(block);
    }

    fn block(&self, row: usize) -> Block {
        let mut block = Block::scaled(f16::from_bits(self.scale[row]).to_f32(), 0.0);
        block.group_scales[..2].fill(1);
        for (column, quant) in block.quants[..32].iter_mut().enumerate() {
            *quant = i32::from(self.quants[column / 4][row][column % 4] as i8);
        }
        block
    }
}

/// Packs the rows of `source`, at most sixteen of whole blocks each, into the tiles of their columns.
pub(crate) fn pack<T: Tile>(tiles: &mut [T], source: &[u8]) {
    let row_bytes = tiles.len() * T::BLOCK_BYTES;
    for (index, tile) in tiles.iter_mut().enumerate() {
        for (row, bytes) in source.chunks_exact(row_bytes).enumerate() {
            tile.put(row, &bytes[index * T::BLOCK_BYTES..(index + 1) * T::BLOCK_BYTES]);
        }
    }
}

const _: () = {
    assert!(size_of::<TileQ4K>() * 8 * 10 <= TILE_ROWS * 256 * 47);
    assert!(size_of::<TileQ6K>() * 8 * 10 <= TILE_ROWS * 256 * 67);
    assert!(size_of::<TileQ8_0>() == TILE_ROWS * 34);
};
