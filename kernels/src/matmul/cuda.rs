//! Products on a card: candle's MMVQ kernels for a few activation rows, its MMQ kernels for many, and a plain kernel of
//! ours for weights that are not quantised.
//!
//! A row's product may differ in its last bits with the number of rows beside it: MMVQ spreads a row's sum over two or
//! four warps and MMQ over the card's multiprocessors, as the number of rows has it.

mod activations;
mod matrix;
#[cfg(feature = "cuda")]
#[path = "cuda/candle.rs"]
mod quantised;
#[cfg(feature = "cuda-emulator")]
#[path = "cuda/twin.rs"]
mod quantised;
#[cfg(test)]
mod tests;

pub use activations::GpuActivations;
pub use matrix::GpuMatrix;

use crate::cuda::{Gpu, GpuBuffer, GpuError, Launch, ROWS_MAX, expect_room, narrow};
use crate::error::expect_below;
use crate::{Format, KernelError};

/// Activation rows up to which MMVQ is used, whatever the format: the most that it takes at once.
pub const MMVQ_ROWS_MAX: usize = 8;

/// Activations with quantised weights are padded to a multiple of this, as candle's kernels read them.
const PADDING: usize = 512;

/// Columns of activations as quantised.
fn padded(columns: usize) -> usize {
    columns.next_multiple_of(PADDING)
}

/// How MMQ wants the scales of 128 activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scales {
    /// f32 scales of 32 activations.
    D4,
    /// f16 scales and sums of 32.
    Ds4,
    /// f16 scales of 64, sums of 16.
    D2s6,
}

impl Scales {
    const ALL: [Scales; 3] = [Scales::D4, Scales::Ds4, Scales::D2s6];

    /// `None` for weights that are not quantised.
    fn of(format: Format) -> Option<Scales> {
        match format {
            Format::F32 | Format::F16 | Format::Bf16 => None,
            Format::Q5_0 | Format::Q8_0 | Format::Q3K | Format::Q6K => Some(Scales::D4),
            Format::Q4_0 | Format::Q4K | Format::Q5K => Some(Scales::Ds4),
            Format::Q2K => Some(Scales::D2s6),
        }
    }
}

/// One product with quantised weights, whose lengths are checked.
struct Product {
    format: Format,
    /// Of the matrix.
    weights: u64,
    rows: usize,
    columns: usize,
    /// Of the 8-bit activations.
    activations: u64,
    activation_rows: usize,
    /// `[activation_rows, rows]` f32.
    output: u64,
    /// Where MMQ keeps parts of sums.
    #[cfg_attr(feature = "cuda-emulator", expect(dead_code, reason = "the twin adds up in one go"))]
    parts: u64,
}

/// Writes `activations` times `weights` transposed to `output` `[n, rows]`, with room for more.
///
/// # Errors
/// `Refused` if the columns differ or `output` is too short; `Launch`.
pub fn matmul(
    gpu: &Gpu,
    weights: &GpuMatrix,
    activations: &mut GpuActivations,
    output: &mut GpuBuffer<f32>,
) -> Result<(), GpuError> {
    matmul_each(gpu, [(weights, output)], activations)
}

/// As [`matmul`] with several matrices, which share the 8-bit form of the activations.
///
/// # Errors
/// As [`matmul`], before anything is started.
pub fn matmul_each<const N: usize>(
    gpu: &Gpu,
    products: [(&GpuMatrix, &mut GpuBuffer<f32>); N],
    activations: &mut GpuActivations,
) -> Result<(), GpuError> {
    for (weights, output) in &products {
        check(weights, activations, output)?;
    }
    for (weights, output) in products {
        if activations.rows() > 0 {
            multiply(gpu, weights, activations, output)?;
        }
    }
    Ok(())
}

fn check(weights: &GpuMatrix, activations: &GpuActivations, output: &GpuBuffer<f32>) -> Result<(), GpuError> {
    if weights.columns() != activations.columns() {
        let allowed = format!("{}, the weights' columns", weights.columns());
        let (what, found) = ("the activations' row length", activations.columns());
        return Err(KernelError::Size { what, found, allowed }.into());
    }
    expect_below("row", activations.rows(), ROWS_MAX + 1)?;
    expect_room("the product", output, activations.rows() * weights.rows())
}

fn multiply(
    gpu: &Gpu,
    weights: &GpuMatrix,
    activations: &mut GpuActivations,
    output: &mut GpuBuffer<f32>,
) -> Result<(), GpuError> {
    let Some(scales) = Scales::of(weights.format()) else {
        activations.expect_values()?;
        return multiply_plain(gpu, weights, activations, output);
    };
    let is_few = activations.rows() <= MMVQ_ROWS_MAX;
    let quantised = if is_few {
        activations.q8_1(gpu)?
    } else {
        activations.for_mmq(gpu, scales)?
    };
    let product = Product {
        format: weights.format(),
        weights: weights.address(),
        rows: weights.rows(),
        columns: weights.columns(),
        activations: quantised,
        activation_rows: activations.rows(),
        output: output.address(),
        parts: activations.parts(),
    };
    if is_few {
        quantised::mmvq(gpu, &product)
    } else {
        quantised::mmq(gpu, &product)
    }
}

/// With weights that are not quantised.
fn multiply_plain(
    gpu: &Gpu,
    weights: &GpuMatrix,
    activations: &GpuActivations,
    output: &mut GpuBuffer<f32>,
) -> Result<(), GpuError> {
    const WARPS: u32 = 4;
    let function = match weights.format() {
        Format::F16 => "product_f16",
        Format::Bf16 => "product_bf16",
        _ => "product_f32",
    };
    let (rows, columns) = (narrow("rows", weights.rows())?, narrow("columns", weights.columns())?);
    let blocks = (rows.div_ceil(WARPS), narrow("rows", activations.rows())?);
    let launch = Launch::plane(function, blocks, 32 * WARPS);
    let (weights, values) = (weights.arg(), activations.values().arg());
    // SAFETY: `product_*(weights, activations, output, rows, columns)`; `check` has compared the lengths, and the kernel is
    // that of the weights' format.
    unsafe { gpu.launch(launch, [weights, values, output.arg(), rows.into(), columns.into()]) }
}
