//! The same on a card.

use crate::cuda::{Gpu, GpuBuffer, GpuError, Launch, ROWS_MAX, expect_room, narrow};
use crate::error::expect_below;

const THREADS: u32 = 256;

/// Adds the first `count` of `values` to those of `sums`.
///
/// # Errors
/// `Refused` if either is shorter; `Launch`.
pub fn add(gpu: &Gpu, sums: &mut GpuBuffer<f32>, values: &GpuBuffer<f32>, count: usize) -> Result<(), GpuError> {
    expect_room("the sums", sums, count)?;
    expect_room("the addend", values, count)?;
    let count = narrow("the number of sums", count)?;
    let launch = Launch::line("add", count.div_ceil(THREADS), THREADS);
    // SAFETY: `add(sums, values, count)`, and both have `count` elements as just checked.
    unsafe { gpu.launch(launch, [sums.arg(), values.arg(), count.into()]) }
}

/// Adds `bias` `[columns]` to the first `rows` rows of `values` `[rows, columns]`.
///
/// # Errors
/// `Refused` if there are fewer rows, or more than 65535; `Launch`.
pub fn add_bias(gpu: &Gpu, values: &mut GpuBuffer<f32>, rows: usize, bias: &GpuBuffer<f32>) -> Result<(), GpuError> {
    expect_below("row", rows, ROWS_MAX + 1)?;
    expect_room("the biased rows", values, rows * bias.len())?;
    let columns = narrow("the row's length", bias.len())?;
    let blocks = (columns.div_ceil(THREADS), narrow("rows", rows)?);
    let launch = Launch::plane("add_bias", blocks, THREADS);
    // SAFETY: `add_bias(rows, bias, columns)`; `values` has `rows` rows of `columns`, the length of `bias`, as checked.
    unsafe { gpu.launch(launch, [values.arg(), bias.arg(), columns.into()]) }
}

#[cfg(test)]
mod tests {
    use crate::cuda::tests::{Noise, gpu};

    use super::*;

    #[test]
    fn sums_are_those_of_the_processor() {
        let (gpu, mut noise) = (gpu(), Noise(1));
        for (rows, columns) in [(1, 1), (3, 5), (2, 256), (7, 257)] {
            let (mut sums, values, bias) = (
                noise.values(rows * columns),
                noise.values(rows * columns),
                noise.values(columns),
            );
            let mut on_card = gpu.uploaded("sums", &sums).unwrap();
            add(
                &gpu,
                &mut on_card,
                &gpu.uploaded("values", &values).unwrap(),
                rows * columns,
            )
            .unwrap();
            add_bias(&gpu, &mut on_card, rows, &gpu.uploaded("bias", &bias).unwrap()).unwrap();
            super::super::add(&mut sums, &values).unwrap();
            super::super::add_bias(&mut sums, &bias).unwrap();
            assert_eq!(gpu.downloaded(&on_card).unwrap(), sums);
        }
    }

    #[test]
    fn short_buffers_are_refused() {
        let gpu = gpu();
        let (mut long, short) = (gpu.zeroed("long", 8).unwrap(), gpu.zeroed("short", 7).unwrap());
        assert!(add(&gpu, &mut long, &short, 8).is_err());
        assert!(add(&gpu, &mut long, &short, 7).is_ok());
        assert!(add_bias(&gpu, &mut long, 2, &short).is_err());
    }
}
