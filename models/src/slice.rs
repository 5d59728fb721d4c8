//! Which layers, and which rows of their matrices, one device computes.

use std::ops::Range;

use crate::config::Config;
use crate::placement::{Share, heads_of, rows_of};

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
        heads_of(config.kv_heads, self.part, self.parts)
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
        rows_of(rows, self.part, self.parts)
    }
}

fn scaled(range: Range<usize>, by: usize) -> Range<usize> {
    range.start * by..range.end * by
}
