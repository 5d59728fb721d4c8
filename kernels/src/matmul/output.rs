//! The product's place, which threads that own different weight rows fill in columns.

use std::sync::atomic::{AtomicU32, Ordering};

/// `[n, rows]` f32 that several threads may write at once, each its own elements.
///
/// The elements are relaxed atomics: an ordinary store on every machine, and no unsafe in who writes where.
pub(super) struct Output<'a> {
    cells: &'a [AtomicU32],
    rows: usize,
}

impl<'a> Output<'a> {
    /// Takes `values`, whose rows have `rows` elements.
    pub(super) fn new(values: &'a mut [f32], rows: usize) -> Output<'a> {
        let (start, length) = (values.as_mut_ptr().cast::<AtomicU32>(), values.len());
        // SAFETY: AtomicU32 has the size, alignment and validity of u32, and f32 has u32's; `values` is borrowed for
        // as long as the cells live, so nobody reads or writes it otherwise.
        let cells = unsafe { std::slice::from_raw_parts(start, length) };
        Output { cells, rows }
    }

    /// Sets element `row` of activation row `n`.
    #[inline]
    pub(super) fn set(&self, n: usize, row: usize, value: f32) {
        self.set_from(n, row, &[value]);
    }

    /// Sets the elements from `row` on of activation row `n`, leaving out what is past the row's end.
    #[inline]
    pub(super) fn set_from(&self, n: usize, row: usize, values: &[f32]) {
        let cells = &self.cells[n * self.rows + row..(n + 1) * self.rows];
        for (cell, value) in cells.iter().zip(values) {
            cell.store(value.to_bits(), Ordering::Relaxed);
        }
    }
}
