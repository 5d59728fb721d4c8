//! What candle's launchers compute, for the emulator: the same products from the file's blocks and 8-bit activations.
//!
//! Not their order of additions: sums here are f64. Blocks of activations lie where theirs do; within those for MMQ they are
//! four of MMVQ's, which take as many bytes.

use half::f16;

use super::{Product, Scales, padded};
use crate::cuda::{Gpu, GpuError, pointer};
use crate::format::Block;

/// As `Q8_1` in `common.cuh`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Q8_1 {
    scale: u16,
    sum: u16,
    quants: [i8; 32],
}

/// `count` values on the card.
///
/// # Safety
/// They are there, and nobody writes them meanwhile.
unsafe fn on_card<'a, T>(address: u64, count: usize) -> &'a [T] {
    // SAFETY: the caller's promise; memory of the card is that of the host.
    unsafe { std::slice::from_raw_parts(pointer(address).cast(), count) }
}

/// As [`on_card`], to be written.
///
/// # Safety
/// They are there, and nobody else reads or writes them meanwhile.
unsafe fn on_card_mut<'a, T>(address: u64, count: usize) -> &'a mut [T] {
    // SAFETY: the caller's promise; memory of the card is that of the host.
    unsafe { std::slice::from_raw_parts_mut(pointer(address).cast(), count) }
}

/// Where 32 activations of a row lie.
#[derive(Clone, Copy)]
enum Order {
    /// Row after row, each so many.
    Rows(usize),
    /// 128 activations of all so many rows after one another.
    Columns(usize),
}

impl Order {
    fn at(self, row: usize, index: usize) -> usize {
        match self {
            Order::Rows(row_blocks) => row * row_blocks + index,
            Order::Columns(rows) => (index / 4 * rows + row) * 4 + index % 4,
        }
    }
}

pub(super) fn mmvq(_gpu: &Gpu, product: &Product) -> Result<(), GpuError> {
    multiply(product, Order::Rows(padded(product.columns) / 32));
    Ok(())
}

pub(super) fn mmq(_gpu: &Gpu, product: &Product) -> Result<(), GpuError> {
    multiply(product, Order::Columns(product.activation_rows));
    Ok(())
}

fn multiply(product: &Product, order: Order) {
    let (format, n) = (product.format, product.activation_rows);
    let blocks = product.columns / format.block_elements();
    // SAFETY: `matmul_each` has checked that the matrix has these rows.
    let weights: &[u8] = unsafe { on_card(product.weights, product.rows * blocks * format.block_bytes()) };
    // SAFETY: `GpuActivations` has checked the room of its forms.
    let activations: &[Q8_1] = unsafe { on_card(product.activations, n * padded(product.columns) / 32) };
    // SAFETY: `matmul_each` has checked the product's room.
    let output: &mut [f32] = unsafe { on_card_mut(product.output, n * product.rows) };
    for (row, weights) in weights.chunks_exact(blocks * format.block_bytes()).enumerate() {
        let mut sums = vec![0.0f64; n];
        for (index, bytes) in weights.chunks_exact(format.block_bytes()).enumerate() {
            let block = Block::read(format, bytes);
            let mut values = [0.0f32; 256];
            let values = &mut values[..format.block_elements()];
            block.write(values);
            let first = index * values.len() / 32;
            for (row, sum) in sums.iter_mut().enumerate() {
                for (index, values) in values.as_chunks::<32>().0.iter().enumerate() {
                    *sum += dot(values, &activations[order.at(row, first + index)]);
                }
            }
        }
        for (n, sum) in sums.into_iter().enumerate() {
            output[n * product.rows + row] = sum as f32;
        }
    }
}

fn dot(weights: &[f32; 32], activations: &Q8_1) -> f64 {
    let products = weights.iter().zip(&activations.quants);
    let sum: f64 = products
        .map(|(weight, quant)| f64::from(*weight) * f64::from(*quant))
        .sum();
    sum * f64::from(f16::from_bits(activations.scale).to_f32())
}

pub(super) fn quantise_for_mmq(
    _gpu: &Gpu,
    _scales: Scales,
    values: u64,
    (rows, columns): (usize, usize),
    blocks: u64,
) -> Result<(), GpuError> {
    // SAFETY: `reshape` has checked the values' room.
    let values: &[f32] = unsafe { on_card(values, rows * columns) };
    // SAFETY: `GpuActivations` has checked the form's room.
    let blocks: &mut [Q8_1] = unsafe { on_card_mut(blocks, rows * padded(columns) / 32) };
    for (row, values) in values.chunks_exact(columns).enumerate() {
        for (index, values) in values.chunks_exact(32).enumerate() {
            let block = &mut blocks[Order::Columns(rows).at(row, index)];
            let largest = values.iter().fold(0.0f32, |most, value| most.max(value.abs()));
            let scale = largest / 127.0;
            let quant = |value: &f32| {
                if largest == 0.0 {
                    0
                } else {
                    (value / scale).round() as i8
                }
            };
            let sum = values.iter().sum::<f32>();
            block.scale = f16::from_f32(scale).to_bits();
            block.sum = f16::from_f32(sum).to_bits();
            for (place, value) in block.quants.iter_mut().zip(values) {
                *place = quant(value);
            }
        }
    }
    Ok(())
}
