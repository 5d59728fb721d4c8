//! A step's segments as flat rows, checked against the model's sizes.

use engine::{BLOCK_TOKENS, ModelError, ModelShape, Segment};
use kernels::attention::Row;

/// The rows of a step, segment after segment.
pub(super) struct Batch<'a> {
    pub(super) tokens: Vec<u32>,    // [rows]
    pub(super) positions: Vec<u32>, // [rows]
    pub(super) rows: Vec<Row<'a>>,  // [rows]
    pub(super) wanted: Vec<usize>,  // rows whose logits are wanted
}

impl<'a> Batch<'a> {
    /// Flattens `segments`.
    ///
    /// # Errors
    /// A segment that contradicts `shape`: a mistake of the engine, told apart from the model's own.
    pub(super) fn new(segments: &[Segment<'a>], shape: ModelShape) -> Result<Batch<'a>, ModelError> {
        let rows = segments.iter().map(|segment| segment.tokens.len()).sum();
        let mut batch = Batch {
            tokens: Vec::with_capacity(rows),
            positions: Vec::with_capacity(rows),
            rows: Vec::with_capacity(rows),
            wanted: Vec::with_capacity(segments.len()),
        };
        for segment in segments {
            check(segment, shape).map_err(ModelError)?;
            batch.tokens.extend_from_slice(segment.tokens);
            for position in segment.first_position..segment.first_position + segment.tokens.len() {
                batch
                    .positions
                    .push(u32::try_from(position).map_err(|error| ModelError(error.to_string()))?);
                batch.rows.push(Row {
                    position,
                    block_table: segment.block_table,
                });
            }
            if segment.wants_logits {
                batch.wanted.push(batch.tokens.len() - 1);
            }
        }
        Ok(batch)
    }
}

fn check(segment: &Segment<'_>, shape: ModelShape) -> Result<(), String> {
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
        None => Ok(()),
    }
}
