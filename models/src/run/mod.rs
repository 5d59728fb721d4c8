//! Steps over one device or several: an engine that is a device, lanes through a pipeline, parts around a table.

mod clock;
mod crew;
mod meeting;
mod pipeline;
mod team;
mod whole;
mod worker;

pub use clock::{DeviceStatus, DevicesStatus};
pub(crate) use meeting::{Meeting, Seat};
pub(crate) use pipeline::{Lane, Pipeline};
pub(crate) use team::{Member, Team};
pub(crate) use whole::{Teamed, Whole};
pub(crate) use worker::Opening;

use kernels::PackedMatrix;
use kernels::embedding::embedding;

use crate::batch::Batch;
use crate::device::Fault;

/// The residual stream before the first layer: the rows' places in the embedding table.
///
/// * `hidden`  becomes `[rows, hidden]`
fn embed(table: &PackedMatrix, batch: &Batch, hidden: &mut Vec<f32>) -> Result<(), Fault> {
    hidden.resize(batch.rows() * table.columns(), 0.0);
    Ok(embedding(table, &batch.tokens, hidden)?)
}

#[cfg(test)]
mod tests;
