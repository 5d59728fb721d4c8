//! The readable truth of the matrix product.
//!
//! Formats in tiles have one loop each over sixteen weight rows, which compilers turn into whatever registers there are:
//! it is also what runs where no other twin does. The wider twins give the same bits: the same exact integers, and the
//! same additions, multiplications and conversions of f32 in the same order. The other formats go through the common form
//! of blocks, one element at a time.

use half::f16;

use super::check;
use super::tiles::Sums;
use crate::activations::{Q8_0, Q8K};
use crate::format::{Block, GROUP};
use crate::matrix::tile::{TILE_ROWS, TileQ4K, TileQ6K, TileQ8_0, Words};
use crate::{Activations, Format, KernelError, PackedMatrix};

/// As [`super::matmul`], on one thread.
///
/// # Errors
/// As [`super::matmul`].
pub fn matmul(weights: &PackedMatrix, activations: &mut Activations, output: &mut [f32]) -> Result<(), KernelError> {
    check(weights, activations, output)?;
    activations.prepare(weights.format());
    for n in 0..activations.rows() {
        let output = &mut output[n * weights.rows()..(n + 1) * weights.rows()];
        for (index, output) in output.chunks_mut(TILE_ROWS).enumerate() {
            let q8_k = || [activations.q8_k(n)];
            let [sums] = match weights.format() {
                Format::Q4K => q4k(weights.tiles(index), q8_k()),
                Format::Q6K => q6k(weights.tiles(index), q8_k()),
                Format::Q8_0 => q8_0(weights.tiles(index), [activations.q8_0(n)]),
                _ => [sixteen_rows(weights, index, activations, n)],
            };
            output.copy_from_slice(&sums[..output.len()]);
        }
    }
    Ok(())
}

/// The products of sixteen Q4_K rows: over the tiles, the sum of group scale * dot, times their scale, less the sum of group
/// minimum * the activations' sum, times theirs, all times the activations' scale.
pub(super) fn q4k<const N: usize>(tiles: &[TileQ4K], rows: [&[Q8K]; N]) -> [Sums; N] {
    rows.map(|row| {
        let mut sums = [0.0; TILE_ROWS];
        for (tile, block) in tiles.iter().zip(row) {
            let (mut products, mut minimums) = ([0; TILE_ROWS], [0; TILE_ROWS]);
            for group in 0..8 {
                let mut dots = [0; TILE_ROWS];
                for word in 0..8 {
                    let quants =
                        tile.quants[group / 2][word].map(|word| word.map(|byte| byte >> (4 * (group % 2)) & 15));
                    add_products(&mut dots, &quants, &block.quants[32 * group + 4 * word..]);
                }
                let sum = i32::from(block.sums_of_32[group]);
                for row in 0..TILE_ROWS {
                    products[row] += i32::from(tile.scales[group][row]) * dots[row];
                    minimums[row] += i32::from(tile.minimums[group / 2][row][group % 2]) * sum;
                }
            }
            for row in 0..TILE_ROWS {
                let above = products[row] as f32 * half(tile.scale[row]);
                let below = minimums[row] as f32 * half(tile.minimum[row]);
                sums[row] += (above - below) * block.scale;
            }
        }
        sums
    })
}

/// The products of sixteen Q6_K rows: over the tiles, the sum of group scale * (dot with the quants less 32), times both
/// scales.
pub(super) fn q6k<const N: usize>(tiles: &[TileQ6K], rows: [&[Q8K]; N]) -> [Sums; N] {
    rows.map(|row| {
        let mut sums = [0.0; TILE_ROWS];
        for (tile, block) in tiles.iter().zip(row) {
            let mut products = [0; TILE_ROWS];
            for group in 0..16 {
                let mut dots = [-32 * i32::from(block.sums[group]); TILE_ROWS];
                for (word, quants) in words_of_q6k(&tile.quants[group]).iter().enumerate() {
                    add_products(&mut dots, quants, &block.quants[16 * group + 4 * word..]);
                }
                for row in 0..TILE_ROWS {
                    products[row] += i32::from(tile.scales[group / 2][row][group % 2]) * dots[row];
                }
            }
            for row in 0..TILE_ROWS {
                sums[row] += products[row] as f32 * (half(tile.scale[row]) * block.scale);
            }
        }
        sums
    })
}

/// The quants, 0 to 63, of sixteen columns.
#[inline(always)]
fn words_of_q6k(packed: &[Words; 3]) -> [Words; 4] {
    let [a, b, c] = packed;
    let quant = |i: usize, row: usize, column: usize| match i {
        3 => a[row][column] >> 6 | (b[row][column] >> 6) << 2 | (c[row][column] >> 6) << 4,
        _ => packed[i][row][column] & 63,
    };
    std::array::from_fn(|i| std::array::from_fn(|row| std::array::from_fn(|column| quant(i, row, column))))
}

/// The products of sixteen Q8_0 rows: over the tiles, the dot times both scales.
pub(super) fn q8_0<const N: usize>(tiles: &[TileQ8_0], rows: [&[Q8_0]; N]) -> [Sums; N] {
    rows.map(|row| {
        let mut sums = [0.0; TILE_ROWS];
        for (tile, block) in tiles.iter().zip(row) {
            let mut dots = [0; TILE_ROWS];
            for (words, activations) in tile.quants.iter().zip(block.quants.as_chunks::<4>().0) {
                for row in 0..TILE_ROWS {
                    for column in 0..4 {
                        dots[row] += i32::from(words[row][column] as i8) * i32::from(activations[column]);
                    }
                }
            }
            for row in 0..TILE_ROWS {
                sums[row] += dots[row] as f32 * (half(tile.scale[row]) * block.scale);
            }
        }
        sums
    })
}

/// Adds the products of four columns of sixteen rows with the first four `activations`.
#[inline(always)]
fn add_products(dots: &mut [i32; TILE_ROWS], quants: &Words, activations: &[i8]) {
    for (dot, quants) in dots.iter_mut().zip(quants) {
        for (quant, activation) in quants.iter().zip(activations) {
            *dot += i32::from(*quant) * i32::from(*activation);
        }
    }
}

fn half(bits: u16) -> f32 {
    f16::from_bits(bits).to_f32()
}

/// The products of rows that lie as in the file.
fn sixteen_rows(weights: &PackedMatrix, index: usize, activations: &Activations, n: usize) -> Sums {
    let first = index * TILE_ROWS;
    let mut sums = [0.0; TILE_ROWS];
    for (row, sum) in (first..weights.rows()).zip(&mut sums) {
        *sum = match weights.format() {
            Format::F32 | Format::F16 | Format::Bf16 => dot_plain(weights, row, activations, n),
            _ => dot_quantised(weights, row, activations, n),
        };
    }
    sums
}

fn dot_plain(weights: &PackedMatrix, row: usize, activations: &Activations, n: usize) -> f32 {
    let mut values = vec![0.0; weights.columns()];
    weights.read_row(row, &mut values);
    let activation = &activations.values()[n * weights.columns()..];
    let sum: f64 = values
        .iter()
        .zip(activation)
        .map(|(w, a)| f64::from(*w) * f64::from(*a))
        .sum();
    sum as f32
}

/// Over the blocks: scale * sum of (group scale * integer dot) - minimum * sum of (group minimum * activation sum), times
/// the activations' scale.
fn dot_quantised(weights: &PackedMatrix, row: usize, activations: &Activations, n: usize) -> f32 {
    let format = weights.format();
    let mut sum = 0.0f64;
    for (index, bytes) in weights.row(row).chunks_exact(format.block_bytes()).enumerate() {
        let block = Block::read(format, bytes);
        let (scale, quants) = activation_block(format, activations, n, index);
        let (mut products, mut minimums) = (0, 0);
        for (group, activation) in quants.chunks_exact(GROUP).enumerate() {
            let weight = &block.quants[group * GROUP..(group + 1) * GROUP];
            let dot: i32 = weight.iter().zip(activation).map(|(w, a)| w * i32::from(*a)).sum();
            products += block.group_scales[group] * dot;
            minimums += block.group_minimums[group] * activation.iter().map(|a| i32::from(*a)).sum::<i32>();
        }
        let block_sum = f64::from(block.scale) * f64::from(products) - f64::from(block.minimum) * f64::from(minimums);
        sum += f64::from(scale) * block_sum;
    }
    sum as f32
}

/// The scale and the integers of block `index` of activation row `n`.
fn activation_block(format: Format, activations: &Activations, n: usize, index: usize) -> (f32, &[i8]) {
    if format.block_elements() == 32 {
        let block = &activations.candle_q8_0(n)[index];
        (half(block.scale), &block.quants)
    } else {
        let block = &activations.candle_q8_k(n)[index];
        (block.scale, &block.quants)
    }
}
