//! How the rows of a step are dealt out to blocks of the card. It follows from the rows' places alone, so that one plan
//! serves all layers.

use std::cmp::Reverse;
use std::ops::Range;

/// Tokens that one block of the decode kernel goes through; `RANGE` in `decode.cuh`.
pub(super) const RANGE_TOKENS: usize = 256;
/// Pairs of a row and a query head that one block of the prefill kernel takes; `PAIRS` in `prefill.cuh`.
pub(super) const TILE_PAIRS: usize = 64;
/// From so many rows of one sequence on they go through the prefill kernel.
pub(super) const SEGMENT_ROWS_MIN: usize = 16;

/// The most of a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Query heads that share a key head.
    pub(super) group: usize,
    /// Whether there is a prefill kernel for the head's length.
    pub(super) has_tiles: bool,
    pub(super) rows: usize,
    pub(super) context_tokens: usize,
    /// Ranges whose sums there is room for at a time.
    pub(super) ranges: usize,
}

impl Limits {
    /// Tiles and ranges and merges of the worst step, in words.
    pub(super) fn words(self) -> usize {
        3 * self.tiles() + 2 * self.rows * self.row_ranges() + 3 * self.rows
    }

    /// Tiles of the worst step: every segment may end in one that is not full.
    fn tiles(self) -> usize {
        (self.rows * self.group).div_ceil(TILE_PAIRS) + self.rows / SEGMENT_ROWS_MIN
    }

    /// Ranges of a row at the context's end.
    pub(super) fn row_ranges(self) -> usize {
        self.context_tokens.div_ceil(RANGE_TOKENS)
    }
}

/// Rows whose ranges have their sums beside each other at one time.
pub(super) struct Batch {
    pub(super) ranges: Range<usize>,
    pub(super) merges: Range<usize>,
}

/// What the kernels read: see their arguments.
pub(super) struct Plan {
    limits: Limits,
    /// First row, rows, first pair of each tile.
    pub(super) tiles: Vec<[u32; 3]>,
    /// Row and number of each range.
    pub(super) ranges: Vec<[u32; 2]>,
    /// Row, place of its first range in its batch, and ranges of each row that is merged.
    pub(super) merges: Vec<[u32; 3]>,
    pub(super) batches: Vec<Batch>,
}

impl Plan {
    /// For no rows yet; nothing grows later.
    pub(super) fn new(limits: Limits) -> Plan {
        Plan {
            limits,
            tiles: Vec::with_capacity(limits.tiles()),
            ranges: Vec::with_capacity(limits.rows * limits.row_ranges()),
            merges: Vec::with_capacity(limits.rows),
            batches: Vec::with_capacity(limits.rows),
        }
    }

    /// Deals out the rows; the caller has checked that they are within the limits.
    pub(super) fn set(&mut self, positions: &[u32], table_starts: &[u32]) {
        self.tiles.clear();
        self.ranges.clear();
        self.merges.clear();
        self.batches.clear();
        let mut first = 0;
        while first < positions.len() {
            let rows = segment(&positions[first..], &table_starts[first..]);
            if self.limits.has_tiles && rows >= SEGMENT_ROWS_MIN {
                self.add_tiles(first, rows);
            } else {
                (first..first + rows).for_each(|row| self.add_ranges(row, positions[row]));
            }
            first += rows;
        }
        // The tiles with most to read first: so they do not run alone at the end.
        let group = self.limits.group;
        let last_position = |tile: &[u32; 3]| {
            let last_pair = (tile[2] as usize + TILE_PAIRS).min(tile[1] as usize * group) - 1;
            positions[tile[0] as usize + last_pair / group]
        };
        self.tiles
            .sort_unstable_by_key(|tile| (Reverse(last_position(tile)), *tile));
    }

    fn add_tiles(&mut self, first: usize, rows: usize) {
        let pairs = (0..rows * self.limits.group).step_by(TILE_PAIRS);
        self.tiles
            .extend(pairs.map(|pair| [first as u32, rows as u32, pair as u32]));
    }

    fn add_ranges(&mut self, row: usize, position: u32) {
        let count = position as usize / RANGE_TOKENS + 1;
        let (range, merge) = (self.ranges.len(), self.merges.len());
        let fits = |batch: &Batch| batch.ranges.len() + count <= self.limits.ranges;
        if !self.batches.last().is_some_and(fits) {
            self.batches.push(Batch {
                ranges: range..range,
                merges: merge..merge,
            });
        }
        if let Some(batch) = self.batches.last_mut() {
            let place = batch.ranges.len();
            batch.ranges.end += count;
            batch.merges.end += 1;
            self.merges.push([row as u32, place as u32, count as u32]);
        }
        self.ranges.extend((0..count).map(|number| [row as u32, number as u32]));
    }

    /// Everything, one after another: tiles, ranges, merges.
    pub(super) fn pack(&self, words: &mut Vec<u32>) {
        words.clear();
        words.extend_from_slice(self.tiles.as_flattened());
        words.extend_from_slice(self.ranges.as_flattened());
        words.extend_from_slice(self.merges.as_flattened());
    }
}

/// How many rows from the first on follow each other in one sequence.
fn segment(positions: &[u32], table_starts: &[u32]) -> usize {
    let follows = |index: &usize| {
        table_starts[*index] == table_starts[index - 1] && positions[*index] == positions[index - 1] + 1
    };
    1 + (1..positions.len()).take_while(follows).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        group: 5,
        has_tiles: true,
        rows: 64,
        context_tokens: 2048,
        ranges: 10,
    };

    #[test]
    fn long_segments_become_tiles_and_the_rest_ranges() {
        let mut plan = Plan::new(LIMITS);
        let positions: Vec<u32> = (100..116).chain([700, 3, 4]).chain(255..271).collect();
        let starts: Vec<u32> = [vec![0; 16], vec![9], vec![60, 60], vec![77; 16]].concat();
        plan.set(&positions, &starts);
        // 16 rows of 5 heads are 80 pairs: 64 and 16.
        assert_eq!(plan.tiles, [[19, 16, 64], [19, 16, 0], [0, 16, 64], [0, 16, 0]]);
        assert_eq!(plan.ranges, [[16, 0], [16, 1], [16, 2], [17, 0], [18, 0]]);
        assert_eq!(plan.merges, [[16, 0, 3], [17, 3, 1], [18, 4, 1]]);
        assert_eq!(plan.batches.len(), 1);
    }

    #[test]
    fn more_ranges_than_room_take_turns() {
        let mut plan = Plan::new(LIMITS);
        plan.set(&[2047, 511, 0, 1024], &[0, 1, 2, 3]);
        assert_eq!(plan.merges, [[0, 0, 8], [1, 8, 2], [2, 0, 1], [3, 1, 5]]);
        let batches: Vec<_> = plan
            .batches
            .iter()
            .map(|batch| (batch.ranges.clone(), batch.merges.clone()))
            .collect();
        assert_eq!(batches, [(0..10, 0..2), (10..16, 2..4)]);
    }

    #[test]
    fn no_step_needs_more_than_its_limits() {
        for has_tiles in [true, false] {
            let mut plan = Plan::new(Limits { has_tiles, ..LIMITS });
            for run in [1, 15, 16, 17, 64] {
                let positions: Vec<u32> = (0..64).map(|row| 2048 - run + row % run).collect();
                let starts: Vec<u32> = (0..64).map(|row| row / run).collect();
                plan.set(&positions, &starts);
                let mut words = Vec::new();
                plan.pack(&mut words);
                assert!(words.len() <= LIMITS.words(), "runs of {run}");
                assert!(plan.batches.iter().all(|batch| batch.ranges.len() <= LIMITS.ranges));
            }
        }
    }
}
