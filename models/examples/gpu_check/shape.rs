//! The shapes of the models that are made, and which of their tensors Q4_K_M stores finer.

use library::TensorType;

/// A model to be made.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub name: &'static str,
    pub layers: usize,
    pub hidden: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub ffn: usize,
    pub vocabulary: usize,
}

/// The distills of DeepSeek-R1 over qwen2.
#[rustfmt::skip] // A table reads by rows.
pub const SHAPES: [Shape; 3] = [
    Shape { name: "1.5b", layers: 28, hidden: 1536, heads: 12, kv_heads: 2, ffn: 8960, vocabulary: 151_936 },
    Shape { name: "7b", layers: 28, hidden: 3584, heads: 28, kv_heads: 4, ffn: 18_944, vocabulary: 152_064 },
    Shape { name: "32b", layers: 64, hidden: 5120, heads: 40, kv_heads: 8, ffn: 27_648, vocabulary: 152_064 },
];

/// What `--quick` runs, and what the soak runs always: its steps take little time, so that there can be many.
#[rustfmt::skip]
pub const TINY: Shape =
    Shape { name: "tiny", layers: 4, hidden: 512, heads: 4, kv_heads: 2, ffn: 1024, vocabulary: 1024 };

/// Tokens of context that every file names.
pub const CONTEXT_TOKENS: usize = 8192;

/// A tensor to be written.
pub struct Tensor {
    pub name: String,
    /// Columns first.
    pub dims: Vec<u64>,
    pub kind: TensorType,
}

impl Shape {
    /// Every tensor, in the file's order.
    pub fn tensors(&self) -> Vec<Tensor> {
        let (hidden, ffn) = (self.hidden as u64, self.ffn as u64);
        let (vocabulary, keys) = (
            self.vocabulary as u64,
            (hidden / self.heads as u64) * self.kv_heads as u64,
        );
        let mut tensors = Vec::new();
        let mut add = |name: String, dims: &[u64], kind| {
            let dims = dims.to_vec();
            tensors.push(Tensor { name, dims, kind });
        };
        add("token_embd.weight".to_owned(), &[hidden, vocabulary], TensorType::Q4K);
        for layer in 0..self.layers {
            let fine = if self.is_fine(layer) {
                TensorType::Q6K
            } else {
                TensorType::Q4K
            };
            let mut part = |name: &str, dims: &[u64], kind| add(format!("blk.{layer}.{name}"), dims, kind);
            part("attn_norm.weight", &[hidden], TensorType::F32);
            part("attn_q.weight", &[hidden, hidden], TensorType::Q4K);
            part("attn_q.bias", &[hidden], TensorType::F32);
            part("attn_k.weight", &[hidden, keys], TensorType::Q4K);
            part("attn_k.bias", &[keys], TensorType::F32);
            part("attn_v.weight", &[hidden, keys], fine);
            part("attn_v.bias", &[keys], TensorType::F32);
            part("attn_output.weight", &[hidden, hidden], TensorType::Q4K);
            part("ffn_norm.weight", &[hidden], TensorType::F32);
            part("ffn_gate.weight", &[hidden, ffn], TensorType::Q4K);
            part("ffn_up.weight", &[hidden, ffn], TensorType::Q4K);
            part("ffn_down.weight", &[ffn, hidden], fine);
        }
        add("output_norm.weight".to_owned(), &[hidden], TensorType::F32);
        add("output.weight".to_owned(), &[hidden, vocabulary], TensorType::Q6K);
        tensors
    }

    /// Whether Q4_K_M stores values and ffn_down of this layer as Q6_K: the first and the last eighth of the layers, and
    /// every third between.
    fn is_fine(&self, layer: usize) -> bool {
        let (first, last) = (self.layers / 8, 7 * self.layers / 8);
        layer < first || layer >= last || (layer - first) % 3 == 2
    }
}
