//! A model's weights, read once and shared by every engine of the process.

use std::collections::HashMap;
use std::sync::Arc;

use kernels::PackedMatrix;
use library::{Gguf, TensorInfo};

use crate::config::{Architecture, Config};
use crate::error::ModelsError;
use crate::load;
use crate::tensors::{self, EMBEDDING, OUTPUT, OUTPUT_NORM, in_layer};

/// All tensors of a model, packed for the kernels.
pub struct Weights {
    config: Config,
    bytes: u64,
    pub(crate) embedding: PackedMatrix, // [vocabulary, hidden]
    pub(crate) layers: Vec<Layer>,
    pub(crate) output_norm: Vec<f32>,        // [hidden]
    pub(crate) output: Option<PackedMatrix>, // [vocabulary, hidden]; none: the embedding's
}

/// One decoder layer.
pub(crate) struct Layer {
    pub(crate) attention_norm: Vec<f32>,     // [hidden]
    pub(crate) query: Linear,                // [heads * head_dim, hidden]
    pub(crate) key: Linear,                  // [kv_heads * head_dim, hidden]
    pub(crate) value: Linear,                // [kv_heads * head_dim, hidden]
    pub(crate) query_norm: Option<Vec<f32>>, // [head_dim]
    pub(crate) key_norm: Option<Vec<f32>>,   // [head_dim]
    pub(crate) mixed: Linear,                // [hidden, heads * head_dim]
    pub(crate) ffn_norm: Vec<f32>,           // [hidden]
    pub(crate) gate: Linear,                 // [ffn, hidden]
    pub(crate) up: Linear,                   // [ffn, hidden]
    pub(crate) down: Linear,                 // [hidden, ffn]
}

/// A matrix and its bias.
pub(crate) struct Linear {
    pub(crate) weight: PackedMatrix,
    pub(crate) bias: Option<Vec<f32>>,
}

impl Weights {
    /// Checks `gguf` as [`Config::from_gguf`] does, then reads its tensors with several threads.
    ///
    /// `progress` is told the bytes read so far, from any thread; the last call says [`Weights::bytes`].
    ///
    /// # Errors
    /// As [`Config::from_gguf`]; the file cannot be read or the memory not be had.
    pub fn load(gguf: &Gguf, progress: &(dyn Fn(u64) + Sync)) -> Result<Arc<Weights>, ModelsError> {
        let config = Config::from_gguf(gguf)?;
        let mut places = Vec::with_capacity(gguf.tensors().len());
        for tensor in gguf.tensors() {
            places.push((tensor, load::place(tensor)?));
        }
        load::fill(gguf, &mut places, progress)?;
        let bytes = places.iter().map(|(tensor, _)| tensor.bytes).sum();
        let loaded = places
            .into_iter()
            .map(|(tensor, matrix)| (tensor.name.as_str(), (tensor, matrix)))
            .collect();
        let mut loaded = Loaded { gguf, loaded };
        let layers = (0..config.layers)
            .map(|layer| loaded.layer(&config, layer))
            .collect::<Result<_, _>>()?;
        Ok(Arc::new(Weights {
            bytes,
            embedding: loaded.matrix(EMBEDDING)?,
            layers,
            output_norm: loaded.vector(OUTPUT_NORM)?,
            output: loaded.take(OUTPUT).map(|(_, matrix)| matrix),
            config,
        }))
    }

    /// The model's sizes.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Bytes of the tensors in the file; packed they take up to 3 % more.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The matrix that yields the logits.
    pub(crate) fn output(&self) -> &PackedMatrix {
        self.output.as_ref().unwrap_or(&self.embedding)
    }
}

/// The file's tensors by name, taken out one by one.
struct Loaded<'a> {
    gguf: &'a Gguf,
    loaded: HashMap<&'a str, (&'a TensorInfo, PackedMatrix)>,
}

impl<'a> Loaded<'a> {
    fn take(&mut self, name: &str) -> Option<(&'a TensorInfo, PackedMatrix)> {
        self.loaded.remove(name)
    }

    fn matrix(&mut self, name: &str) -> Result<PackedMatrix, ModelsError> {
        match self.take(name) {
            Some((_, matrix)) => Ok(matrix),
            None => Err(tensors::missing(self.gguf, name)),
        }
    }

    fn optional_vector(&mut self, name: &str) -> Result<Option<Vec<f32>>, ModelsError> {
        self.take(name)
            .map(|(tensor, matrix)| load::numbers(tensor, &matrix))
            .transpose()
    }

    fn vector(&mut self, name: &str) -> Result<Vec<f32>, ModelsError> {
        self.optional_vector(name)?
            .ok_or_else(|| tensors::missing(self.gguf, name))
    }

    fn linear(&mut self, layer: usize, name: &str) -> Result<Linear, ModelsError> {
        Ok(Linear {
            weight: self.matrix(&in_layer(layer, &format!("{name}.weight")))?,
            bias: self.optional_vector(&in_layer(layer, &format!("{name}.bias")))?,
        })
    }

    fn layer(&mut self, config: &Config, layer: usize) -> Result<Layer, ModelsError> {
        let is_normed = config.architecture == Architecture::Qwen3;
        let mut norm = |name: &str| self.optional_vector(&in_layer(layer, name));
        let (query_norm, key_norm) = if is_normed {
            (norm("attn_q_norm.weight")?, norm("attn_k_norm.weight")?)
        } else {
            (None, None)
        };
        Ok(Layer {
            attention_norm: self.vector(&in_layer(layer, "attn_norm.weight"))?,
            query: self.linear(layer, "attn_q")?,
            key: self.linear(layer, "attn_k")?,
            value: self.linear(layer, "attn_v")?,
            query_norm,
            key_norm,
            mixed: self.linear(layer, "attn_output")?,
            ffn_norm: self.vector(&in_layer(layer, "ffn_norm.weight"))?,
            gate: self.linear(layer, "ffn_gate")?,
            up: self.linear(layer, "ffn_up")?,
            down: self.linear(layer, "ffn_down")?,
        })
    }
}
