//! A step's segments as flat rows, checked against the model's sizes and owned, so that they can go from device to device.

use std::ops::Range;

use engine::{BLOCK_TOKENS, ModelError, ModelShape, Segment, Wanted};
use kernels::attention::Row;

/// The rows of a step, segment after segment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batch {
    pub(crate) tokens: Vec<u32>,           // [rows]
    pub(crate) positions: Vec<u32>,        // [rows]
    pub(crate) segments: Vec<SegmentRows>, // [segments]
    pub(crate) tables: Vec<u32>,           // [the segments' blocks, one segment after another]
    pub(crate) wanted: Vec<usize>,         // rows whose logits are wanted
    pub(crate) states: Vec<usize>,         // rows whose state after the final norm is wanted
}

/// Consecutive rows of one sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentRows {
    pub(crate) rows: Range<usize>,
    /// Its block table, of [`Batch::tables`].
    pub(crate) table: Range<usize>,
}

impl Batch {
    /// Flattens `segments`.
    ///
    /// # Errors
    /// A segment that contradicts `shape`: a mistake of the engine, told apart from the model's own.
    pub(crate) fn new(segments: &[Segment<'_>], shape: ModelShape) -> Result<Batch, ModelError> {
        let mut batch = Batch::default();
        batch.add(segments, shape, 0)?;
        Ok(batch)
    }

    /// Adds the segments of one engine, whose blocks begin at `first_block` of the pool that several engines share.
    ///
    /// # Errors
    /// As [`Batch::new`].
    pub(crate) fn add(
        &mut self,
        segments: &[Segment<'_>],
        shape: ModelShape,
        first_block: u32,
    ) -> Result<(), ModelError> {
        for segment in segments {
            let table = check(segment, shape).map_err(ModelError)?;
            let (row, entry) = (self.tokens.len(), self.tables.len());
            self.tokens.extend_from_slice(segment.tokens);
            for position in segment.first_position..segment.first_position + segment.tokens.len() {
                let position = u32::try_from(position).map_err(|error| ModelError(error.to_string()))?;
                self.positions.push(position);
            }
            self.tables.extend(table.iter().map(|block| block + first_block));
            self.segments.push(SegmentRows {
                rows: row..self.tokens.len(),
                table: entry..self.tables.len(),
            });
            let end = self.tokens.len();
            if segment.wanted == Wanted::Logits {
                self.wanted.push(end - 1);
            }
            self.states.extend(end - segment.wanted.states(end - row)..end);
        }
        Ok(())
    }

    /// Adds another batch's segments after these.
    pub(crate) fn append(&mut self, other: &Batch) {
        for segment in &other.segments {
            self.take_rows(other, segment.rows.clone(), segment.table.clone());
        }
    }

    /// Rows of the step.
    pub(crate) fn rows(&self) -> usize {
        self.tokens.len()
    }

    /// Each row with its sequence's blocks.
    pub(crate) fn table_rows(&self) -> Vec<Row<'_>> {
        let rows = self.segments.iter().flat_map(|segment| {
            let block_table = &self.tables[segment.table.clone()];
            let positions = &self.positions[segment.rows.clone()];
            positions.iter().map(move |position| Row {
                position: *position as usize,
                block_table,
            })
        });
        rows.collect()
    }

    /// The batch in pieces of at most `rows` rows, in order: computed one after the other they are the whole.
    pub(crate) fn pieces(&self, rows: usize) -> Vec<Batch> {
        let mut pieces = Vec::new();
        let mut piece = Batch::default();
        for segment in &self.segments {
            let mut first = segment.rows.start;
            while first < segment.rows.end {
                if piece.rows() >= rows {
                    pieces.push(std::mem::take(&mut piece));
                }
                let end = segment.rows.end.min(first + rows - piece.rows());
                piece.take_rows(self, first..end, segment.table.clone());
                first = end;
            }
        }
        pieces.push(piece);
        pieces
    }

    fn take_rows(&mut self, whole: &Batch, rows: Range<usize>, table: Range<usize>) {
        let (row, entry) = (self.rows(), self.tables.len());
        self.tokens.extend_from_slice(&whole.tokens[rows.clone()]);
        self.positions.extend_from_slice(&whole.positions[rows.clone()]);
        self.tables.extend_from_slice(&whole.tables[table]);
        self.segments.push(SegmentRows {
            rows: row..self.rows(),
            table: entry..self.tables.len(),
        });
        let taken = |places: &[usize]| -> Vec<usize> {
            let places = places.iter().filter(|place| rows.contains(place));
            places.map(|place| place - rows.start + row).collect()
        };
        self.wanted.extend(taken(&whole.wanted));
        self.states.extend(taken(&whole.states));
    }
}

/// The blocks that the segment needs.
fn check<'a>(segment: &Segment<'a>, shape: ModelShape) -> Result<&'a [u32], String> {
    if segment.tokens.is_empty() {
        return Err("a segment has no tokens".to_owned());
    }
    if let Some(token) = segment.tokens.iter().find(|token| **token as usize >= shape.vocabulary) {
        return Err(format!(
            "token {token} is not in the vocabulary of {}",
            shape.vocabulary
        ));
    }
    let end = segment.first_position.saturating_add(segment.tokens.len());
    if end > shape.context_tokens {
        return Err(format!(
            "a segment ends at position {end}, the context is {}",
            shape.context_tokens
        ));
    }
    let blocks = end.div_ceil(BLOCK_TOKENS);
    let Some(table) = segment.block_table.get(..blocks) else {
        return Err(format!(
            "a block table has {} blocks, position {end} needs {blocks}",
            segment.block_table.len()
        ));
    };
    match table.iter().find(|block| **block as usize >= shape.kv_blocks) {
        Some(block) => Err(format!("block {block} is not in the pool of {}", shape.kv_blocks)),
        None => Ok(table),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch {
        let shape = ModelShape {
            vocabulary: 100,
            context_tokens: 64,
            kv_blocks: 9,
            hidden: 1,
            pooling: engine::Pooling::Last,
        };
        let tokens: Vec<u32> = (0..20).collect();
        let segment = |count, first_position, block_table, wanted| Segment {
            tokens: &tokens[..count],
            first_position,
            block_table,
            wanted,
        };
        let segments = [
            segment(1, 17, &[8, 2, 3][..], Wanted::Logits),
            segment(20, 0, &[4, 5], Wanted::Nothing),
            segment(3, 16, &[6, 7], Wanted::Logits),
            segment(20, 0, &[1, 0], Wanted::EveryState),
            segment(5, 0, &[3], Wanted::LastState),
        ];
        Batch::new(&segments, shape).unwrap()
    }

    /// What a row is: token, position, blocks, whether its logits and its state are wanted.
    fn rows(batch: &Batch) -> Vec<(u32, usize, Vec<u32>, bool, bool)> {
        let places = batch.table_rows();
        (0..batch.rows())
            .map(|row| {
                (
                    batch.tokens[row],
                    places[row].position,
                    places[row].block_table.to_vec(),
                    batch.wanted.contains(&row),
                    batch.states.contains(&row),
                )
            })
            .collect()
    }

    #[test]
    fn only_the_blocks_that_a_segment_needs_go_along() {
        assert_eq!(batch().tables, [8, 2, 4, 5, 6, 7, 1, 0, 3]);
    }

    #[test]
    fn wanted_states_are_the_last_row_of_a_segment_or_all_of_them() {
        assert_eq!(batch().states, (24..44).chain([48]).collect::<Vec<_>>());
    }

    #[test]
    fn pieces_are_the_whole_whatever_their_size() {
        let whole = batch();
        for size in 1..=60 {
            let pieces = whole.pieces(size);
            assert!(pieces.iter().all(|piece| (1..=size).contains(&piece.rows())));
            assert_eq!(pieces.len(), 49usize.div_ceil(size));
            assert_eq!(pieces.iter().flat_map(rows).collect::<Vec<_>>(), rows(&whole), "{size}");
        }
    }
}
