//! The fast twin, over weight rows dealt to threads: our own products where there are any (Q4_K and Q6_K with AVX2), else
//! candle's dot products of one weight row and one activation row, whose vector code candle chooses at run time.
//!
//! Not candle's own matrix product: its result changes with the number of rows, and its repacked copies double the memory.

use candle_core::quantized::k_quants::{
    BlockQ2K, BlockQ3K, BlockQ4_0, BlockQ4K, BlockQ5K, BlockQ6K, BlockQ8_0, GgmlType,
};
use half::f16;

#[cfg(target_arch = "x86_64")]
use super::avx2;
use super::output::Output;
use crate::parallel::{self, SPREAD_FROM};
#[cfg(target_arch = "x86_64")]
use crate::simd;
use crate::storage::{Plain, bytes_of};
use crate::{Activations, Format, PackedMatrix, math};

/// Activation rows taken together with a weight row: their 8-bit form stays in the second-level cache (64 rows of 8,960
/// columns are 0.6 MB) while the weight row stays in the first.
const TILE: usize = 64;

/// As [`super::matmul`], whose checks have been made and whose activations are prepared.
pub(super) fn matmul(weights: &PackedMatrix, activations: &Activations, output: &mut [f32]) {
    let product = Product {
        weights,
        activations,
        output: Output::new(output, weights.rows()),
    };
    match weights.format() {
        Format::F32 | Format::F16 | Format::Bf16 => product.run(|rows| product.plain(rows)),
        Format::Q4_0 => product.quantised::<BlockQ4_0>(activations.q8_0()),
        Format::Q5_0 => product.run(|rows| product.q5_0(rows)),
        Format::Q8_0 => product.quantised::<BlockQ8_0>(activations.q8_0()),
        Format::Q2K => product.quantised::<BlockQ2K>(activations.q8_k()),
        Format::Q3K => product.quantised::<BlockQ3K>(activations.q8_k()),
        #[cfg(target_arch = "x86_64")]
        Format::Q4K if let Some(kernel) = avx2::Q4K::new() => product.unpacked_once(&kernel),
        #[cfg(target_arch = "x86_64")]
        Format::Q6K if let Some(kernel) = avx2::Q6K::new() => product.unpacked_once(&kernel),
        Format::Q4K => product.quantised::<BlockQ4K>(activations.q8_k()),
        Format::Q5K => product.quantised::<BlockQ5K>(activations.q8_k()),
        Format::Q6K => product.quantised::<BlockQ6K>(activations.q8_k()),
    }
}

struct Product<'a> {
    weights: &'a PackedMatrix,
    activations: &'a Activations,
    output: Output<'a>,
}

impl Product<'_> {
    /// Calls `each` with ranges of weight rows, on several threads if the product is large enough.
    fn run(&self, each: impl Fn(std::ops::Range<usize>) + Sync + Send) {
        let rows = self.weights.rows();
        let row_work = self.weights.columns() * self.activations.rows();
        if row_work * rows < SPREAD_FROM {
            return each(0..rows);
        }
        // Eight chunks a thread even out their speeds; a chunk is at least a few microseconds of work.
        let chunk = rows
            .div_ceil(8 * parallel::threads())
            .max((SPREAD_FROM / 8).div_ceil(row_work.max(1)));
        parallel::for_each_index(rows.div_ceil(chunk), |index| {
            each(index * chunk..rows.min((index + 1) * chunk));
        });
    }

    fn quantised<T: GgmlType + Plain>(&self, activations: &[T::VecDotType]) {
        let columns = self.weights.columns();
        let row_blocks = columns / T::BLCK_SIZE;
        let weights: &[T] = self.weights.storage().blocks();
        for first in (0..self.activations.rows()).step_by(TILE) {
            let tile = first..self.activations.rows().min(first + TILE);
            self.run(|rows| {
                for row in rows {
                    let weight = &weights[row * row_blocks..(row + 1) * row_blocks];
                    for n in tile.clone() {
                        let activation = &activations[n * row_blocks..(n + 1) * row_blocks];
                        self.output.set(n, row, T::vec_dot(columns, weight, activation));
                    }
                }
            });
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn unpacked_once(&self, kernel: &impl avx2::Unpacked) {
        let row_bytes = self.weights.row_bytes();
        for first in (0..self.activations.rows()).step_by(TILE) {
            let end = self.activations.rows().min(first + TILE);
            self.run(|rows| {
                for row in rows {
                    let weight = &self.weights.bytes()[row * row_bytes..(row + 1) * row_bytes];
                    let mut n = first;
                    while n < end {
                        n += match end - n {
                            1 => self.together::<1>(kernel, weight, row, n),
                            2 => self.together::<2>(kernel, weight, row, n),
                            3 => self.together::<3>(kernel, weight, row, n),
                            _ => self.together::<4>(kernel, weight, row, n),
                        };
                    }
                }
            });
        }
    }

    /// Sets the products of weight row `row` with the `N` activation rows from `first` on.
    #[cfg(target_arch = "x86_64")]
    fn together<const N: usize>(&self, kernel: &impl avx2::Unpacked, weight: &[u8], row: usize, first: usize) -> usize {
        let blocks = self.weights.columns() / 256;
        let activations = self.activations.q8_k();
        let rows = std::array::from_fn(|n| &activations[(first + n) * blocks..(first + n + 1) * blocks]);
        for (n, value) in kernel.dot::<N>(weight, rows).into_iter().enumerate() {
            self.output.set(first + n, row, value);
        }
        N
    }

    /// Q5_0 has no fast product in candle, and its plain one refuses an odd number of blocks in builds with assertions.
    fn q5_0(&self, rows: std::ops::Range<usize>) {
        let (row_bytes, row_blocks) = (self.weights.row_bytes(), self.weights.columns() / 32);
        for row in rows {
            let weight = &self.weights.bytes()[row * row_bytes..(row + 1) * row_bytes];
            for n in 0..self.activations.rows() {
                let activation = &self.activations.q8_0()[n * row_blocks..(n + 1) * row_blocks];
                self.output.set(n, row, dot_q5_0(weight, bytes_of(activation)));
            }
        }
    }

    /// Weights that are numbers: each row is brought to f32 once.
    fn plain(&self, rows: std::ops::Range<usize>) {
        let columns = self.weights.columns();
        let mut weight = vec![0.0; columns];
        for row in rows {
            self.weights.read_row(row, &mut weight);
            for n in 0..self.activations.rows() {
                let activation = &self.activations.values()[n * columns..(n + 1) * columns];
                self.output.set(n, row, dot(&weight, activation));
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
