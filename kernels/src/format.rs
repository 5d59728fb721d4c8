//! The block formats of weights, and what their bytes mean.
//!
//! Every quantised format is a row of blocks, and every block is groups of 16 small integers with a scale and sometimes a
//! minimum: `value = scale * group_scale * quant - minimum * group_minimum`. [`Block::read`] brings each format into that
//! one form, which the scalar matrix product and the embedding share.

use half::{bf16, f16};

/// How a matrix of weights is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The names are the formats' own.
pub enum Format {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q5_0,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
}

/// The most elements that a block holds.
pub(crate) const BLOCK_ELEMENTS_MAX: usize = 256;
/// The elements that share a scale at least.
pub(crate) const GROUP: usize = 16;

impl Format {
    /// Every format.
    pub const ALL: [Format; 11] = [
        Format::F32,
        Format::F16,
        Format::Bf16,
        Format::Q4_0,
        Format::Q5_0,
        Format::Q8_0,
        Format::Q2K,
        Format::Q3K,
        Format::Q4K,
        Format::Q5K,
        Format::Q6K,
    ];

    /// Elements in one block; a row is a whole number of blocks.
    pub fn block_elements(self) -> usize {
        match self {
            Format::F32 | Format::F16 | Format::Bf16 => 1,
            Format::Q4_0 | Format::Q5_0 | Format::Q8_0 => 32,
            Format::Q2K | Format::Q3K | Format::Q4K | Format::Q5K | Format::Q6K => 256,
        }
    }

    /// Bytes of one block.
    pub fn block_bytes(self) -> usize {
        match self {
            Format::F32 => 4,
            Format::F16 | Format::Bf16 => 2,
            Format::Q4_0 => 18,
            Format::Q5_0 => 22,
            Format::Q8_0 => 34,
            Format::Q2K => 84,
            Format::Q3K => 110,
            Format::Q4K => 144,
            Format::Q5K => 176,
            Format::Q6K => 210,
        }
    }
}

/// One block of any quantised format, in the common form. Groups past the end of a short block are zero.
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Block {
    /// Multiplies the groups' scales.
    pub(crate) scale: f32,
    /// Multiplies the groups' minimums.
    pub(crate) minimum: f32,
    /// One per group of 16 elements.
    pub(crate) group_scales: [i32; BLOCK_ELEMENTS_MAX / GROUP],
    /// One per group of 16 elements.
    pub(crate) group_minimums: [i32; BLOCK_ELEMENTS_MAX / GROUP],
    /// In the order of the row.
    pub(crate) quants: [i32; BLOCK_ELEMENTS_MAX],
}

fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// The 6-bit scale and minimum of 32-element group `j` of a Q4_K or Q5_K block, from their 12 packed bytes.
pub(crate) fn scale_and_minimum(packed: &[u8], j: usize) -> (u8, u8) {
    if j < 4 {
        (packed[j] & 63, packed[j + 4] & 63)
    } else {
        let scale = (packed[j + 4] & 15) | ((packed[j - 4] >> 6) << 4);
        (scale, (packed[j + 4] >> 4) | ((packed[j] >> 6) << 4))
    }
}

/// The 6-bit scale (offset by 32) of 16-element group `j` of a Q3_K block: the low 4 bits lie in bytes 0 to 7, the high
/// 2 bits in bytes 8 to 11.
fn q3k_scale(packed: &[u8], j: usize) -> i32 {
    let low = if j < 8 { packed[j] & 15 } else { packed[j - 8] >> 4 };
    let high = (packed[8 + j % 4] >> (2 * (j / 4))) & 3;
    i32::from(low | (high << 4)) - 32
}

impl Block {
    /// A block of zero quants and group scales.
    pub(crate) fn scaled(scale: f32, minimum: f32) -> Block {
        Block {
            scale,
            minimum,
            group_scales: [0; 16],
            group_minimums: [0; 16],
            quants: [0; BLOCK_ELEMENTS_MAX],
        }
    }

    /// Writes the values of the block's first elements, as many as `values` takes.
    pub(crate) fn write(&self, values: &mut [f32]) {
        for (index, value) in values.iter_mut().enumerate() {
            let group = index / GROUP;
            let scale = self.scale * self.group_scales[group] as f32;
            let minimum = self.minimum * self.group_minimums[group] as f32;
            *value = scale * self.quants[index] as f32 - minimum;
        }
    }

    /// Reads the block at the start of `bytes`; `format` is a quantised one.
    pub(crate) fn read(format: Format, bytes: &[u8]) -> Block {
        let mut block = Block::scaled(0.0, 0.0);
        match format {
            Format::F32 | Format::F16 | Format::Bf16 => {
                unreachable!("plain numbers have no blocks")
            }
            Format::Q4_0 => block.read_q4_0(bytes),
            Format::Q5_0 => block.read_q5_0(bytes),
            Format::Q8_0 => block.read_q8_0(bytes),
            Format::Q2K => block.read_q2k(bytes),
            Format::Q3K => block.read_q3k(bytes),
            Format::Q4K => block.read_q4k(bytes),
            Format::Q5K => block.read_q5k(bytes),
            Format::Q6K => block.read_q6k(bytes),
        }
        block
    }

    /// f16 scale, 16 bytes of nibbles: low nibbles are elements 0 to 15, high ones 16 to 31; offset 8.
    fn read_q4_0(&mut self, bytes: &[u8]) {
        self.scale = half_at(bytes, 0);
        self.group_scales[..2].fill(1);
        for l in 0..16 {
            self.quants[l] = i32::from(bytes[2 + l] & 15) - 8;
            self.quants[l + 16] = i32::from(bytes[2 + l] >> 4) - 8;
        }
    }

    /// As Q4_0 with a fifth bit for each element in 4 bytes before the nibbles; offset 16.
    fn read_q5_0(&mut self, bytes: &[u8]) {
        self.scale = half_at(bytes, 0);
        self.group_scales[..2].fill(1);
        let high = u32::from_le_bytes([bytes[2], bytes[3], bytes[4], bytes[5]]);
        let fifth = |element: usize| i32::from((high >> element) & 1 == 1) << 4;
        for l in 0..16 {
            self.quants[l] = (i32::from(bytes[6 + l] & 15) | fifth(l)) - 16;
            self.quants[l + 16] = (i32::from(bytes[6 + l] >> 4) | fifth(l + 16)) - 16;
        }
    }

    /// f16 scale, 32 signed bytes.
    fn read_q8_0(&mut self, bytes: &[u8]) {
        self.scale = half_at(bytes, 0);
        self.group_scales[..2].fill(1);
        for l in 0..32 {
            self.quants[l] = i32::from(i8::from_le_bytes([bytes[2 + l]]));
        }
    }

    /// 16 bytes of scale (low nibble) and minimum (high nibble), 64 bytes of 2-bit quants, scale, minimum. In each half of
    /// 128 elements, bits 2k and 2k+1 of byte l are element 32k + l.
    fn read_q2k(&mut self, bytes: &[u8]) {
        (self.scale, self.minimum) = (half_at(bytes, 80), half_at(bytes, 82));
        for (j, byte) in bytes[..16].iter().enumerate() {
            self.group_scales[j] = i32::from(byte & 15);
            self.group_minimums[j] = i32::from(byte >> 4);
        }
        for element in 0..256 {
            let (half, k, l) = (element / 128, element % 128 / 32, element % 32);
            self.quants[element] = i32::from((bytes[16 + 32 * half + l] >> (2 * k)) & 3);
        }
    }

    /// 32 bytes of third bits (set = do not subtract 4), 64 bytes of 2-bit quants as in Q2_K, 12 bytes of scales, scale.
    fn read_q3k(&mut self, bytes: &[u8]) {
        self.scale = half_at(bytes, 108);
        for j in 0..16 {
            self.group_scales[j] = q3k_scale(&bytes[96..108], j);
        }
        for element in 0..256 {
            let (half, k, l) = (element / 128, element % 128 / 32, element % 32);
            let low = i32::from((bytes[32 + 32 * half + l] >> (2 * k)) & 3);
            let third = i32::from((bytes[l] >> (4 * half + k)) & 1);
            self.quants[element] = low + 4 * third - 4;
        }
    }

    /// Scale, minimum, 12 bytes of 6-bit group scales and minimums, 128 bytes of nibbles: in each 64 elements, the low
    /// nibbles come first.
    fn read_q4k(&mut self, bytes: &[u8]) {
        self.read_k_scales(bytes);
        for element in 0..256 {
            let byte = bytes[16 + element / 64 * 32 + element % 32];
            self.quants[element] = i32::from(if element % 64 < 32 { byte & 15 } else { byte >> 4 });
        }
    }

    /// As Q4_K with 32 bytes of fifth bits before the nibbles: bit k of byte l belongs to element 32k + l.
    fn read_q5k(&mut self, bytes: &[u8]) {
        self.read_k_scales(bytes);
        for element in 0..256 {
            let byte = bytes[48 + element / 64 * 32 + element % 32];
            let low = if element % 64 < 32 { byte & 15 } else { byte >> 4 };
            let fifth = (bytes[16 + element % 32] >> (element / 32)) & 1;
            self.quants[element] = i32::from(low | (fifth << 4));
        }
    }

    fn read_k_scales(&mut self, bytes: &[u8]) {
        (self.scale, self.minimum) = (half_at(bytes, 0), half_at(bytes, 2));
        for j in 0..8 {
            let (scale, minimum) = scale_and_minimum(&bytes[4..16], j);
            self.group_scales[2 * j..2 * j + 2].fill(i32::from(scale));
            self.group_minimums[2 * j..2 * j + 2].fill(i32::from(minimum));
        }
    }

    /// 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 signed group scales, scale; offset 32. In each half of 128
    /// elements: element 32k + l has its nibble in byte 32 (k % 2) + l (low for k < 2) and its pair k in byte l.
    fn read_q6k(&mut self, bytes: &[u8]) {
        self.scale = half_at(bytes, 208);
        for j in 0..16 {
            self.group_scales[j] = i32::from(i8::from_le_bytes([bytes[192 + j]]));
        }
        for element in 0..256 {
            let (half, k, l) = (element / 128, element % 128 / 32, element % 32);
            let nibbles = bytes[64 * half + 32 * (k % 2) + l];
            let low = if k < 2 { nibbles & 15 } else { nibbles >> 4 };
            let high = (bytes[128 + 32 * half + l] >> (2 * k)) & 3;
            self.quants[element] = i32::from(low | (high << 4)) - 32;
        }
    }
}

/// Writes the values of a row, or of any whole number of blocks.
pub(crate) fn dequantise(format: Format, bytes: &[u8], values: &mut [f32]) {
    match format {
        Format::F32 => {
            for (value, raw) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *value = f32::from_le_bytes(*raw);
            }
        }
        Format::F16 => {
            for (value, raw) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *value = f16::from_le_bytes(*raw).to_f32();
            }
        }
        Format::Bf16 => {
            for (value, raw) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *value = bf16::from_le_bytes(*raw).to_f32();
            }
        }
        _ => {
            let blocks = bytes.chunks_exact(format.block_bytes());
            for (values, bytes) in values.chunks_exact_mut(format.block_elements()).zip(blocks) {
                Block::read(format, bytes).write(values);
            }
        }
    }
}
