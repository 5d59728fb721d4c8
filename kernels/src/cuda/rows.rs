//! The rows of one step, described on the card: where each is in its sequence, and where the sequence's blocks are.

use super::{Arg, Gpu, GpuBuffer, GpuError};
use crate::BLOCK_TOKENS;
use crate::KernelError;
use crate::attention::Row;
use crate::error::expect_below;

/// The rows of a step. Uploaded once, in one copy, and shared by all layers and operations.
///
/// On the card, one u32 after another:
/// * positions `[rows]`
/// * table starts `[rows]`: where in the tables the row's own begins
/// * tables, one after another: block of position p is `tables[start + p / 16]`; rows of one sequence share theirs
pub struct GpuRows {
    rows_max: usize,
    pub(super) words: GpuBuffer<u32>,
    packed: Vec<u32>,
    positions: Vec<u32>,
    table_starts: Vec<u32>,
    blocks_end: usize,
}

impl GpuRows {
    /// Room for steps of up to `rows_max` rows whose tables have up to `table_blocks_max` blocks together.
    ///
    /// # Errors
    /// `NoMemory`; `Driver`.
    pub fn new(gpu: &Gpu, rows_max: usize, table_blocks_max: usize) -> Result<GpuRows, GpuError> {
        let words = 2 * rows_max + table_blocks_max;
        Ok(GpuRows {
            rows_max,
            words: gpu.zeroed("the rows of a step", words)?,
            packed: Vec::with_capacity(words),
            positions: Vec::with_capacity(rows_max),
            table_starts: Vec::with_capacity(rows_max),
            blocks_end: 0,
        })
    }

    /// Takes the rows of a step; neighbours that show the same table (the same slice) share it.
    ///
    /// # Errors
    /// `Refused` if there are more rows or table blocks than room, or a position is past its table.
    pub fn set(&mut self, gpu: &Gpu, rows: &[Row<'_>]) -> Result<(), GpuError> {
        expect_below(
            "the step's last row",
            rows.len().saturating_sub(1),
            self.rows_max.max(1),
        )?;
        self.positions.clear();
        self.table_starts.clear();
        self.blocks_end = 0;
        let mut tables: Vec<&[u32]> = Vec::new();
        let mut end = 0;
        for row in rows {
            expect_below(
                "block of the position",
                row.position / BLOCK_TOKENS,
                row.block_table.len(),
            )?;
            if !tables.last().is_some_and(|last| std::ptr::eq(*last, row.block_table)) {
                tables.push(row.block_table);
                end += row.block_table.len();
            }
            self.positions.push(narrow("the position", row.position)?);
            self.table_starts
                .push(narrow("the table's start", end - row.block_table.len())?);
            let seen = &row.block_table[..=row.position / BLOCK_TOKENS];
            let last = seen.iter().max().copied().unwrap_or(0) as usize;
            self.blocks_end = self.blocks_end.max(last + 1);
        }
        self.packed.clear();
        self.packed.extend_from_slice(&self.positions);
        self.packed.extend_from_slice(&self.table_starts);
        tables.iter().for_each(|table| self.packed.extend_from_slice(table));
        expect_below(
            "the step's last table block",
            self.packed.len().saturating_sub(1),
            self.words.len().max(1),
        )?;
        gpu.upload(&mut self.words, 0, &self.packed)
    }

    /// Rows of the step.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Whether the step has none.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// The rows' positions, as on the card.
    pub fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// Where each row's table starts, as on the card; equal for rows of one sequence.
    pub fn table_starts(&self) -> &[u32] {
        &self.table_starts
    }

    /// Passes if the rows point at blocks below `blocks` only.
    pub(crate) fn expect_blocks(&self, blocks: usize) -> Result<(), GpuError> {
        if self.blocks_end > blocks {
            expect_below("block", self.blocks_end - 1, blocks)?;
        }
        Ok(())
    }

    /// `const uint32_t *positions`.
    pub(crate) fn positions_arg(&self) -> Arg {
        self.words.arg()
    }

    /// `const uint32_t *table_starts`.
    pub(crate) fn table_starts_arg(&self) -> Arg {
        self.words.arg_at(self.len())
    }

    /// `const uint32_t *tables`.
    pub(crate) fn tables_arg(&self) -> Arg {
        self.words.arg_at(2 * self.len())
    }
}

/// A size as kernels take it.
pub(crate) fn narrow(what: &'static str, value: usize) -> Result<u32, GpuError> {
    let refused = |_| KernelError::Range {
        what,
        found: value,
        limit: u32::MAX as usize,
    };
    Ok(u32::try_from(value).map_err(refused)?)
}
