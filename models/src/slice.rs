//! Which layers, and which rows of their matrices, one device computes.

use std::ops::Range;

use crate::config::Config;
use crate::placement::Share;

/// Rows of a matrix are cut at multiples of this, the tile of the packed formats.
const ROW_STEP: usize = 16;

/// A part of a model: some layers, and of each matrix the rows of one part of `parts`.
///
/// Matrices are cut by rows only: an element of a product is computed by one device, over all columns and in the usual
/// order, so that a model in parts gives the same bits as the whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Slice {
    pub(crate) layers: Range<usize>,
    pub(crate) part: usize,
    pub(crate) parts: usize,
}

impl Slice {
    /// The whole model.
    pub(crate) fn whole(config: &Config) -> Slice {
        Slice {
            layers: 0..config.layers,
            part: 0,
            parts: 1,
        }
    }

    pub(crate) fn of(share: &Share) -> Slice {
        Slice {
            layers: share.layers.clone(),
            part: share.part,
            parts: share.parts.max(1),
        }
    }

    /// The same slice for another part.
    pub(crate) fn with_part(&self, part: usize) -> Slice {
        Slice { part, ..self.clone() }
    }

    /// Whether the output matrix is part of it.
    pub(crate) fn has_output(&self, config: &Config) -> bool {
        self.layers.end == config.layers
    }

    /// Key heads, and with them the query heads that share them.
    pub(crate) fn kv_heads(&self, config: &Config) -> Range<usize> {
        self.cut(config.kv_heads)
    }

    /// Rows of the queries' matrix: those of its heads.
    pub(crate) fn query_rows(&self, config: &Config) -> Range<usize> {
        let width = config.heads / config.kv_heads * config.head_dim;
        scaled(self.kv_heads(config), width)
    }

    /// Rows of the keys' and of the values' matrix.
    pub(crate) fn key_rows(&self, config: &Config) -> Range<usize> {
        scaled(self.kv_heads(config), config.head_dim)
    }

    /// Rows of any other matrix of `rows` rows.
    pub(crate) fn rows(&self, rows: usize) -> Range<usize> {
        let steps = scaled(self.cut(rows.div_ceil(ROW_STEP)), ROW_STEP);
        steps.start.min(rows)..steps.end.min(rows)
    }

    /// This part's share of `units`.
    fn cut(&self, units: usize) -> Range<usize> {
        self.part * units / self.parts..(self.part + 1) * units / self.parts
    }
}

fn scaled(range: Range<usize>, by: usize) -> Range<usize> {
    range.start * by..range.end * by
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_matrix_follow_one_another_and_are_the_whole() {
        for parts in 1..=7 {
            for rows in [1, 16, 17, 100, 256, 300, 27648] {
                let mut end = 0;
                for part in 0..parts {
                    let slice = Slice {
                        layers: 0..1,
                        part,
                        parts,
                    };
                    let range = slice.rows(rows);
                    assert_eq!(range.start, end, "part {part} of {parts} of {rows}");
                    end = range.end;
                }
                assert_eq!(end, rows, "{parts} parts");
            }
        }
    }
}
