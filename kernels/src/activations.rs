//! What a layer feeds its matrices: f32 rows, and their 8-bit forms, made once and shared by every product that wants them.

use half::f16;

use crate::error::expect_length;
use crate::parallel::{SPREAD_FROM, for_each_chunk};
#[cfg(target_arch = "x86_64")]
use crate::simd;
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
    /// For Q8_0 weights.
    q8_0: Fresh<Q8_0>,
    /// For Q4_0 and Q5_0 weights.
    candle_q8_0: Fresh<CandleQ8_0>,
    /// For Q4_K and Q6_K weights.
    q8_k: Fresh<Q8K>,
    /// For the other K formats.
    candle_q8_k: Fresh<CandleQ8K>,
}

/// 32 activations in 8 bits.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Q8_0 {
    /// Multiplies the quants.
    pub(crate) scale: f32,
    /// Of the quants.
    pub(crate) sum: i32,
    /// -127 to 127.
    pub(crate) quants: [i8; 32],
}

/// The same as candle has it, `BlockQ8_0`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct CandleQ8_0 {
    /// Multiplies the quants, f16.
    pub(crate) scale: u16,
    pub(crate) quants: [i8; 32],
}

/// 256 activations in 8 bits.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Q8K {
    /// Multiplies the quants.
    pub(crate) scale: f32,
    /// -127 to 127.
    pub(crate) quants: [i8; 256],
    /// Of each 16 quants.
    pub(crate) sums: [i16; 16],
    /// Of each 32 quants.
    pub(crate) sums_of_32: [i16; 8],
}

/// The same as candle has it, `BlockQ8K`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct CandleQ8K {
    pub(crate) scale: f32,
    pub(crate) quants: [i8; 256],
    sums: [i16; 16],
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
        self.candle_q8_0.is_fresh = false;
        self.q8_k.is_fresh = false;
        self.candle_q8_k.is_fresh = false;
        &mut self.values
    }

    /// Takes a copy of `values`, `[rows, columns]`.
    ///
    /// # Errors
    /// `Length` if `values` has another length.
    pub fn copy_from(&mut self, rows: usize, columns: usize, values: &[f32]) -> Result<(), KernelError> {
        expect_length("the activations", values.len(), rows * columns)?;
        self.reshape(rows, columns).copy_from_slice(values);
        Ok(())
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
            Format::Q8_0 => self.q8_0.refresh(&self.values),
            Format::Q4_0 | Format::Q5_0 => self.candle_q8_0.refresh(&self.values),
            Format::Q4K | Format::Q6K => self.q8_k.refresh(&self.values),
            Format::Q2K | Format::Q3K | Format::Q5K => self.candle_q8_k.refresh(&self.values),
        }
    }

    /// Row `row` in blocks of 32; [`Activations::prepare`] came before.
    pub(crate) fn q8_0(&self, row: usize) -> &[Q8_0] {
        self.q8_0.row(row, self.columns)
    }

    /// Row `row` in candle's blocks of 32; [`Activations::prepare`] came before.
    pub(crate) fn candle_q8_0(&self, row: usize) -> &[CandleQ8_0] {
        self.candle_q8_0.row(row, self.columns)
    }

    /// Row `row` in blocks of 256; [`Activations::prepare`] came before.
    pub(crate) fn q8_k(&self, row: usize) -> &[Q8K] {
        self.q8_k.row(row, self.columns)
    }

    /// Row `row` in candle's blocks of 256; [`Activations::prepare`] came before.
    pub(crate) fn candle_q8_k(&self, row: usize) -> &[CandleQ8K] {
        self.candle_q8_k.row(row, self.columns)
    }
}

/// An 8-bit block that as many f32 can be brought into.
trait Quantise: Copy + Send + Sync {
    /// Elements of a block.
    const ELEMENTS: usize;
    /// A block of zeros.
    const ZERO: Self;

    /// Writes one block.
    fn quantise(&mut self, values: &[f32]);
}

impl<T: Quantise> Fresh<T> {
    fn row(&self, row: usize, columns: usize) -> &[T] {
        let blocks = columns / T::ELEMENTS;
        &self.blocks[row * blocks..(row + 1) * blocks]
    }

    fn refresh(&mut self, values: &[f32]) {
        if self.is_fresh {
            return;
        }
        self.blocks.resize(values.len() / T::ELEMENTS, T::ZERO);
        if values.len() < SPREAD_FROM / 4 {
            quantise(values, &mut self.blocks);
        } else {
            let run = 16;
            for_each_chunk(&mut self.blocks, run, |index, blocks| {
                quantise(&values[index * run * T::ELEMENTS..], blocks);
            });
        }
        self.is_fresh = true;
    }
}

fn quantise<T: Quantise>(values: &[f32], blocks: &mut [T]) {
    #[cfg(target_arch = "x86_64")]
    if simd::has_avx2() {
        // SAFETY: AVX2 was just found.
        return unsafe { quantise_avx2(values, blocks) };
    }
    quantise_scalar(values, blocks);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn quantise_avx2<T: Quantise>(values: &[f32], blocks: &mut [T]) {
    quantise_scalar(values, blocks);
}

#[inline(always)]
fn quantise_scalar<T: Quantise>(values: &[f32], blocks: &mut [T]) {
    for (values, block) in values.chunks_exact(T::ELEMENTS).zip(blocks) {
        block.quantise(values);
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

/// Writes the integers nearest to `values` times 127 / `largest`.
#[inline(always)]
fn round(values: &[f32], largest: f32, quants: &mut [i8]) {
    let inverse = if largest == 0.0 { 0.0 } else { 127.0 / largest };
    for (value, quant) in values.iter().zip(quants) {
        // The low mantissa bits of a number near 1.5 * 2^23 are the integer in two's complement.
        *quant = (value * inverse + 12_582_912.0).to_bits() as i8;
    }
}

impl Quantise for Q8_0 {
    const ELEMENTS: usize = 32;
    const ZERO: Q8_0 = Q8_0 {
        scale: 0.0,
        sum: 0,
        quants: [0; 32],
    };

    #[inline(always)]
    fn quantise(&mut self, values: &[f32]) {
        let largest = magnitude(values);
        self.scale = largest / 127.0;
        round(values, largest, &mut self.quants);
        self.sum = self.quants.iter().map(|quant| i32::from(*quant)).sum();
    }
}

impl Quantise for CandleQ8_0 {
    const ELEMENTS: usize = 32;
    const ZERO: CandleQ8_0 = CandleQ8_0 {
        scale: 0,
        quants: [0; 32],
    };

    #[inline(always)]
    fn quantise(&mut self, values: &[f32]) {
        let largest = magnitude(values);
        self.scale = f16::from_f32(largest / 127.0).to_bits();
        round(values, largest, &mut self.quants);
    }
}

impl Quantise for Q8K {
    const ELEMENTS: usize = 256;
    const ZERO: Q8K = Q8K {
        scale: 0.0,
        quants: [0; 256],
        sums: [0; 16],
        sums_of_32: [0; 8],
    };

    #[inline(always)]
    fn quantise(&mut self, values: &[f32]) {
        let mut block = CandleQ8K::ZERO;
        block.quantise(values);
        (self.scale, self.quants, self.sums) = (block.scale, block.quants, block.sums);
        for (pair, sum) in block.sums.as_chunks::<2>().0.iter().zip(&mut self.sums_of_32) {
            *sum = pair[0] + pair[1];
        }
    }
}

impl Quantise for CandleQ8K {
    const ELEMENTS: usize = 256;
    const ZERO: CandleQ8K = CandleQ8K {
        scale: 0.0,
        quants: [0; 256],
        sums: [0; 16],
    };

    #[inline(always)]
    fn quantise(&mut self, values: &[f32]) {
        let largest = magnitude(values);
        self.scale = largest / 127.0;
        round(values, largest, &mut self.quants);
        for (group, sum) in self.quants.as_chunks::<16>().0.iter().zip(&mut self.sums) {
            *sum = group.iter().map(|quant| i16::from(*quant)).sum();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::bytes_of;

    fn wave(elements: usize) -> Vec<f32> {
        (0..elements).map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.03).collect()
    }

    /// What the blocks stand for.
    fn values_of(activations: &Activations, format: Format) -> Vec<f32> {
        let row = |row| match format {
            Format::Q8_0 => {
                let blocks = activations.q8_0(row).iter();
                blocks.map(|block| (block.scale, &block.quants[..])).collect::<Vec<_>>()
            }
            Format::Q4_0 => {
                let blocks = activations.candle_q8_0(row).iter();
                let scale = |block: &CandleQ8_0| f16::from_bits(block.scale).to_f32();
                blocks.map(|block| (scale(block), &block.quants[..])).collect()
            }
            Format::Q5K => {
                let blocks = activations.candle_q8_k(row).iter();
                blocks.map(|block| (block.scale, &block.quants[..])).collect()
            }
            _ => {
                let blocks = activations.q8_k(row).iter();
                blocks.map(|block| (block.scale, &block.quants[..])).collect()
            }
        };
        let blocks = (0..activations.rows()).flat_map(row);
        blocks
            .flat_map(|(scale, quants)| quants.iter().map(move |quant| scale * f32::from(*quant)))
            .collect()
    }

    #[test]
    fn eight_bits_are_within_half_a_step() {
        let values = wave(512);
        for format in [Format::Q8_0, Format::Q4_0, Format::Q4K, Format::Q5K] {
            let mut activations = Activations::new();
            activations.copy_from(2, 256, &values).unwrap();
            activations.prepare(format);
            for (value, found) in values.iter().zip(values_of(&activations, format)) {
                assert!((value - found).abs() < 0.51 * 1.5 / 127.0, "{value} became {found}");
            }
        }
    }

    #[test]
    fn sums_are_those_of_sixteen_and_of_thirty_two_quants() {
        let mut activations = Activations::new();
        activations.copy_from(1, 512, &wave(512)).unwrap();
        activations.prepare(Format::Q8_0);
        for block in activations.q8_0(0) {
            assert_eq!(
                block.quants.iter().map(|quant| i32::from(*quant)).sum::<i32>(),
                block.sum
            );
        }
        activations.prepare(Format::Q6K);
        for block in activations.q8_k(0) {
            for (quants, sum) in block.quants.chunks(16).zip(block.sums) {
                assert_eq!(
                    quants.iter().map(|quant| i32::from(*quant)).sum::<i32>(),
                    i32::from(sum)
                );
            }
        }
    }

    #[test]
    fn wide_registers_quantise_to_the_same_bytes() {
        let values = wave(1024);
        let (mut fast, mut truth) = ([Q8K::ZERO; 4], [Q8K::ZERO; 4]);
        quantise(&values, &mut fast);
        quantise_scalar(&values, &mut truth);
        assert_eq!(bytes_of(&fast), bytes_of(&truth));
    }

    #[test]
    fn writing_values_drops_their_old_8_bit_form() {
        let mut activations = Activations::new();
        activations.copy_from(1, 32, &[1.0; 32]).unwrap();
        activations.prepare(Format::Q8_0);
        activations.reshape(1, 32).fill(2.0);
        activations.prepare(Format::Q8_0);
        assert!((values_of(&activations, Format::Q8_0)[0] - 2.0).abs() < 0.01);
    }

    #[test]
    fn a_row_of_zeros_and_a_row_with_nan_are_not_confused() {
        let mut activations = Activations::new();
        let rows = activations.reshape(2, 32);
        rows[33] = f32::NAN;
        activations.prepare(Format::Q8_0);
        let values = values_of(&activations, Format::Q8_0);
        assert!(values[..32].iter().all(|value| *value == 0.0));
        assert!(values[32..].iter().any(|value| value.is_nan()));
    }
}
