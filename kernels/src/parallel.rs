//! When a job is worth spreading over threads, and how rows are dealt out.

use std::slice;

pub(crate) use crate::threads::{for_each_index, threads};

/// Below this many multiply-adds (some 20 microseconds of one core) another thread saves too little to disturb it.
pub(crate) const SPREAD_FROM: usize = 1 << 17;

/// Pieces that a job is cut into for each thread, so that an uneven or disturbed core does not hold up the others.
const PIECES: usize = 16;

/// Runs `each(row_index, row)` over the rows of `values`, on several threads if `work` (in multiply-adds) is worth it.
pub(crate) fn for_each_row(
    values: &mut [f32],
    row_elements: usize,
    work: usize,
    each: impl Fn(usize, &mut [f32]) + Sync,
) {
    if row_elements == 0 {
        return;
    }
    let rows = values.len() / row_elements;
    let threads = if work < SPREAD_FROM { 1 } else { threads() };
    let piece_rows = if threads == 1 {
        rows.max(1)
    } else {
        rows.div_ceil(PIECES * threads).max(1)
    };
    for_each_chunk(
        &mut values[..rows * row_elements],
        piece_rows * row_elements,
        |piece, values| {
            for (index, row) in values.chunks_exact_mut(row_elements).enumerate() {
                each(piece * piece_rows + index, row);
            }
        },
    );
}

/// Runs `each(chunk_index, chunk)` over chunks of `chunk_elements` (at least one), of which the last may be shorter.
pub(crate) fn for_each_chunk<T: Send>(values: &mut [T], chunk_elements: usize, each: impl Fn(usize, &mut [T]) + Sync) {
    let (start, elements) = (Start(values.as_mut_ptr()), values.len());
    for_each_index(elements.div_ceil(chunk_elements), |index| {
        let begin = index * chunk_elements;
        let length = chunk_elements.min(elements - begin);
        // SAFETY: `begin < elements`, since `index` is below the number of chunks.
        let chunk = unsafe { start.get().add(begin) };
        // SAFETY: `begin + length <= elements`; every index comes once and its chunk overlaps no other's; `values` is
        // borrowed until `for_each_index` returns, which is after the last call. T is Send, so any thread may have it.
        each(index, unsafe { slice::from_raw_parts_mut(chunk, length) });
    });
}

/// Where the values begin, for threads that each make a slice of its own part.
struct Start<T>(*mut T);

// SAFETY: only `for_each_chunk` has one, and says why the slices made from it do not overlap.
unsafe impl<T: Send> Sync for Start<T> {}

impl<T> Start<T> {
    fn get(&self) -> *mut T {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Threads;

    #[test]
    fn chunks_cover_a_slice_once_whatever_its_length() {
        let threads = Threads::new(3).unwrap();
        for elements in [0, 1, 2, 7, 63, 64, 65, 1000] {
            for chunk_elements in [1, 2, 3, 64, 2000] {
                let mut values = vec![0; elements];
                threads.run(|| {
                    for_each_chunk(&mut values, chunk_elements, |index, chunk| {
                        let is_last = (index + 1) * chunk_elements >= elements;
                        assert!(
                            is_last || chunk.len() == chunk_elements,
                            "chunk {index}: {}",
                            chunk.len()
                        );
                        for (offset, value) in chunk.iter_mut().enumerate() {
                            *value += index * chunk_elements + offset + 1;
                        }
                    });
                });
                let truth: Vec<usize> = (1..=elements).collect();
                assert_eq!(values, truth, "{elements} by {chunk_elements}");
            }
        }
    }

    #[test]
    fn every_row_is_visited_once_whether_spread_or_not() {
        let threads = Threads::new(4).unwrap();
        for (rows, row_elements) in [(0, 3), (1, 5), (2, 1), (17, 3), (257, 2), (3, 0)] {
            for work in [0, SPREAD_FROM - 1, SPREAD_FROM] {
                let mut values = vec![0.0; rows * row_elements];
                threads.run(|| {
                    for_each_row(&mut values, row_elements, work, |index, row| {
                        row.iter_mut().for_each(|value| *value += index as f32 + 1.0);
                    });
                });
                let truth: Vec<f32> = (0..rows * row_elements)
                    .map(|index| (index / row_elements + 1) as f32)
                    .collect();
                assert_eq!(values, truth, "{rows} rows of {row_elements}, work {work}");
            }
        }
    }
}
