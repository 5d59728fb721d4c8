//! What a layer feeds its matrices: f32 rows, and their 8-bit forms, made once and shared by every product that wants them.

use candle_core::quantized::k_quants::{BlockQ8_0, BlockQ8K, GgmlType};
use half::f16;

use crate::error::expect_length;
use crate::parallel::{SPREAD_FROM, for_each_chunk};
#[cfg(target_arch = "x86_64")]
use crate::simd;
use crate::storage::{Plain, bytes_of_mut};
use crate::{Format, KernelError};

/// Rows of activations `[rows, columns]` f32.
///
/// Products with quantised weights run on 8-bit activations (a scale per 32 or 256 elements, as the weights' format has
/// it); these are computed when first asked for and kept until the values are written again.
#[derive(Default)]
pub struct Activations {
    rows: usize,
    columns: usize,
    values: Vec<f32>,
    /// One scale per 32 elements, for Q4_0, Q5_0 and Q8_0 weights.
    q8_0: Fresh<BlockQ8_0>,
    /// One scale per 256 elements and the sums of each 16, for the K formats.
    q8_k: Fresh<BlockQ8K>,
}

/// A quantised form and whether it is that of the current values.
struct Fresh<T> {
    is_fresh: bool,
    blocks: Vec<T>,
}

impl<T> Default for Fresh<T> {
    fn default() -> Fresh<T> {
        Fresh {
            is_fresh: false,
            blocks: Vec::new(),
        }
    }
}

impl Activations {
    /// No rows.
    pub fn new() -> Activations {
        Activations::default()
    }

    /// Sets the shape; the values are whatever they were and are to be written through what this returns.
    pub fn reshape(&mut self, rows: usize, columns: usize) -> &mut [f32] {
        (self.rows, self.columns) = (rows, columns);
        self.values.resize(rows * columns, 0.0);
        self.q8_0.is_fresh = false;
        self.q8_k.is_fresh = false;
        &mut self.values
    }

    /// Rows held.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Elements of a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The values, `[rows, columns]`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Quantises now what a product with weights of `format` needs, unless it is there.
    pub(crate) fn prepare(&mut self, format: Format) {
        match format {
            Format::F32 | Format::F16 | Format::Bf16 => {}
            Format::Q4_0 | Format::Q5_0 | Format::Q8_0 => self.q8_0.refresh(&self.values),
            _ => self.q8_k.refresh(&self.values),
        }
    }

    /// The rows in blocks of 32; [`Activations::prepare`] came before.
    pub(crate) fn q8_0(&self) -> &[BlockQ8_0] {
        &self.q8_0.blocks
    }

    /// The rows in blocks of 256; [`Activations::prepare`] came before.
    pub(crate) fn q8_k(&self) -> &[BlockQ8K] {
        &self.q8_k.blocks
    }
}

/// An 8-bit block that a slice of f32 can be brought into.
pub(crate) trait Quantise: GgmlType + Plain {
    /// Writes the bytes of one block.
    fn quantise(values: &[f32], bytes: &mut [u8]);
}

impl<T: Quantise> Fresh<T> {
    fn refresh(&mut self, values: &[f32]) {
        if self.is_fresh {
            return;
        }
        self.blocks.resize(values.len() / T::BLCK_SIZE, T::zeros());
        let block_bytes = size_of::<T>();
        let bytes = bytes_of_mut(&mut self.blocks);
        if values.len() < SPREAD_FROM / 4 {
            quantise_blocks::<T>(values, bytes);
        } else {
            let run = 16;
            for_each_chunk(bytes, run * block_bytes, |index, bytes| {
                quantise_blocks::<T>(&values[index * run * T::BLCK_SIZE..], bytes);
            });
        }
        self.is_fresh = true;
    }
}

fn quantise_blocks<T: Quantise>(values: &[f32], bytes: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if simd::has_avx2() {
        // SAFETY: AVX2 was just found.
        return unsafe { quantise_blocks_avx2::<T>(values, bytes) };
    }
    quantise_blocks_scalar::<T>(values, bytes);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn quantise_blocks_avx2<T: Quantise>(values: &[f32], bytes: &mut [u8]) {
    quantise_blocks_scalar::<T>(values, bytes);
}

#[inline(always)]
fn quantise_blocks_scalar<T: Quantise>(values: &[f32], bytes: &mut [u8]) {
    for (values, bytes) in values
        .chunks_exact(T::BLCK_SIZE)
        .zip(bytes.chunks_exact_mut(size_of::<T>()))
    {
        T::quantise(values, bytes);
    }
}

/// The largest magnitude, over 32 lanes so that it vectorises.
///
/// Magnitudes are compared by their bits, in whose order a NaN is the largest: `f32::max` would drop it.
#[inline(always)]
fn magnitude(values: &[f32]) -> f32 {
    let mut lanes = [0i32; 32];
    for chunk in values.as_chunks::<32>().0 {
        for lane in 0..32 {
            lanes[lane] = lanes[lane].max((chunk[lane].to_bits() & 0x7fff_ffff) as i32);
        }
    }
    f32::from_bits(lanes.into_iter().fold(0, i32::max) as u32)
}

/// The integers nearest to `values * inverse`, which are at most 127 in magnitude.
#[inline(always)]
fn quants(values: &[f32], inverse: f32, bytes: &mut [u8]) {
    for (value, byte) in values.iter().zip(bytes) {
        // The low mantissa bits of a number near 1.5 * 2^23 are the integer in two's complement.
        *byte = (value * inverse + 12_582_912.0).to_bits() as u8;
    }
}

impl Quantise for BlockQ8_0 {
    /// Layout: scale f16, 32 signed bytes.
    #[inline(always)]
    fn quantise(values: &[f32], bytes: &mut [u8]) {
        let largest = magnitude(values);
        let inverse = if largest == 0.0 { 0.0 } else { 127.0 / largest };
        bytes[..2].copy_from_slice(&f16::from_f32(largest / 127.0).to_le_bytes());
        quants(values, inverse, &mut bytes[2..34]);
    }
}

impl Quantise for BlockQ8K {
    /// Layout: scale f32, 256 signed bytes, 16 sums of 16 as i16.
    #[inline(always)]
    fn quantise(values: &[f32], bytes: &mut [u8]) {
        let largest = magnitude(values);
        let inverse = if largest == 0.0 { 0.0 } else { 127.0 / largest };
        let (scale, rest) = bytes.split_at_mut(4);
        let (quant_bytes, sums) = rest.split_at_mut(256);
        scale.copy_from_slice(&(largest / 127.0).to_le_bytes());
        quants(values, inverse, quant_bytes);
        for (group, sum) in quant_bytes.as_chunks::<16>().0.iter().zip(sums.as_chunks_mut::<2>().0) {
            *sum = group
                .iter()
                .map(|byte| i16::from(*byte as i8))
                .sum::<i16>()
                .to_le_bytes();
        }
    }
}

impl Activations {
    /// Takes a copy of `values`, `[rows, columns]`.
    ///
    /// # Errors
    /// `Length` if `values` has another length.
    pub fn copy_from(&mut self, rows: usize, columns: usize, values: &[f32]) -> Result<(), KernelError> {
        expect_length("the activations", values.len(), rows * columns)?;
        self.reshape(rows, columns).copy_from_slice(values);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(elements: usize) -> Vec<f32> {
        (0..elements).map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.03).collect()
    }

    #[test]
    fn eight_bits_are_within_half_a_step() {
        let values = wave(512);
        let (mut small, mut large) = (Activations::new(), vec![0.0; 512]);
        small.copy_from(2, 256, &values).unwrap();
        small.prepare(Format::Q8_0);
        BlockQ8_0::to_float(small.q8_0(), &mut large);
        small.prepare(Format::Q4K);
        let mut larger = vec![0.0; 512];
        BlockQ8K::to_float(small.q8_k(), &mut larger);
        for ((value, in_32), in_256) in values.iter().zip(large).zip(larger) {
            let step = 1.5 / 127.0;
            assert!((value - in_32).abs() < 0.51 * step, "{value} became {in_32}");
            assert!((value - in_256).abs() < 0.51 * step, "{value} became {in_256}");
        }
    }

    #[test]
    fn wide_registers_quantise_to_the_same_bytes() {
        let values = wave(1024);
        let (mut fast, mut truth) = (vec![0u8; 4 * 292], vec![0u8; 4 * 292]);
        quantise_blocks::<BlockQ8K>(&values, &mut fast);
        quantise_blocks_scalar::<BlockQ8K>(&values, &mut truth);
        assert_eq!(fast, truth);
    }

    #[test]
    fn writing_values_drops_their_old_8_bit_form() {
        let mut activations = Activations::new();
        activations.copy_from(1, 32, &[1.0; 32]).unwrap();
        activations.prepare(Format::Q8_0);
        activations.reshape(1, 32).fill(2.0);
        activations.prepare(Format::Q8_0);
        let mut values = [0.0; 32];
        BlockQ8_0::to_float(activations.q8_0(), &mut values);
        assert!((values[0] - 2.0).abs() < 0.01);
    }

    #[test]
    fn a_row_of_zeros_and_a_row_with_nan_are_not_confused() {
        let mut activations = Activations::new();
        let rows = activations.reshape(2, 32);
        rows[33] = f32::NAN;
        activations.prepare(Format::Q8_0);
        let mut values = [0.0; 64];
        BlockQ8_0::to_float(activations.q8_0(), &mut values);
        assert!(values[..32].iter().all(|value| *value == 0.0));
        assert!(values[32..].iter().any(|value| value.is_nan()));
    }
}
