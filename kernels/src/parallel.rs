//! When a job is worth spreading over threads, and how rows are dealt out.

use rayon::prelude::*;

/// Below this many multiply-adds (some 20 microseconds of one core) waking another thread costs more than it saves.
pub(crate) const SPREAD_FROM: usize = 1 << 17;

/// Runs `each(row_index, row)` over the rows of `values`, on several threads if `work` (in multiply-adds) is worth it.
pub(crate) fn for_each_row(
    values: &mut [f32],
    row_elements: usize,
    work: usize,
    each: impl Fn(usize, &mut [f32]) + Sync + Send,
) {
    if row_elements == 0 {
        return;
    }
    if work < SPREAD_FROM || values.len() == row_elements {
        values
            .chunks_exact_mut(row_elements)
            .enumerate()
            .for_each(|(index, row)| each(index, row));
    } else {
        values
            .par_chunks_exact_mut(row_elements)
            .enumerate()
            .for_each(|(index, row)| each(index, row));
    }
}
