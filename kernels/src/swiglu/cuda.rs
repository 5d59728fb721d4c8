//! The same on a card, with the 8-bit form where it is wanted.

use crate::cuda::{Gpu, GpuBuffer, GpuError, Launch, ROWS_MAX, expect_room, narrow};
use crate::error::expect_below;
use crate::matmul::cuda::GpuActivations;

const THREADS: u32 = 256;

/// Writes `silu(gate) * up` of the first `rows` rows of `columns` to `output`, which takes that shape.
///
/// # Errors
/// `Refused` if an input is shorter, `output` has no room, or there are more than 65535 rows; `Launch`.
pub fn swiglu(
    gpu: &Gpu,
    (gate, up): (&GpuBuffer<f32>, &GpuBuffer<f32>),
    rows: usize,
    columns: usize,
    output: &mut GpuActivations,
) -> Result<(), GpuError> {
    expect_below("row", rows, ROWS_MAX + 1)?;
    expect_room("the gate projection", gate, rows * columns)?;
    expect_room("the up projection", up, rows * columns)?;
    let (values, blocks, padded) = output.write_with_q8_1(rows, columns)?;
    let columns = narrow("the row's length", columns)?;
    let blocks_of_row = columns.max(padded).div_ceil(THREADS);
    let launch = Launch::plane("swiglu", (blocks_of_row, narrow("rows", rows)?), THREADS);
    let arguments = [gate.arg(), up.arg(), columns.into(), values, blocks, padded.into()];
    // SAFETY: `swiglu(gate, up, columns, output, blocks, padded)`; the inputs' lengths are checked above, the others' by
    // `write_with_q8_1`.
    unsafe { gpu.launch(launch, arguments) }
}

#[cfg(test)]
mod tests {
    use crate::cuda::tests::{Noise, assert_near, gpu};
    use crate::{Format, swiglu as processor};

    use super::*;

    #[test]
    fn rows_are_gated_as_by_the_processor() {
        let (gpu, mut noise) = (gpu(), Noise(4));
        for (rows, columns) in [(1, 1), (2, 32), (3, 300), (8, 4864)] {
            let gate: Vec<f32> = noise.values(rows * columns).iter().map(|x| x * 80.0).collect();
            let up = noise.values(rows * columns);
            let (on_card, mut truth) = (
                [&gate, &up].map(|values| gpu.uploaded("values", values).unwrap()),
                vec![0.0; rows * columns],
            );
            let mut output = GpuActivations::new(&gpu, 8, 4864, &[Format::F32]).unwrap();
            swiglu(&gpu, (&on_card[0], &on_card[1]), rows, columns, &mut output).unwrap();
            processor::swiglu(&gate, &up, columns, &mut truth).unwrap();
            // Two exponentials, each within 2 units in the last place, and three roundings.
            assert_near(
                &gpu.downloaded(output.values()).unwrap()[..rows * columns],
                &truth,
                1e-6,
            );
        }
    }

    #[test]
    fn short_buffers_are_refused() {
        let gpu = gpu();
        let (gate, up) = (gpu.zeroed("gate", 8).unwrap(), gpu.zeroed("up", 7).unwrap());
        let mut output = GpuActivations::new(&gpu, 2, 8, &[Format::F32]).unwrap();
        assert!(swiglu(&gpu, (&gate, &up), 2, 4, &mut output).is_err());
        assert!(swiglu(&gpu, (&gate, &up), 1, 7, &mut output).is_ok());
        assert!(swiglu(&gpu, (&gate, &gate), 1, 8, &mut output).is_ok());
        assert!(swiglu(&gpu, (&gate, &gate), 3, 1, &mut output).is_err());
    }
}
