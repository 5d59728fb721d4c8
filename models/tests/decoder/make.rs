//! Small random models of every architecture, as GGUF files in memory, and a way to run them.

use candle_core::quantized::QTensor;
use candle_core::{Device, Tensor};
use engine::{BLOCK_TOKENS, LanguageModel, Segment, Wanted};
use library::testing::GgufFile;
use library::{Gguf, TensorType};
use models::{CpuModel, KvFormat, Weights};

use crate::truth::{LLAMA3_SCALING, dtype};

/// A model to be made.
#[derive(Clone)]
pub struct Recipe {
    pub architecture: &'static str,
    pub hidden: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub ffn: usize,
    pub layers: usize,
    pub vocabulary: usize,
    /// The type of a matrix, by its name.
    pub kinds: fn(&str) -> TensorType,
    pub is_tied: bool,
    /// Llama 3.1's rotary factors.
    pub has_factors: bool,
    pub seed: u64,
}

pub const CONTEXT_TOKENS: usize = 2048;
pub const ROPE_BASE: f32 = 10_000.0;

impl Recipe {
    /// Two query heads per key head; every matrix of one type.
    pub fn new(architecture: &'static str, kinds: fn(&str) -> TensorType) -> Recipe {
        Recipe {
            architecture,
            hidden: 256,
            heads: 4,
            kv_heads: 2,
            // Qwen 3's heads together are wider than its residual stream.
            head_dim: if architecture == "qwen3" { 128 } else { 64 },
            ffn: 512,
            layers: 3,
            vocabulary: 300,
            kinds,
            is_tied: false,
            has_factors: false,
            seed: 1,
        }
    }

    /// The file, in parts that a test may change.
    pub fn file(&self) -> GgufFile {
        let name = |key: &str| format!("{}.{key}", self.architecture);
        let number = |value: usize| u32::try_from(value).unwrap();
        let mut file = GgufFile::new()
            .text("general.architecture", self.architecture)
            .unsigned(&name("block_count"), number(self.layers))
            .unsigned(&name("context_length"), number(CONTEXT_TOKENS))
            .unsigned(&name("embedding_length"), number(self.hidden))
            .unsigned(&name("feed_forward_length"), number(self.ffn))
            .unsigned(&name("attention.head_count"), number(self.heads))
            .unsigned(&name("attention.head_count_kv"), number(self.kv_heads))
            .unsigned(&name("attention.key_length"), number(self.head_dim))
            .float(&name("attention.layer_norm_rms_epsilon"), 1e-6)
            .float(&name("rope.freq_base"), ROPE_BASE);
        let mut noise = Noise(self.seed);
        for (tensor, dims) in self.tensors() {
            file = self.tensor(file, &tensor, &dims, &mut noise);
        }
        file
    }

    /// The file as the library opens it.
    pub fn gguf(&self) -> Gguf {
        Gguf::from_bytes(self.file().bytes(), "random.gguf").unwrap()
    }

    /// Names and shapes, columns first.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (hidden, ffn) = (self.hidden, self.ffn);
        let (queries, keys) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let mut tensors = vec![("token_embd.weight".to_owned(), vec![hidden, self.vocabulary])];
        for layer in 0..self.layers {
            let mut add = |name: &str, dims: &[usize]| tensors.push((format!("blk.{layer}.{name}"), dims.to_vec()));
            add("attn_norm.weight", &[hidden]);
            add("attn_q.weight", &[hidden, queries]);
            add("attn_k.weight", &[hidden, keys]);
            add("attn_v.weight", &[hidden, keys]);
            add("attn_output.weight", &[queries, hidden]);
            add("ffn_norm.weight", &[hidden]);
            add("ffn_gate.weight", &[hidden, ffn]);
            add("ffn_up.weight", &[hidden, ffn]);
            add("ffn_down.weight", &[ffn, hidden]);
            if self.architecture == "qwen2" {
                add("attn_q.bias", &[queries]);
                add("attn_k.bias", &[keys]);
                add("attn_v.bias", &[keys]);
            }
            if self.architecture == "qwen3" {
                add("attn_q_norm.weight", &[self.head_dim]);
                add("attn_k_norm.weight", &[self.head_dim]);
            }
        }
        tensors.push(("output_norm.weight".to_owned(), vec![hidden]));
        if !self.is_tied {
            tensors.push(("output.weight".to_owned(), vec![hidden, self.vocabulary]));
        }
        if self.has_factors {
            tensors.push(("rope_freqs.weight".to_owned(), vec![self.head_dim / 2]));
        }
        tensors
    }

    fn tensor(&self, file: GgufFile, name: &str, dims: &[usize], noise: &mut Noise) -> GgufFile {
        let elements = dims.iter().product();
        let values: Vec<f32> = if name == "rope_freqs.weight" {
            llama3_factors(self.head_dim)
        } else if dims.len() == 1 && name.ends_with("weight") {
            noise.values(elements).iter().map(|value| 1.0 + 0.3 * value).collect()
        } else {
            // Numbers in -1..1 have a variance of 1/3: a matrix of this spread keeps the size of what it multiplies.
            let spread = if dims.len() == 1 {
                0.5
            } else {
                (3.0 / dims[0] as f32).sqrt()
            };
            noise.values(elements).iter().map(|value| value * spread).collect()
        };
        let kind = if dims.len() == 1 {
            TensorType::F32
        } else {
            (self.kinds)(name)
        };
        let shape: Vec<usize> = dims.iter().rev().copied().collect();
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        let bytes = QTensor::quantize(&tensor, dtype(kind))
            .unwrap()
            .data()
            .unwrap()
            .into_owned();
        let dims: Vec<u64> = dims.iter().map(|dim| *dim as u64).collect();
        file.tensor(name, &dims, kind, bytes)
    }
}

/// The divisors that Llama 3.1's scaling amounts to.
fn llama3_factors(head_dim: usize) -> Vec<f32> {
    let scaling = LLAMA3_SCALING;
    let context = scaling.original_max_position_embeddings as f32;
    let frequency = |pair: usize| ROPE_BASE.powf(-2.0 * pair as f32 / head_dim as f32);
    let factor = |pair: usize| {
        let wavelength = 2.0 * std::f32::consts::PI / frequency(pair);
        if wavelength < context / scaling.high_freq_factor {
            1.0
        } else if wavelength > context / scaling.low_freq_factor {
            scaling.factor
        } else {
            let range = scaling.high_freq_factor - scaling.low_freq_factor;
            let smooth = (context / wavelength - scaling.low_freq_factor) / range;
            1.0 / ((1.0 - smooth) / scaling.factor + smooth)
        }
    };
    (0..head_dim / 2).map(factor).collect()
}

/// A reproducible stream of numbers in -1..1.
pub struct Noise(pub u64);

impl Noise {
    /// The next 24 random bits.
    pub fn bits(&mut self) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 40).unwrap()
    }

    fn values(&mut self, count: usize) -> Vec<f32> {
        (0..count)
            .map(|_| self.bits() as f32 / (1u32 << 23) as f32 - 1.0)
            .collect()
    }

    /// Random tokens below `vocabulary`.
    pub fn tokens(&mut self, count: usize, vocabulary: usize) -> Vec<u32> {
        (0..count)
            .map(|_| self.bits() % u32::try_from(vocabulary).unwrap())
            .collect()
    }
}

/// A model over the file's weights with room for some sequences.
pub fn cpu_model(gguf: &Gguf) -> CpuModel {
    cpu_model_with(gguf, KvFormat::F16)
}

/// The same with keys and values stored as `kv_format`.
pub fn cpu_model_with(gguf: &Gguf, kv_format: KvFormat) -> CpuModel {
    CpuModel::new(Weights::load(gguf, &|_| ()).unwrap(), CONTEXT_TOKENS, 160, kv_format).unwrap()
}

/// A sequence under way in a model.
pub struct Sequence {
    pub block_table: Vec<u32>,
    pub position: usize,
}

impl Sequence {
    /// An empty sequence whose blocks begin at `first_block`, in falling order so that no order is taken for granted.
    pub fn new(first_block: u32, tokens: usize) -> Sequence {
        let blocks = u32::try_from(tokens.div_ceil(BLOCK_TOKENS)).unwrap();
        Sequence {
            block_table: (first_block..first_block + blocks).rev().collect(),
            position: 0,
        }
    }

    /// The next segment of the sequence.
    pub fn segment<'a>(&'a self, tokens: &'a [u32]) -> Segment<'a> {
        Segment {
            tokens,
            first_position: self.position,
            block_table: &self.block_table,
            wanted: Wanted::Logits,
        }
    }

    /// Runs `tokens` in one step of their own and returns the logits after the last.
    pub fn run(&mut self, model: &mut CpuModel, tokens: &[u32]) -> Vec<f32> {
        let mut logits = Vec::new();
        model.forward(&[self.segment(tokens)], &mut logits).unwrap();
        self.position += tokens.len();
        logits
    }
}
