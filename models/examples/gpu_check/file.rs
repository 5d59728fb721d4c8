//! Writes a model of random weights of any size, tensor by tensor, as fast as the disk takes it.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use half::f16;
use library::TensorType;
use library::testing::GgufFile;

use crate::shape::{CONTEXT_TOKENS, Shape, Tensor};

/// Where tensors begin: the format's usual multiple.
const ALIGNMENT: u64 = 32;
/// Blocks that are made at a time.
const BLOCKS: u64 = 4096;

/// Writes the model of `shape` to `path`; the same bytes for the same seed.
pub fn write(shape: &Shape, path: &Path, seed: u64) -> io::Result<u64> {
    let tensors = shape.tensors();
    let mut file = BufWriter::with_capacity(4 << 20, File::create(path)?);
    let head = head(shape, &tensors);
    file.write_all(&head)?;
    let (mut noise, mut written, mut bytes) = (Noise(seed), head.len() as u64, Vec::new());
    for tensor in &tensors {
        let (columns, all) = (tensor.dims[0], blocks_of(tensor));
        for first in (0..all).step_by(BLOCKS as usize) {
            bytes.clear();
            for _ in first..all.min(first + BLOCKS) {
                block(tensor, columns, &mut noise, &mut bytes);
            }
            file.write_all(&bytes)?;
        }
        let end = bytes_of(tensor);
        let gap = end.next_multiple_of(ALIGNMENT) - end;
        file.write_all(&[0; ALIGNMENT as usize][..gap as usize])?;
        written += end + gap;
    }
    file.into_inner()?.sync_all()?;
    Ok(written)
}

/// Metadata and the list of tensors, without their bytes.
fn head(shape: &Shape, tensors: &[Tensor]) -> Vec<u8> {
    let number = |value: usize| u32::try_from(value).unwrap();
    let mut file = GgufFile::new()
        .text("general.architecture", "qwen2")
        .text("general.name", &format!("random {}", shape.name))
        .unsigned("qwen2.block_count", number(shape.layers))
        .unsigned("qwen2.context_length", number(CONTEXT_TOKENS))
        .unsigned("qwen2.embedding_length", number(shape.hidden))
        .unsigned("qwen2.feed_forward_length", number(shape.ffn))
        .unsigned("qwen2.attention.head_count", number(shape.heads))
        .unsigned("qwen2.attention.head_count_kv", number(shape.kv_heads))
        .float("qwen2.attention.layer_norm_rms_epsilon", 1e-6)
        .float("qwen2.rope.freq_base", 1e6);
    let mut offset = 0;
    for tensor in tensors {
        file = file
            .tensor(&tensor.name, &tensor.dims, tensor.kind, Vec::new())
            .at_offset(offset);
        offset += bytes_of(tensor).next_multiple_of(ALIGNMENT);
    }
    file.bytes()
}

fn blocks_of(tensor: &Tensor) -> u64 {
    tensor.dims.iter().product::<u64>() / tensor.kind.block_elements()
}

fn bytes_of(tensor: &Tensor) -> u64 {
    blocks_of(tensor) * tensor.kind.block_bytes()
}

/// Appends one random block: of a matrix, such that what it multiplies keeps its size.
fn block(tensor: &Tensor, columns: u64, noise: &mut Noise, bytes: &mut Vec<u8>) {
    let spread = (1.0 / columns as f32).sqrt();
    match tensor.kind {
        TensorType::F32 => {
            let value = if tensor.name.ends_with("norm.weight") {
                1.0 + 0.3 * noise.unit()
            } else {
                0.5 * noise.unit()
            };
            bytes.extend(value.to_le_bytes());
        }
        TensorType::Q4K => q4k(spread, noise, bytes),
        TensorType::Q6K => q6k(spread, noise, bytes),
        other => panic!("{} is not written here", other.name()),
    }
}

/// 256 elements: two f16 scales, eight 6-bit scales and as many minima in twelve bytes, 4 bits each.
///
/// Minima equal scales and their factor is 7.5 times the scales': an element is factor x scale x (0..=15 - 7.5). A
/// uniform scale of 0..=63 has a root mean square of 36.5, what it multiplies one of 4.61.
fn q4k(spread: f32, noise: &mut Noise, bytes: &mut Vec<u8>) {
    let factor = spread / (36.5 * 4.61);
    bytes.extend(f16::from_f32(factor).to_le_bytes());
    bytes.extend(f16::from_f32(7.5 * factor).to_le_bytes());
    let [low, high] = [noise.next().to_le_bytes(), noise.next().to_le_bytes()];
    bytes.extend(&low[..4]);
    bytes.extend(&low[..4]);
    bytes.extend(high[..4].iter().map(|byte| (byte & 15) * 17));
    (0..16).for_each(|_| bytes.extend(noise.next().to_le_bytes()));
}

/// 256 elements: the low four bits, the high two bits, sixteen 8-bit scales, their f16 factor.
///
/// Scales of -16..=15 have a root mean square of 9.25, what they multiply (0..=63 - 32) one of 18.5.
fn q6k(spread: f32, noise: &mut Noise, bytes: &mut Vec<u8>) {
    (0..24).for_each(|_| bytes.extend(noise.next().to_le_bytes()));
    for _ in 0..2 {
        let scales = noise.next().to_le_bytes();
        bytes.extend(scales.map(|byte| (byte & 31).wrapping_sub(16)));
    }
    bytes.extend(f16::from_f32(spread / (9.25 * 18.5)).to_le_bytes());
}

/// A reproducible stream of random bits.
///
/// Source: xorshift64*, Vigna 2016.
pub struct Noise(pub u64);

impl Noise {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// In -1..1.
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    /// Token ids below `vocabulary`.
    pub fn tokens(&mut self, count: usize, vocabulary: usize) -> Vec<u32> {
        (0..count)
            .map(|_| ((self.next() >> 32) % vocabulary as u64) as u32)
            .collect()
    }
}
