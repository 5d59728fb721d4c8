//! Products in pieces of sixteen weight rows, dealt to threads.

use std::ops::Range;

use super::output::Output;
use super::{rows, tiles};
use crate::matrix::tile::{TILE_ROWS, TileQ4K, TileQ6K, TileQ8_0};
use crate::parallel::{SPREAD_FROM, for_each_index, threads};
use crate::{Activations, Format, PackedMatrix, Simd};

/// Bytes of 8-bit activations that sixteen weight rows meet before the next sixteen do: with them and the weights in the
/// second-level cache, memory is read once per panel.
const PANEL_BYTES: usize = 384 << 10;
/// Activation rows of a panel at least, so that the weights' bytes are worth their way.
const PANEL_ROWS_MIN: usize = 32;

/// One matrix and where its products go.
pub(super) struct Product<'a> {
    pub(super) weights: &'a PackedMatrix,
    pub(super) output: Output<'a>,
}

impl<'a> Product<'a> {
    pub(super) fn new((weights, output): (&'a PackedMatrix, &'a mut [f32])) -> Product<'a> {
        let output = Output::new(output, weights.rows());
        Product { weights, output }
    }

    /// Pieces of sixteen rows.
    fn pieces(&self) -> usize {
        self.weights.rows().div_ceil(TILE_ROWS)
    }

    /// Sets the products of weight rows `16 * index` and following with the activation rows `panel`.
    fn piece(&self, index: usize, activations: &Activations, panel: Range<usize>, simd: Simd) {
        match self.weights.format() {
            Format::Q4K => tiles::piece::<TileQ4K>(self, index, activations, panel, simd),
            Format::Q6K => tiles::piece::<TileQ6K>(self, index, activations, panel, simd),
            Format::Q8_0 => tiles::piece::<TileQ8_0>(self, index, activations, panel, simd),
            _ => rows::piece(self, index, activations, panel),
        }
    }
}

/// Computes all products with the twins of `simd`; `activations` are prepared for each.
pub(super) fn run<const N: usize>(products: [Product<'_>; N], activations: &Activations, simd: Simd) {
    let pieces: usize = products.iter().map(Product::pieces).sum();
    let panel_rows = (PANEL_BYTES / activations.columns().max(1)).max(PANEL_ROWS_MIN) / 8 * 8;
    for first in (0..activations.rows()).step_by(panel_rows) {
        let panel = first..activations.rows().min(first + panel_rows);
        let work = TILE_ROWS * activations.columns() * panel.len();
        deal(pieces, work, |mut index| {
            for product in &products {
                if index < product.pieces() {
                    return product.piece(index, activations, panel.clone(), simd);
                }
                index -= product.pieces();
            }
        });
    }
}

/// Calls `each` with every piece, on several threads if their `piece_work` (multiply-adds) is worth it.
fn deal(pieces: usize, piece_work: usize, each: impl Fn(usize) + Sync) {
    if pieces * piece_work < SPREAD_FROM {
        return (0..pieces).for_each(each);
    }
    // Many chunks a thread even out their speeds; a chunk is at least a few microseconds of work.
    let least = SPREAD_FROM.div_ceil(piece_work.max(1));
    let chunk = pieces.div_ceil(32 * threads()).max(least);
    for_each_index(pieces.div_ceil(chunk), |index| {
        (index * chunk..pieces.min((index + 1) * chunk)).for_each(&each);
    });
}
