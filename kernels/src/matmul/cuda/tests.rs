//! Products over every format and odd shapes against the processor's; what is too short is refused.

use super::*;
use crate::cuda::tests::{Noise, assert_near, gpu};
use crate::matmul::{matmul as processor, tests::encode};
use crate::{Activations, PackedMatrix};

/// Activations that 8 bits hold exactly: multiples of 1/128, among any 32 one of 127/128.
fn exact(count: usize, noise: &mut Noise) -> Vec<f32> {
    let value = |index: usize, noise: &mut Noise| match index % 32 {
        5 => 127.0 / 128.0,
        _ => (noise.next() * 127.0).round() / 128.0,
    };
    (0..count).map(|index| value(index, noise)).collect()
}

/// Products of `n` rows by the card and by the processor.
fn products(format: Format, rows: usize, columns: usize, values: &[f32], noise: &mut Noise) -> [Vec<f32>; 2] {
    let (gpu, n) = (gpu(), values.len() / columns);
    let bytes = encode(format, &noise.values(rows * columns));
    let weights = PackedMatrix::from_bytes(format, rows, columns, &bytes).unwrap();
    let (mut activations, mut truth) = (Activations::new(), vec![0.0; n * rows]);
    activations.copy_from(n, columns, values).unwrap();
    processor(&weights, &mut activations, &mut truth).unwrap();

    let weights = GpuMatrix::from_bytes(&gpu, format, rows, columns, &bytes).unwrap();
    let mut activations = GpuActivations::new(&gpu, n, columns, &[format]).unwrap();
    gpu.upload(activations.reshape(n, columns).unwrap(), 0, values).unwrap();
    let mut output = gpu.zeroed("product", n * rows).unwrap();
    matmul(&gpu, &weights, &mut activations, &mut output).unwrap();
    [gpu.downloaded(&output).unwrap(), truth]
}

#[test]
fn products_are_those_of_the_processor() {
    let mut noise = Noise(5);
    for format in Format::ALL {
        for (rows, blocks, n) in [(1, 1, 1), (3, 2, 2), (65, 3, 8), (7, 5, 9), (130, 1, 67)] {
            let columns = blocks
                * if format.block_elements() == 1 {
                    37
                } else {
                    format.block_elements()
                };
            let values = exact(n * columns, &mut noise);
            let [found, truth] = products(format, rows, columns, &values, &mut noise);
            // Nothing is lost by the 8 bits: only the order of additions differs, over sums that are `columns` at most. On a
            // card some formats take their offsets times the sums of 32 activations, which are f16 there.
            let f16_sums = if cfg!(feature = "cuda") { 2f32.powi(-11) } else { 0.0 };
            let tolerance = (4.0 * f32::EPSILON + f16_sums) * columns as f32;
            for (found, truth) in found.iter().zip(&truth) {
                let off = (found - truth).abs();
                assert!(
                    off <= tolerance,
                    "{format:?} {rows}x{columns}, n {n}: {found} against {truth}"
                );
            }
        }
    }
}

#[test]
fn operations_that_round_what_they_write_leave_what_a_product_would_have_made() {
    let (gpu, mut noise) = (gpu(), Noise(6));
    let (rows, columns) = (3, 544); // Padded to 1024.
    let bytes = encode(Format::Q8_0, &noise.values(16 * columns));
    let weights = GpuMatrix::from_bytes(&gpu, Format::Q8_0, 16, columns, &bytes).unwrap();
    let [input, sum] = [(); 2].map(|()| gpu.uploaded("input", &noise.values(rows * columns)).unwrap());
    let mut hidden = gpu.uploaded("hidden", &noise.values(rows * columns)).unwrap();
    let weight = gpu.uploaded("weight", &noise.values(columns)).unwrap();
    let new = || GpuActivations::new(&gpu, 9, columns, &[Format::Q8_0]).unwrap();
    let (mut fused, mut plain) = (new(), new());
    for round in 0..3 {
        match round {
            0 => crate::rms_norm::cuda::rms_norm(&gpu, &input, (&weight, 1e-6), rows, &mut fused),
            1 => crate::rms_norm::cuda::add_rms_norm(&gpu, (&mut hidden, &sum), (&weight, 1e-6), rows, &mut fused),
            _ => crate::swiglu::cuda::swiglu(&gpu, (&input, &sum), rows, columns, &mut fused),
        }
        .unwrap();
        gpu.copy(
            (fused.values(), 0),
            (plain.reshape(rows, columns).unwrap(), 0),
            rows * columns,
        )
        .unwrap();
        let product = |activations: &mut GpuActivations| {
            let mut output = gpu.zeroed("product", rows * 16).unwrap();
            matmul(&gpu, &weights, activations, &mut output).unwrap();
            gpu.downloaded(&output).unwrap()
        };
        let (fused, plain) = (product(&mut fused), product(&mut plain));
        assert_near(&fused, &plain, 0.0);
        assert!(fused.iter().any(|value| *value != 0.0));
    }
}

#[test]
fn what_is_no_number_stays_none() {
    let (gpu, mut noise) = (gpu(), Noise(10));
    let bytes = encode(Format::Q8_0, &noise.values(3 * 64));
    let weights = GpuMatrix::from_bytes(&gpu, Format::Q8_0, 3, 64, &bytes).unwrap();
    let mut activations = GpuActivations::new(&gpu, 2, 64, &[Format::Q8_0]).unwrap();
    let mut values = noise.values(2 * 64);
    values[70] = f32::NAN;
    gpu.upload(activations.reshape(2, 64).unwrap(), 0, &values).unwrap();
    let mut output = gpu.zeroed("product", 6).unwrap();
    matmul(&gpu, &weights, &mut activations, &mut output).unwrap();
    let output = gpu.downloaded(&output).unwrap();
    assert!(output[..3].iter().all(|value| value.is_finite()));
    assert!(output[3..].iter().all(|value| value.is_nan()));
}

#[test]
fn several_matrices_share_their_activations() {
    let (gpu, mut noise) = (gpu(), Noise(7));
    for n in [2, 12] {
        let formats = [Format::Q4K, Format::Q6K, Format::F32];
        let matrices = formats.map(|format| {
            let bytes = encode(format, &noise.values(5 * 256));
            GpuMatrix::from_bytes(&gpu, format, 5, 256, &bytes).unwrap()
        });
        let mut activations = GpuActivations::new(&gpu, n, 256, &formats).unwrap();
        gpu.upload(activations.reshape(n, 256).unwrap(), 0, &noise.values(n * 256))
            .unwrap();
        let [mut a, mut b, mut c, mut alone] = [(); 4].map(|()| gpu.zeroed::<f32>("product", 5 * n).unwrap());
        let [q4k, q6k, f32] = &matrices;
        matmul_each(&gpu, [(q4k, &mut a), (q6k, &mut b), (f32, &mut c)], &mut activations).unwrap();
        for (matrix, together) in matrices.iter().zip([a, b, c]) {
            matmul(&gpu, matrix, &mut activations, &mut alone).unwrap();
            assert_eq!(gpu.downloaded(&alone).unwrap(), gpu.downloaded(&together).unwrap());
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let gpu = gpu();
    assert!(GpuMatrix::zeroed(&gpu, Format::Q4K, 1, 255).is_err());
    assert!(GpuMatrix::zeroed(&gpu, Format::Q4K, 0, 256).is_err());
    assert!(GpuMatrix::from_bytes(&gpu, Format::Q8_0, 1, 32, &[0; 33]).is_err());
    let weights = GpuMatrix::from_bytes(&gpu, Format::Q8_0, 3, 32, &[0; 102]).unwrap();
    let mut activations = GpuActivations::new(&gpu, 2, 64, &[Format::Q8_0]).unwrap();
    assert!(activations.reshape(3, 32).is_err());
    assert!(activations.reshape(2, 65).is_err());
    let mut output = gpu.zeroed("product", 5).unwrap();
    activations.reshape(2, 32).unwrap();
    assert!(matmul(&gpu, &weights, &mut activations, &mut output).is_err());
    activations.reshape(1, 64).unwrap();
    assert!(matmul(&gpu, &weights, &mut activations, &mut output).is_err());
    activations.reshape(1, 32).unwrap();
    assert!(matmul(&gpu, &weights, &mut activations, &mut output).is_ok());
    let needed = GpuActivations::card_bytes(2, 64, &[Format::Q8_0], 40);
    assert_eq!(needed, 4 * 2 * 64 + 2 * 512 / 32 * 36);
}

#[test]
fn rows_that_come_in_their_8_bit_form_from_several_parts_multiply_as_whole_ones() {
    let (gpu, mut noise) = (gpu(), Noise(12));
    let (rows, parts) = (19, [256, 768, 128]);
    let columns: usize = parts.iter().sum();
    for format in Format::ALL {
        if format.block_elements() > columns || !columns.is_multiple_of(format.block_elements()) {
            continue;
        }
        let weights = encode(format, &noise.values(rows * columns));
        let weights = GpuMatrix::from_bytes(&gpu, format, rows, columns, &weights).unwrap();
        for n in [1, 3, 8, 9, 20] {
            let values = noise.values(n * columns);
            let mut whole = GpuActivations::new(&gpu, n, columns, &[format]).unwrap();
            gpu.upload(whole.reshape(n, columns).unwrap(), 0, &values).unwrap();
            let mut expected = gpu.zeroed("product", n * rows).unwrap();
            matmul(&gpu, &weights, &mut whole, &mut expected).unwrap();

            let Some(step) = GpuActivations::form_step(format, n) else {
                assert!(whole.read_form(&gpu, format, &mut Vec::new()).is_err(), "{format:?}");
                continue;
            };
            let forms: Vec<Vec<u32>> = (0..parts.len())
                .map(|part| {
                    let first: usize = parts[..part].iter().sum();
                    let own = values.chunks(columns).flat_map(|row| &row[first..first + parts[part]]);
                    let own: Vec<f32> = own.copied().collect();
                    let mut activations = GpuActivations::new(&gpu, n, columns, &[format]).unwrap();
                    gpu.upload(activations.reshape(n, parts[part]).unwrap(), 0, &own)
                        .unwrap();
                    let mut words = Vec::new();
                    activations.read_form(&gpu, format, &mut words).unwrap();
                    words
                })
                .collect();
            // A few rows: row by row; many: all rows of 128 columns after one another.
            let together: Vec<u32> = if step == 32 {
                let row = |row: usize| {
                    let of = move |(part, words): (usize, &Vec<u32>)| {
                        let width = parts[part] / 32 * 9;
                        words[row * width..(row + 1) * width].to_vec()
                    };
                    forms.iter().enumerate().flat_map(of).collect::<Vec<u32>>()
                };
                (0..n).flat_map(row).collect()
            } else {
                forms.concat()
            };
            let mut joined = GpuActivations::new(&gpu, n, columns, &[format]).unwrap();
            joined.write_form(&gpu, format, (n, columns), &together).unwrap();
            let mut found = gpu.zeroed("product", n * rows).unwrap();
            matmul(&gpu, &weights, &mut joined, &mut found).unwrap();
            assert_eq!(
                gpu.downloaded(&found).unwrap(),
                gpu.downloaded(&expected).unwrap(),
                "{format:?}, {n} rows"
            );
        }
    }
}

#[test]
fn rows_without_values_multiply_only_with_weights_of_their_form() {
    let (gpu, mut noise) = (gpu(), Noise(13));
    let formats = [Format::Q4K, Format::F32];
    let mut activations = GpuActivations::new(&gpu, 9, 256, &formats).unwrap();
    let words = vec![0; 9 * 256 / 32 * 9];
    activations.write_form(&gpu, Format::Q4K, (9, 256), &words).unwrap();
    let mut output = gpu.zeroed("product", 9 * 16).unwrap();
    for (format, is_fine) in [(Format::Q4K, true), (Format::F32, false), (Format::Q6K, false)] {
        let bytes = encode(format, &noise.values(16 * 256));
        let weights = GpuMatrix::from_bytes(&gpu, format, 16, 256, &bytes).unwrap();
        let multiplied = matmul(&gpu, &weights, &mut activations, &mut output);
        assert_eq!(multiplied.is_ok(), is_fine, "{format:?}");
    }
    assert!(
        activations
            .write_form(&gpu, Format::Q4K, (9, 256), &words[1..])
            .is_err()
    );
    assert!(activations.write_form(&gpu, Format::F32, (9, 256), &words).is_err());
}
