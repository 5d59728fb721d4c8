//! What is read back is what the file had, whatever the number of rows and the size of the parts.

use super::*;
use crate::format::Block;

/// Bytes without a pattern.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

#[test]
fn a_tile_gives_back_every_block_that_was_put_in() {
    fn check<T: Tile>(format: Format, rows: usize, blocks: usize) {
        let bytes = noise(rows * blocks * format.block_bytes());
        let matrix = PackedMatrix::from_bytes(format, rows, blocks * T::COLUMNS, &bytes).unwrap();
        for (index, bytes) in bytes.chunks_exact(format.block_bytes()).enumerate() {
            let (row, block) = (index / blocks, index % blocks);
            let found = matrix.tiles::<T>(row / TILE_ROWS)[block].block(row % TILE_ROWS);
            // As text, in which a scale that is not a number equals itself.
            let (found, truth) = (format!("{found:?}"), format!("{:?}", Block::read(format, bytes)));
            assert_eq!(found, truth, "{format:?} row {row} block {block}");
        }
    }
    for (rows, blocks) in [(1, 1), (15, 3), (16, 2), (17, 1), (50, 2)] {
        check::<TileQ4K>(Format::Q4K, rows, blocks);
        check::<TileQ6K>(Format::Q6K, rows, blocks);
        check::<TileQ8_0>(Format::Q8_0, rows, blocks);
    }
}

#[test]
fn parts_cover_the_matrix_once() {
    for format in Format::ALL {
        let (rows, columns) = (50, 2 * format.block_elements());
        let mut matrix = PackedMatrix::zeroed(format, rows, columns).unwrap();
        let row_bytes = matrix.source_row_bytes();
        let bytes = noise(rows * row_bytes);
        for asked in [0, 1, 16 * row_bytes, 33 * row_bytes, usize::MAX] {
            let mut end = 0;
            for part in matrix.parts(asked) {
                let source = part.source();
                assert_eq!(source.start, end, "{format:?}, parts of {asked}");
                end = source.end;
                part.fill(&bytes[source]).unwrap();
            }
            assert_eq!(end, bytes.len(), "{format:?}, parts of {asked}");
        }
        let whole = PackedMatrix::from_bytes(format, rows, columns, &bytes).unwrap();
        assert_eq!(matrix.storage.bytes(), whole.storage.bytes(), "{format:?}");
    }
}

#[test]
fn a_part_takes_exactly_its_own_bytes() {
    let mut matrix = PackedMatrix::zeroed(Format::Q4K, 20, 256).unwrap();
    let part = matrix.parts(1).last().unwrap();
    assert_eq!(part.source(), 16 * 144..20 * 144);
    assert!(part.fill(&[0; 16 * 144]).is_err());
}

#[test]
fn packed_weights_take_about_the_bytes_of_the_file() {
    for (format, bits) in [(Format::Q4K, 4.7), (Format::Q6K, 6.7), (Format::Q8_0, 8.5)] {
        let matrix = PackedMatrix::zeroed(format, 1536, 8960).unwrap();
        assert!(matrix.bytes() as f64 * 8.0 <= bits * 1536.0 * 8960.0, "{format:?}");
    }
}
