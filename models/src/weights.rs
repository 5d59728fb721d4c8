//! A model's weights: those of one slice in one device's memory, and the whole in this machine's.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kernels::PackedMatrix;
use library::Gguf;

use crate::config::{Architecture, Config};
use crate::device::{HostMemory, Linear, Memory, Piece};
use crate::error::ModelsError;
use crate::load;
use crate::slice::Slice;
use crate::tensors::{self, EMBEDDING, OUTPUT, OUTPUT_NORM, in_layer};

/// All tensors of a model, packed for the processor, in one copy that every engine of the process shares.
pub struct Weights {
    config: Config,
    bytes: u64,
    pub(crate) embedding: Arc<PackedMatrix>, // [vocabulary, hidden]
    pub(crate) shard: Arc<Shard<HostMemory>>,
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
        let done = AtomicU64::new(0);
        let meter = Meter { progress, done: &done };
        let embedding = embedding(gguf, &meter)?;
        let slice = Slice::whole(&config);
        let shard = Shard::load(&HostMemory, gguf, &config, &slice, Some(&embedding), &meter)?;
        Ok(Arc::new(Weights {
            bytes: done.into_inner(),
            embedding,
            shard: Arc::new(shard),
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
}

/// Adds up what several loads, one after another or at the same time, have read.
pub(crate) struct Meter<'a> {
    pub(crate) progress: &'a (dyn Fn(u64) + Sync),
    pub(crate) done: &'a AtomicU64,
}

impl Meter<'_> {
    /// Another `bytes` are read.
    pub(crate) fn add(&self, bytes: u64) {
        (self.progress)(self.done.fetch_add(bytes, Ordering::Relaxed) + bytes);
    }
}

/// The embedding table, which stays in this machine's memory wherever the layers are: a token takes one row of it.
pub(crate) fn embedding(gguf: &Gguf, meter: &Meter<'_>) -> Result<Arc<PackedMatrix>, ModelsError> {
    let piece = Piece::whole(tensors::find(gguf, EMBEDDING)?);
    let mut loaded = HostMemory.matrices(gguf, &[piece], meter)?;
    loaded.pop().ok_or_else(|| tensors::missing(gguf, EMBEDDING))
}

/// A slice of a model in one device's memory.
pub(crate) struct Shard<M: Memory> {
    pub(crate) layers: Vec<Layer<M>>,
    pub(crate) output: Option<Output<M>>,
}

/// One decoder layer; of a slice's matrices, its rows only.
pub(crate) struct Layer<M: Memory> {
    pub(crate) attention_norm: M::Vector,     // [hidden]
    pub(crate) query: Linear<M>,              // [heads * head_dim, hidden]
    pub(crate) key: Linear<M>,                // [kv_heads * head_dim, hidden]
    pub(crate) value: Linear<M>,              // [kv_heads * head_dim, hidden]
    pub(crate) query_norm: Option<M::Vector>, // [head_dim]
    pub(crate) key_norm: Option<M::Vector>,   // [head_dim]
    pub(crate) mixed: Linear<M>,              // [hidden, heads * head_dim]
    pub(crate) ffn_norm: M::Vector,           // [hidden]
    pub(crate) gate: Linear<M>,               // [ffn, hidden]
    pub(crate) up: Linear<M>,                 // [ffn, hidden]
    pub(crate) down: Linear<M>,               // [hidden, ffn]
}

/// What makes logits of the last layer's rows.
pub(crate) struct Output<M: Memory> {
    pub(crate) norm: M::Vector,   // [hidden]
    pub(crate) matrix: Linear<M>, // [vocabulary, hidden], without a bias
}

impl<M: Memory> Shard<M> {
    /// Reads the slice's tensors.
    ///
    /// `tied` is the embedding table if it lies in this very memory: where a model has no output matrix it serves.
    ///
    /// # Errors
    /// A part without rows; the file cannot be read or the memory not be had.
    pub(crate) fn load(
        memory: &M,
        gguf: &Gguf,
        config: &Config,
        slice: &Slice,
        tied: Option<&M::Matrix>,
        meter: &Meter<'_>,
    ) -> Result<Shard<M>, ModelsError>
    where
        M::Matrix: Clone,
    {
        let pieces = pieces(gguf, config, slice, tied.is_some() && slice.parts == 1)?;
        let loaded = memory.matrices(gguf, &pieces, meter)?;
        let names = pieces.iter().map(|piece| piece.tensor.name.as_str());
        let mut loading = Loading {
            memory,
            gguf,
            matrices: names.zip(loaded).collect(),
            meter,
        };
        let layers = slice.layers.clone().map(|layer| loading.layer(config, slice, layer));
        let layers = layers.collect::<Result<_, _>>()?;
        let output = slice.has_output(config).then(|| {
            let name = output_name(gguf);
            let weight = match (loading.matrices.remove(name), tied) {
                (Some(matrix), _) => matrix,
                (None, Some(tied)) => tied.clone(),
                (None, None) => return Err(tensors::missing(gguf, name)),
            };
            Ok(Output {
                norm: loading.vector(OUTPUT_NORM, None)?,
                matrix: Linear { weight, bias: None },
            })
        });
        Ok(Shard {
            layers,
            output: output.transpose()?,
        })
    }
}

/// The bytes that [`Shard::load`] reads of matrices.
pub(crate) fn matrix_bytes(gguf: &Gguf, config: &Config, slice: &Slice, is_host: bool) -> Result<u64, ModelsError> {
    let pieces = pieces(gguf, config, slice, is_host && slice.parts == 1)?;
    Ok(pieces.iter().map(Piece::bytes).sum())
}

/// The tensor that yields the logits.
fn output_name(gguf: &Gguf) -> &'static str {
    if gguf.tensor(OUTPUT).is_some() {
        OUTPUT
    } else {
        EMBEDDING
    }
}

/// The matrices of a slice.
fn pieces<'a>(gguf: &'a Gguf, config: &Config, slice: &Slice, is_tied: bool) -> Result<Vec<Piece<'a>>, ModelsError> {
    let mut pieces = Vec::new();
    for layer in slice.layers.clone() {
        for (name, rows) in layer_matrices(config, slice) {
            pieces.push(piece(gguf, &in_layer(layer, &format!("{name}.weight")), rows)?);
        }
    }
    let output = output_name(gguf);
    if slice.has_output(config) && !(is_tied && output == EMBEDDING) {
        pieces.push(piece(gguf, output, slice.rows(config.vocabulary))?);
    }
    Ok(pieces)
}

/// A layer's matrices and the slice's rows of each.
fn layer_matrices(config: &Config, slice: &Slice) -> [(&'static str, Range<usize>); 7] {
    [
        ("attn_q", slice.query_rows(config)),
        ("attn_k", slice.key_rows(config)),
        ("attn_v", slice.key_rows(config)),
        ("attn_output", slice.rows(config.hidden)),
        ("ffn_gate", slice.rows(config.ffn)),
        ("ffn_up", slice.rows(config.ffn)),
        ("ffn_down", slice.rows(config.hidden)),
    ]
}

fn piece<'a>(gguf: &'a Gguf, name: &str, rows: Range<usize>) -> Result<Piece<'a>, ModelsError> {
    let tensor = tensors::find(gguf, name)?;
    if rows.is_empty() {
        return Err(ModelsError::TooManyParts {
            tensor: name.to_owned(),
            rows: tensor.rows(),
        });
    }
    Ok(Piece {
        tensor,
        rows: rows.start as u64..rows.end as u64,
    })
}

/// A slice's matrices by name, taken out one by one.
struct Loading<'a, M: Memory> {
    memory: &'a M,
    gguf: &'a Gguf,
    matrices: HashMap<&'a str, M::Matrix>,
    meter: &'a Meter<'a>,
}

impl<M: Memory> Loading<'_, M> {
    /// The norm or bias of that name, or these elements of it.
    fn optional_vector(&self, name: &str, rows: Option<Range<usize>>) -> Result<Option<M::Vector>, ModelsError> {
        let Some(tensor) = self.gguf.tensor(name) else {
            return Ok(None);
        };
        let mut values = load::vector(self.gguf, tensor)?;
        self.meter.add(tensor.bytes);
        if let Some(rows) = rows {
            values = values.get(rows).map(<[f32]>::to_vec).unwrap_or_default();
        }
        self.memory.vector(values).map(Some)
    }

    fn vector(&self, name: &str, rows: Option<Range<usize>>) -> Result<M::Vector, ModelsError> {
        self.optional_vector(name, rows)?
            .ok_or_else(|| tensors::missing(self.gguf, name))
    }

    fn linear(&mut self, layer: usize, (name, rows): (&str, Range<usize>)) -> Result<Linear<M>, ModelsError> {
        let weight = in_layer(layer, &format!("{name}.weight"));
        Ok(Linear {
            weight: self
                .matrices
                .remove(weight.as_str())
                .ok_or_else(|| tensors::missing(self.gguf, &weight))?,
            bias: self.optional_vector(&in_layer(layer, &format!("{name}.bias")), Some(rows))?,
        })
    }

    fn layer(&mut self, config: &Config, slice: &Slice, layer: usize) -> Result<Layer<M>, ModelsError> {
        let [query, key, value, mixed, gate, up, down] = layer_matrices(config, slice);
        let is_normed = config.architecture == Architecture::Qwen3;
        let heads_norm = |loading: &Self, name: &str| {
            let norm = is_normed.then(|| loading.vector(&in_layer(layer, name), None));
            norm.transpose()
        };
        Ok(Layer {
            attention_norm: self.vector(&in_layer(layer, "attn_norm.weight"), None)?,
            query: self.linear(layer, query)?,
            key: self.linear(layer, key)?,
            value: self.linear(layer, value)?,
            query_norm: heads_norm(self, "attn_q_norm.weight")?,
            key_norm: heads_norm(self, "attn_k_norm.weight")?,
            mixed: self.linear(layer, mixed)?,
            ffn_norm: self.vector(&in_layer(layer, "ffn_norm.weight"), None)?,
            gate: self.linear(layer, gate)?,
            up: self.linear(layer, up)?,
            down: self.linear(layer, down)?,
        })
    }
}
