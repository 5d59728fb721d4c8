//! Parity of the twins over formats and odd shapes; the company of other rows changes nothing.

use candle_core::quantized::k_quants::{
    BlockQ2K, BlockQ3K, BlockQ4_0, BlockQ4K, BlockQ5_0, BlockQ5K, BlockQ6K, BlockQ8_0, GgmlType,
};
use half::{bf16, f16};

use super::*;
use crate::storage::{Plain, bytes_of};
use crate::{Format, Simd, math};

/// A reproducible stream of numbers in -1..1.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn values(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }
}

fn blocks<T: GgmlType + Plain>(values: &[f32]) -> Vec<u8> {
    let mut blocks = vec![T::zeros(); values.len() / T::BLCK_SIZE];
    T::from_float(values, &mut blocks);
    bytes_of(&blocks).to_vec()
}

/// The bytes of `values` in `format`, by candle's own quantisers.
pub(super) fn encode(format: Format, values: &[f32]) -> Vec<u8> {
    match format {
        Format::F32 => bytes_of(values).to_vec(),
        Format::F16 => values
            .iter()
            .flat_map(|value| f16::from_f32(*value).to_le_bytes())
            .collect(),
        Format::Bf16 => values
            .iter()
            .flat_map(|value| bf16::from_f32(*value).to_le_bytes())
            .collect(),
        Format::Q4_0 => blocks::<BlockQ4_0>(values),
        Format::Q5_0 => blocks::<BlockQ5_0>(values),
        Format::Q8_0 => blocks::<BlockQ8_0>(values),
        Format::Q2K => blocks::<BlockQ2K>(values),
        Format::Q3K => blocks::<BlockQ3K>(values),
        Format::Q4K => blocks::<BlockQ4K>(values),
        Format::Q5K => blocks::<BlockQ5K>(values),
        Format::Q6K => blocks::<BlockQ6K>(values),
    }
}

fn matrix(format: Format, rows: usize, columns: usize, noise: &mut Noise) -> PackedMatrix {
    PackedMatrix::from_bytes(format, rows, columns, &encode(format, &noise.values(rows * columns))).unwrap()
}

fn activations(n: usize, columns: usize, noise: &mut Noise) -> Activations {
    let mut activations = Activations::new();
    activations.copy_from(n, columns, &noise.values(n * columns)).unwrap();
    activations
}

#[test]
fn the_fast_twin_agrees_with_the_scalar_one() {
    let mut noise = Noise(1);
    for format in Format::ALL {
        for (rows, blocks, n) in [(1, 1, 1), (3, 2, 1), (7, 3, 5), (65, 1, 3), (130, 6, 67), (600, 4, 2)] {
            let columns = blocks
                * if format.block_elements() == 1 {
                    37
                } else {
                    format.block_elements()
                };
            let weights = matrix(format, rows, columns, &mut noise);
            let mut activations = activations(n, columns, &mut noise);
            let (mut fast, mut truth) = (vec![0.0; n * rows], vec![0.0; n * rows]);
            matmul(&weights, &mut activations, &mut fast).unwrap();
            scalar::matmul(&weights, &mut activations, &mut truth).unwrap();
            // Only the order of the f32 additions differs: a few roundings of sums that are at most `columns` large.
            let tolerance = 4.0 * f32::EPSILON * columns as f32;
            for (index, (fast, truth)) in fast.iter().zip(&truth).enumerate() {
                let off = (fast - truth).abs();
                assert!(
                    off <= tolerance,
                    "{format:?} {rows}x{columns}, n {n}, {index}: {fast} against {truth}"
                );
            }
        }
    }
}

/// The product by each twin that this machine runs, with `activations` prepared.
fn by_every_twin(weights: &PackedMatrix, activations: &Activations) -> Vec<(Simd, Vec<u32>)> {
    let twins = Simd::ALL.into_iter().filter(|simd| *simd <= Simd::of_machine());
    let product = |simd| {
        let mut output = vec![0.0; activations.rows() * weights.rows()];
        spread::run([spread::Product::new((weights, &mut output))], activations, simd);
        (simd, output.iter().map(|value| value.to_bits()).collect())
    };
    twins.map(product).collect()
}

#[test]
fn every_twin_of_a_tiled_format_gives_the_same_bits() {
    let mut noise = Noise(4);
    for format in [Format::Q4K, Format::Q6K, Format::Q8_0] {
        for (rows, blocks) in [(1, 1), (15, 2), (16, 1), (17, 3), (40, 5), (256, 2)] {
            for n in [1, 2, 3, 4, 5, 8, 9, 16, 35] {
                let columns = blocks * format.block_elements();
                let weights = matrix(format, rows, columns, &mut noise);
                let mut activations = activations(n, columns, &mut noise);
                let mut truth = vec![0.0; n * rows];
                scalar::matmul(&weights, &mut activations, &mut truth).unwrap();
                let truth: Vec<u32> = truth.iter().map(|value| value.to_bits()).collect();
                for (simd, product) in by_every_twin(&weights, &activations) {
                    assert_eq!(product, truth, "{format:?} {rows}x{columns}, n {n}, {simd}");
                }
            }
        }
    }
}

#[test]
fn the_largest_quants_and_scales_overflow_nothing() {
    for format in [Format::Q4K, Format::Q6K, Format::Q8_0] {
        for (byte, sign) in [
            (0xff, 1.0),
            (0xff, -1.0),
            (0x7f, 1.0),
            (0x80, -1.0),
            (0x80, 1.0),
            (0x00, 1.0),
        ] {
            let (rows, columns) = (16, 512);
            let mut bytes = vec![byte; rows * columns / format.block_elements() * format.block_bytes()];
            for block in bytes.chunks_exact_mut(format.block_bytes()) {
                // f16 one, where the format has its scales.
                let places: &[usize] = match format {
                    Format::Q4K => &[0, 2],
                    Format::Q6K => &[208],
                    _ => &[0],
                };
                for at in places {
                    block[*at..*at + 2].copy_from_slice(&0x3c00u16.to_le_bytes());
                }
            }
            let weights = PackedMatrix::from_bytes(format, rows, columns, &bytes).unwrap();
            let mut activations = Activations::new();
            activations.copy_from(1, columns, &vec![sign; columns]).unwrap();
            let mut truth = vec![0.0; columns];
            weights.read_row(3, &mut truth);
            let truth: f64 = truth.iter().map(|weight| f64::from(*weight) * f64::from(sign)).sum();
            activations.prepare(format);
            for (simd, product) in by_every_twin(&weights, &activations) {
                let found = f64::from(f32::from_bits(product[3]));
                // Some roundings of f32.
                assert!(
                    (found - truth).abs() <= 1e-5 * truth.abs(),
                    "{format:?}, {byte:#x} times {sign}, {simd}: {found} against {truth}"
                );
            }
        }
    }
}

#[test]
fn products_together_are_those_alone() {
    let mut noise = Noise(5);
    let formats = [(Format::Q4K, 70), (Format::Q6K, 16), (Format::F16, 33)];
    let weights = formats.map(|(format, rows)| matrix(format, rows, 512, &mut noise));
    let mut activations = activations(3, 512, &mut noise);
    let mut together = [vec![0.0; 3 * 70], vec![0.0; 3 * 16], vec![0.0; 3 * 33]];
    let [a, b, c] = &mut together;
    let products = [
        (&weights[0], &mut a[..]),
        (&weights[1], &mut b[..]),
        (&weights[2], &mut c[..]),
    ];
    matmul_each(products, &mut activations).unwrap();
    for (weights, together) in weights.iter().zip(together) {
        let mut alone = vec![0.0; together.len()];
        matmul(weights, &mut activations, &mut alone).unwrap();
        assert_eq!(together, alone, "{:?}", weights.format());
    }
}

#[test]
fn a_product_is_that_of_the_dequantised_weights() {
    let mut noise = Noise(2);
    for format in Format::ALL {
        let (rows, columns) = (5, 512);
        let weights = matrix(format, rows, columns, &mut noise);
        let mut activations = activations(1, columns, &mut noise);
        let mut product = vec![0.0; rows];
        matmul(&weights, &mut activations, &mut product).unwrap();
        let mut row = vec![0.0; columns];
        for (index, value) in product.iter().enumerate() {
            weights.read_row(index, &mut row);
            let truth = math::dot(&row, activations.values());
            // Rounding 512 activations of size 1 to 8 bits: a standard error of 1 / 127 / sqrt(12) * sqrt(512 / 3) = 0.03.
            assert!(
                (value - truth).abs() < 0.15,
                "{format:?} row {index}: {value} against {truth}"
            );
        }
    }
}

#[test]
fn a_row_alone_is_the_same_row_in_company_bit_for_bit() {
    let mut noise = Noise(3);
    for format in Format::ALL {
        let (rows, columns) = (300, 768);
        let weights = matrix(format, rows, columns, &mut noise);
        for n in [2, 3, 8, 16, 65] {
            let mut together = activations(n, columns, &mut noise);
            let mut products = vec![0.0; n * rows];
            matmul(&weights, &mut together, &mut products).unwrap();
            for index in [0, n / 2, n - 1] {
                let mut alone = Activations::new();
                alone
                    .copy_from(1, columns, &together.values()[index * columns..(index + 1) * columns])
                    .unwrap();
                let mut product = vec![0.0; rows];
                matmul(&weights, &mut alone, &mut product).unwrap();
                assert_eq!(
                    product,
                    products[index * rows..(index + 1) * rows],
                    "{format:?}, row {index} of {n}"
                );
            }
        }
    }
}

#[test]
fn wrong_shapes_are_refused() {
    assert!(PackedMatrix::zeroed(Format::Q4K, 2, 255).is_err());
    assert!(PackedMatrix::zeroed(Format::Q4K, 0, 256).is_err());
    assert!(PackedMatrix::zeroed(Format::F32, usize::MAX, 256).is_err());
    assert!(PackedMatrix::zeroed(Format::F32, usize::MAX / 4096, 256).is_err());
    let weights = PackedMatrix::zeroed(Format::Q8_0, 2, 32).unwrap();
    let mut activations = Activations::new();
    activations.reshape(1, 64);
    assert!(matmul(&weights, &mut activations, &mut [0.0; 2]).is_err());
    activations.reshape(1, 32);
    assert!(matmul(&weights, &mut activations, &mut [0.0; 3]).is_err());
    assert!(matmul(&weights, &mut activations, &mut [0.0; 2]).is_ok());
}
