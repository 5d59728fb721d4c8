//! Which rows and heads of a matrix a device holds when all of them share every matrix.

use std::ops::Range;

/// Rows that lie in one tile of packed weights: a part begins at a tile.
pub const TILE_ROWS: usize = 16;

/// The rows of part `part` of `parts`, whole tiles but for the last of all; parts differ by one tile at most.
pub fn rows_of(rows: usize, part: usize, parts: usize) -> Range<usize> {
    let tiles = share_of(rows.div_ceil(TILE_ROWS), part, parts);
    let edge = |tile: usize| tile.saturating_mul(TILE_ROWS).min(rows);
    edge(tiles.start)..edge(tiles.end)
}

/// The key and value heads of part `part` of `parts`; parts differ by one head at most.
pub fn heads_of(kv_heads: usize, part: usize, parts: usize) -> Range<usize> {
    share_of(kv_heads, part, parts)
}

fn share_of(count: usize, part: usize, parts: usize) -> Range<usize> {
    let edge = |part: usize| {
        let product = count as u128 * part.min(parts) as u128;
        usize::try_from(product / (parts as u128).max(1)).unwrap_or(usize::MAX)
    };
    edge(part)..edge(part.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other_and_cover_everything_once() {
        for count in [1, 15, 16, 17, 300, 27_648, 152_064] {
            for parts in 1..=9 {
                let mut next = 0;
                for part in 0..parts {
                    let (rows, heads) = (rows_of(count, part, parts), heads_of(count, part, parts));
                    assert_eq!(rows.start, next, "{count} in {parts}");
                    assert!(rows.start % TILE_ROWS == 0 || rows.start == count);
                    assert!(heads.len() >= count / parts && heads.len() <= count.div_ceil(parts));
                    next = rows.end;
                }
                assert_eq!(next, count);
                assert_eq!(heads_of(count, parts - 1, parts).end, count);
            }
        }
    }

    #[test]
    fn the_32bs_sizes_split_evenly_over_two() {
        for rows in [5120, 27_648, 152_064] {
            assert_eq!(rows_of(rows, 0, 2), 0..rows / 2);
        }
        assert_eq!(heads_of(8, 1, 2), 4..8);
        assert_eq!(heads_of(8, 0, 3), 0..2);
    }

    #[test]
    fn a_part_past_the_last_and_huge_counts_are_no_overflow() {
        assert!(rows_of(160, 7, 2).is_empty());
        assert_eq!(rows_of(usize::MAX, 1, 2).end, usize::MAX);
        assert!(heads_of(usize::MAX, usize::MAX, 3).is_empty());
    }
}
