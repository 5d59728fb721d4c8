//! The readable truth of the matrix product.

use super::check;
use crate::format::{Block, GROUP};
use crate::storage::bytes_of;
use crate::{Activations, Format, KernelError, PackedMatrix};

/// As [`super::matmul`], one element at a time.
///
/// # Errors
/// As [`super::matmul`].
pub fn matmul(weights: &PackedMatrix, activations: &mut Activations, output: &mut [f32]) -> Result<(), KernelError> {
    check(weights, activations, output)?;
    activations.prepare(weights.format());
    for row in 0..weights.rows() {
        for n in 0..activations.rows() {
            output[n * weights.rows() + row] = match weights.format() {
                Format::F32 | Format::F16 | Format::Bf16 => dot_plain(weights, row, activations, n),
                _ => dot_quantised(weights, row, activations, n),
            };
        }
    }
    Ok(())
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
    let (format, row_bytes) = (weights.format(), weights.row_bytes());
    let row = &weights.bytes()[row * row_bytes..(row + 1) * row_bytes];
    let mut sum = 0.0f64;
    for (index, bytes) in row.chunks_exact(format.block_bytes()).enumerate() {
        let block = Block::read(format, bytes);
        let (scale, quants) = activation_block(format, activations, n, index);
        let (mut products, mut minimums) = (0, 0);
        for (group, activation) in quants.chunks_exact(GROUP).enumerate() {
            let weight = &block.quants[group * GROUP..(group + 1) * GROUP];
            let dot: i32 = weight.iter().zip(activation).map(|(w, a)| w * a).sum();
            products += block.group_scales[group] * dot;
            minimums += block.group_minimums[group] * activation.iter().sum::<i32>();
        }
        let block_sum = f64::from(block.scale) * f64::from(products) - f64::from(block.minimum) * f64::from(minimums);
        sum += f64::from(scale) * block_sum;
    }
    sum as f32
}

/// The scale and the integers of block `index` of activation row `n`.
fn activation_block(format: Format, activations: &Activations, n: usize, index: usize) -> (f32, Vec<i32>) {
    let blocks = activations.columns() / format.block_elements();
    let at = n * blocks + index;
    let integers = |bytes: &[u8]| bytes.iter().map(|byte| i32::from(*byte as i8)).collect();
    if format.block_elements() == 32 {
        let bytes = bytes_of(&activations.q8_0()[at..at + 1]);
        (
            half::f16::from_le_bytes([bytes[0], bytes[1]]).to_f32(),
            integers(&bytes[2..34]),
        )
    } else {
        let bytes = bytes_of(&activations.q8_k()[at..at + 1]);
        (
            f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            integers(&bytes[4..260]),
        )
    }
}
