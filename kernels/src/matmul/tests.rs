//! Parity of the twins over formats and odd shapes; the company of other rows changes nothing.

use candle_core::quantized::k_quants::{
    BlockQ2K, BlockQ3K, BlockQ4_0, BlockQ4K, BlockQ5_0, BlockQ5K, BlockQ6K, BlockQ8_0, GgmlType,
};
use half::{bf16, f16};

use super::*;
use crate::storage::{Plain, bytes_of};
use crate::{Format, math};

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
fn encode(format: Format, values: &[f32]) -> Vec<u8> {
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
