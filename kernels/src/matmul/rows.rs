//! Products of weights that lie as in the file: candle's dot products of one weight row and one activation row, whose
//! vector code candle chooses at run time, and plain numbers.
//!
//! Not candle's own matrix product: its result changes with the number of rows, and its repacked copies double the memory.

use std::ops::Range;

use candle_core::quantized::k_quants::{BlockQ2K, BlockQ3K, BlockQ4_0, BlockQ5K, BlockQ8_0, BlockQ8K, GgmlType};
use half::f16;

use super::spread::Product;
use crate::matrix::tile::TILE_ROWS;
#[cfg(target_arch = "x86_64")]
use crate::simd;
use crate::storage::{Plain, blocks_of, bytes_of};
use crate::{Activations, Format, math};

/// Sets the products of weight rows `16 * index` and following with the activation rows `panel`.
pub(super) fn piece(product: &Product<'_>, index: usize, activations: &Activations, panel: Range<usize>) {
    let first = index * TILE_ROWS;
    let piece = Piece {
        product,
        activations,
        rows: first..product.weights.rows().min(first + TILE_ROWS),
        panel,
    };
    match product.weights.format() {
        Format::F32 | Format::F16 | Format::Bf16 => piece.plain(),
        Format::Q4_0 => piece.quantised::<BlockQ4_0>(q8_0),
        Format::Q5_0 => piece.q5_0(),
        Format::Q2K => piece.quantised::<BlockQ2K>(q8_k),
        Format::Q3K => piece.quantised::<BlockQ3K>(q8_k),
        Format::Q5K => piece.quantised::<BlockQ5K>(q8_k),
        Format::Q8_0 | Format::Q4K | Format::Q6K => unreachable!("these lie in tiles"),
    }
}

fn q8_0(activations: &Activations, row: usize) -> &[BlockQ8_0] {
    blocks_of(bytes_of(activations.candle_q8_0(row)))
}

fn q8_k(activations: &Activations, row: usize) -> &[BlockQ8K] {
    blocks_of(bytes_of(activations.candle_q8_k(row)))
}

struct Piece<'a> {
    product: &'a Product<'a>,
    activations: &'a Activations,
    rows: Range<usize>,
    panel: Range<usize>,
}

impl Piece<'_> {
    fn quantised<T: GgmlType + Plain>(&self, row_of: fn(&Activations, usize) -> &[T::VecDotType]) {
        let columns = self.product.weights.columns();
        let blocks = columns / T::BLCK_SIZE;
        let weights = self.product.weights.blocks::<T>();
        for row in self.rows.clone() {
            let weight = &weights[row * blocks..(row + 1) * blocks];
            for n in self.panel.clone() {
                let dot = T::vec_dot(columns, weight, row_of(self.activations, n));
                self.product.output.set(n, row, dot);
            }
        }
    }

    /// Q5_0 has no fast product in candle, and its plain one refuses an odd number of blocks in builds with assertions.
    fn q5_0(&self) {
        for row in self.rows.clone() {
            let weight = self.product.weights.row(row);
            for n in self.panel.clone() {
                let dot = dot_q5_0(weight, bytes_of(self.activations.candle_q8_0(n)));
                self.product.output.set(n, row, dot);
            }
        }
    }

    /// Weights that are numbers: each row is brought to f32 once.
    fn plain(&self) {
        let columns = self.product.weights.columns();
        let mut weight = vec![0.0; columns];
        for row in self.rows.clone() {
            self.product.weights.read_row(row, &mut weight);
            for n in self.panel.clone() {
                let activation = &self.activations.values()[n * columns..(n + 1) * columns];
                self.product.output.set(n, row, dot(&weight, activation));
            }
        }
    }
}

fn dot_q5_0(weight: &[u8], activation: &[u8]) -> f32 {
    let mut sum = 0.0;
    for (weight, activation) in weight.as_chunks::<22>().0.iter().zip(activation.as_chunks::<34>().0) {
        let scale = |block: &[u8]| f16::from_le_bytes([block[0], block[1]]).to_f32();
        let high = u32::from_le_bytes([weight[2], weight[3], weight[4], weight[5]]);
        let mut product = 0;
        for l in 0..16 {
            let low = i32::from(weight[6 + l] & 15) + 16 * i32::from((high >> l) & 1 == 1) - 16;
            let up = i32::from(weight[6 + l] >> 4) + 16 * i32::from((high >> (l + 16)) & 1 == 1) - 16;
            product += low * i32::from(activation[2 + l] as i8) + up * i32::from(activation[18 + l] as i8);
        }
        sum += product as f32 * (scale(weight) * scale(activation));
    }
    sum
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if simd::has_avx2() {
        // SAFETY: AVX2 was just found.
        return unsafe { dot_avx2(a, b) };
    }
    math::dot(a, b)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn dot_avx2(a: &[f32], b: &[f32]) -> f32 {
    math::dot(a, b)
}
