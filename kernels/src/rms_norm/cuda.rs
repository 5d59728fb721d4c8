//! The same on a card, with the residual addition before and the 8-bit form after, where they are wanted.

use crate::cuda::{Arg, Gpu, GpuBuffer, GpuError, Launch, expect_room, narrow};
use crate::error::expect_length;
use crate::matmul::cuda::GpuActivations;

/// Writes the first `rows` normalised rows of `input` `[rows, columns]` to `output`, which takes that shape.
///
/// * `weight`  `[columns]`; `epsilon` is added to the mean square
///
/// # Errors
/// `Refused` if the input is shorter or `output` has no room; `Launch`.
pub fn rms_norm(
    gpu: &Gpu,
    input: &GpuBuffer<f32>,
    (weight, epsilon): (&GpuBuffer<f32>, f32),
    rows: usize,
    output: &mut GpuActivations,
) -> Result<(), GpuError> {
    let columns = weight.len();
    expect_room("the rows to normalise", input, rows * columns)?;
    let (values, blocks, padded) = output.write_with_q8_1(rows, columns)?;
    let launch = launch("rms_norm", rows, columns)?;
    let columns = narrow("the row's length", columns)?;
    let (input, weight) = (input.arg(), weight.arg());
    let arguments = [
        input,
        weight,
        epsilon.into(),
        columns.into(),
        values,
        blocks,
        padded.into(),
    ];
    // SAFETY: `rms_norm(input, weight, epsilon, columns, output, blocks, padded)`; the input's length is checked above, the
    // others' by `write_with_q8_1`.
    unsafe { gpu.launch(launch, arguments) }
}

/// Adds the first `rows` rows of `sum` to those of `hidden`, and writes the normalised rows of that to `output`.
///
/// # Errors
/// As [`rms_norm`].
pub fn add_rms_norm(
    gpu: &Gpu,
    (hidden, sum): (&mut GpuBuffer<f32>, &GpuBuffer<f32>),
    (weight, epsilon): (&GpuBuffer<f32>, f32),
    rows: usize,
    output: &mut GpuActivations,
) -> Result<(), GpuError> {
    let columns = weight.len();
    expect_room("the rows to normalise", hidden, rows * columns)?;
    expect_room("the addend", sum, rows * columns)?;
    let (values, blocks, padded) = output.write_with_q8_1(rows, columns)?;
    let launch = launch("add_rms_norm", rows, columns)?;
    let columns = narrow("the row's length", columns)?;
    let (epsilon, columns, padded) = (epsilon.into(), columns.into(), padded.into());
    let arguments = [
        hidden.arg(),
        sum.arg(),
        weight.arg(),
        epsilon,
        columns,
        values,
        blocks,
        padded,
    ];
    // SAFETY: `add_rms_norm(hidden, sum, weight, epsilon, columns, output, blocks, padded)`; the lengths are checked above
    // and by `write_with_q8_1`.
    unsafe { gpu.launch(launch, arguments) }
}

/// Normalises the first `rows` rows of `values` in place, each as long as `weight`: one head each, for Qwen 3's queries and
/// keys.
///
/// # Errors
/// `Refused` if there are fewer rows; `Launch`.
pub fn rms_norm_in_place(
    gpu: &Gpu,
    values: &mut GpuBuffer<f32>,
    weight: &GpuBuffer<f32>,
    epsilon: f32,
    rows: usize,
) -> Result<(), GpuError> {
    let columns = weight.len();
    expect_room("the rows to normalise", values, rows * columns)?;
    let launch = launch("rms_norm", rows, columns)?;
    let (columns, place) = (narrow("the row's length", columns)?, values.arg());
    let arguments = [
        place,
        weight.arg(),
        epsilon.into(),
        columns.into(),
        place,
        Arg::NULL,
        0.into(),
    ];
    // SAFETY: as in `rms_norm`, whose input may be its output; no blocks are written.
    unsafe { gpu.launch(launch, arguments) }
}

/// One block a row; four elements a thread, up to 512 threads.
fn launch(function: &'static str, rows: usize, columns: usize) -> Result<Launch, GpuError> {
    expect_length("the shortest row", columns.min(1), 1)?;
    let threads = columns.div_ceil(4).next_multiple_of(32).min(512);
    Ok(Launch::line(
        function,
        narrow("rows", rows)?,
        narrow("threads", threads)?,
    ))
}

#[cfg(test)]
mod tests {
    use crate::cuda::tests::{Noise, assert_near, gpu};
    use crate::{Format, rms_norm as processor};

    use super::*;

    /// The mean square's additions have another order: some roundings of a sum, halved by the root.
    const TOLERANCE: f32 = 2e-6;

    #[test]
    fn rows_are_normalised_as_by_the_processor() {
        let (gpu, mut noise) = (gpu(), Noise(2));
        for (rows, columns) in [(1, 32), (2, 7), (3, 896), (9, 1536), (2, 2080)] {
            let (input, sum, weight) = (
                noise.values(rows * columns),
                noise.values(rows * columns),
                noise.values(columns),
            );
            let on_card = |values: &[f32]| gpu.uploaded("values", values).unwrap();
            let (weights, mut hidden) = (on_card(&weight), on_card(&input));
            let mut output = GpuActivations::new(&gpu, 16, 2112, &[Format::F32]).unwrap();
            let mut truth = vec![0.0; rows * columns];

            rms_norm(&gpu, &hidden, (&weights, 1e-6), rows, &mut output).unwrap();
            processor::rms_norm(&input, &weight, 1e-6, &mut truth).unwrap();
            assert_near(
                &gpu.downloaded(output.values()).unwrap()[..rows * columns],
                &truth,
                TOLERANCE,
            );

            add_rms_norm(&gpu, (&mut hidden, &on_card(&sum)), (&weights, 1e-6), rows, &mut output).unwrap();
            let added: Vec<f32> = input.iter().zip(&sum).map(|(a, b)| a + b).collect();
            processor::rms_norm(&added, &weight, 1e-6, &mut truth).unwrap();
            assert_eq!(gpu.downloaded(&hidden).unwrap(), added);
            assert_near(
                &gpu.downloaded(output.values()).unwrap()[..rows * columns],
                &truth,
                TOLERANCE,
            );

            rms_norm_in_place(&gpu, &mut hidden, &weights, 1e-6, rows).unwrap();
            assert_near(&gpu.downloaded(&hidden).unwrap(), &truth, TOLERANCE);
        }
    }

    #[test]
    fn a_row_has_the_same_bits_in_any_company() {
        let (gpu, mut noise) = (gpu(), Noise(3));
        let (input, weight) = (noise.values(5 * 96), noise.values(96));
        let weight = gpu.uploaded("weight", &weight).unwrap();
        let normed = |input: &[f32]| {
            let mut values = gpu.uploaded("input", input).unwrap();
            rms_norm_in_place(&gpu, &mut values, &weight, 1e-5, input.len() / 96).unwrap();
            gpu.downloaded(&values).unwrap()
        };
        assert_eq!(normed(&input)[3 * 96..4 * 96], normed(&input[3 * 96..4 * 96]));
    }

    #[test]
    fn short_buffers_are_refused() {
        let gpu = gpu();
        let (mut values, weight) = (gpu.zeroed("values", 63).unwrap(), gpu.zeroed("weight", 32).unwrap());
        let mut output = GpuActivations::new(&gpu, 1, 64, &[Format::Q8_0]).unwrap();
        assert!(rms_norm_in_place(&gpu, &mut values, &weight, 1e-5, 2).is_err());
        assert!(rms_norm(&gpu, &values, (&weight, 1e-5), 2, &mut output).is_err());
        assert!(rms_norm(&gpu, &values, (&weight, 1e-5), 1, &mut output).is_ok());
        let nothing = gpu.zeroed("weight", 0).unwrap();
        assert!(rms_norm_in_place(&gpu, &mut values, &nothing, 1e-5, 2).is_err());
    }
}
