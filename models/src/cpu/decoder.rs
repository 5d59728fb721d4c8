//! The dense decoder, as one straight line: qwen2, llama and qwen3 differ by which biases and norms their layers have and
//! by the pairing of their rotary elements.

use std::sync::Arc;

use kernels::add::{add, add_bias};
use kernels::attention::attention;
use kernels::embedding::embedding;
use kernels::matmul::{matmul, matmul_each};
use kernels::rms_norm::{rms_norm, rms_norm_in_place};
use kernels::rope::{Pairing, Rotation};
use kernels::swiglu::swiglu;
use kernels::{Activations, KernelError, KvLayer};

use super::batch::Batch;
use crate::Weights;
use crate::config::Architecture;
use crate::weights::{Layer, Linear};

/// The weights, one cache per layer, and buffers that keep the size of the largest step so far.
pub(super) struct Decoder {
    weights: Arc<Weights>,
    cache: Vec<KvLayer>, // [layers]
    hidden: Vec<f32>,    // [rows, hidden]
    input: Activations,  // [rows, hidden | heads * head_dim | ffn], what the next matrix takes
    queries: Vec<f32>,   // [rows, heads * head_dim]
    keys: Vec<f32>,      // [rows, kv_heads * head_dim]
    values: Vec<f32>,    // [rows, kv_heads * head_dim]
    gate: Vec<f32>,      // [rows, ffn]
    up: Vec<f32>,        // [rows, ffn]
    sum: Vec<f32>,       // [rows, hidden], what is added to the residual stream
    rotation: Rotation,  // [rows, head_dim / 2]
}

impl Decoder {
    pub(super) fn new(weights: Arc<Weights>, cache: Vec<KvLayer>) -> Decoder {
        Decoder {
            weights,
            cache,
            hidden: Vec::new(),
            input: Activations::new(),
            queries: Vec::new(),
            keys: Vec::new(),
            values: Vec::new(),
            gate: Vec::new(),
            up: Vec::new(),
            sum: Vec::new(),
            rotation: Rotation::default(),
        }
    }

    /// Computes a step; `logits` becomes `[wanted, vocabulary]`.
    pub(super) fn forward(&mut self, batch: &Batch<'_>, logits: &mut Vec<f32>) -> Result<(), KernelError> {
        let weights = Arc::clone(&self.weights);
        let (config, rows) = (weights.config(), batch.tokens.len());
        self.hidden.resize(rows * config.hidden, 0.0);
        embedding(&weights.embedding, &batch.tokens, &mut self.hidden)?; // [rows, hidden]
        self.rotation
            .prepare(&batch.positions, &config.rope.frequencies, config.rope.magnitude);
        for (index, layer) in weights.layers.iter().enumerate() {
            self.attend(index, layer, batch)?;
            self.feed_forward(layer, rows)?;
        }
        self.read_out(batch, logits)
    }

    /// `hidden += mixed(attention(rope(query, key), value))` of the normalised rows.
    fn attend(&mut self, index: usize, layer: &Layer, batch: &Batch<'_>) -> Result<(), KernelError> {
        let weights = Arc::clone(&self.weights);
        let (config, rows) = (weights.config(), batch.tokens.len());
        let (epsilon, heads, kv_heads) = (config.rms_epsilon, config.heads, config.kv_heads);
        let pairing = match config.architecture {
            Architecture::Llama => Pairing::Neighbours,
            Architecture::Qwen2 | Architecture::Qwen3 => Pairing::Halves,
        };

        let normed = self.input.reshape(rows, config.hidden); // [rows, hidden]
        rms_norm(&self.hidden, &layer.attention_norm, epsilon, normed)?;
        let projections = [
            (&layer.query, &mut self.queries), // [rows, heads * head_dim]
            (&layer.key, &mut self.keys),      // [rows, kv_heads * head_dim]
            (&layer.value, &mut self.values),  // [rows, kv_heads * head_dim]
        ];
        project(projections, &mut self.input)?;
        if let Some(norm) = &layer.query_norm {
            rms_norm_in_place(&mut self.queries, norm, epsilon)?;
        }
        if let Some(norm) = &layer.key_norm {
            rms_norm_in_place(&mut self.keys, norm, epsilon)?;
        }
        self.rotation.apply(&mut self.queries, heads, pairing)?;
        self.rotation.apply(&mut self.keys, kv_heads, pairing)?;

        // Every row's keys and values are in the cache before any row attends: a row of a chunk sees those before it.
        let cache = &mut self.cache[index];
        let width = kv_heads * config.head_dim;
        let pairs = self.keys.chunks_exact(width).zip(self.values.chunks_exact(width));
        for (row, (keys, values)) in batch.rows.iter().zip(pairs) {
            cache.write(row.block_table, row.position, keys, values)?;
        }
        let mixed = self.input.reshape(rows, heads * config.head_dim); // [rows, heads * head_dim]
        attention(&self.queries, heads, cache, &batch.rows, mixed)?;
        project([(&layer.mixed, &mut self.sum)], &mut self.input)?; // [rows, hidden]
        add(&mut self.hidden, &self.sum)
    }

    /// `hidden += down(silu(gate) * up)` of the normalised rows.
    fn feed_forward(&mut self, layer: &Layer, rows: usize) -> Result<(), KernelError> {
        let config = self.weights.config();
        let normed = self.input.reshape(rows, config.hidden); // [rows, hidden]
        rms_norm(&self.hidden, &layer.ffn_norm, config.rms_epsilon, normed)?;
        let projections = [(&layer.gate, &mut self.gate), (&layer.up, &mut self.up)]; // [rows, ffn]
        project(projections, &mut self.input)?;
        let gated = self.input.reshape(rows, config.ffn); // [rows, ffn]
        swiglu(&self.gate, &self.up, config.ffn, gated)?;
        project([(&layer.down, &mut self.sum)], &mut self.input)?; // [rows, hidden]
        add(&mut self.hidden, &self.sum)
    }

    /// The logits of the wanted rows.
    fn read_out(&mut self, batch: &Batch<'_>, logits: &mut Vec<f32>) -> Result<(), KernelError> {
        let config = self.weights.config();
        let normed = self.input.reshape(batch.wanted.len(), config.hidden); // [wanted, hidden]
        for (row, normed) in batch.wanted.iter().zip(normed.chunks_exact_mut(config.hidden)) {
            let hidden = &self.hidden[row * config.hidden..(row + 1) * config.hidden];
            rms_norm(hidden, &self.weights.output_norm, config.rms_epsilon, normed)?;
        }
        logits.resize(batch.wanted.len() * config.vocabulary, 0.0);
        matmul(self.weights.output(), &mut self.input, logits) // [wanted, vocabulary]
    }
}

/// Each output becomes [rows of `input`, rows of its weight], bias added.
fn project<const N: usize>(
    projections: [(&Linear, &mut Vec<f32>); N],
    input: &mut Activations,
) -> Result<(), KernelError> {
    let mut projections = projections;
    for (linear, output) in &mut projections {
        output.resize(input.rows() * linear.weight.rows(), 0.0);
    }
    let products = projections
        .each_mut()
        .map(|(linear, output)| (&linear.weight, &mut output[..]));
    matmul_each(products, input)?;
    for (linear, output) in projections {
        if let Some(bias) = &linear.bias {
            add_bias(output, bias)?;
        }
    }
    Ok(())
}
