//! Which tensors an architecture has, what shapes the metadata asks for, and whether the file agrees.

use std::collections::HashSet;

use kernels::Format;
use library::gguf::Quoted;
use library::{Gguf, TensorInfo, TensorType};

use crate::config::{Architecture, Config};
use crate::error::ModelsError;
use crate::limits::VOCABULARY_MAX;

/// The embedding table's name; its rows are the vocabulary.
pub(crate) const EMBEDDING: &str = "token_embd.weight";
/// The output matrix's name; where it is missing the embedding table serves.
pub(crate) const OUTPUT: &str = "output.weight";
/// The last norm's name.
pub(crate) const OUTPUT_NORM: &str = "output_norm.weight";

/// The kernels' name for a tensor's type.
pub(crate) fn format(kind: TensorType) -> Format {
    match kind {
        TensorType::F32 => Format::F32,
        TensorType::F16 => Format::F16,
        TensorType::Bf16 => Format::Bf16,
        TensorType::Q4_0 => Format::Q4_0,
        TensorType::Q5_0 => Format::Q5_0,
        TensorType::Q8_0 => Format::Q8_0,
        TensorType::Q2K => Format::Q2K,
        TensorType::Q3K => Format::Q3K,
        TensorType::Q4K => Format::Q4K,
        TensorType::Q5K => Format::Q5K,
        TensorType::Q6K => Format::Q6K,
    }
}

/// The name of a layer's tensor.
pub(crate) fn in_layer(layer: usize, name: &str) -> String {
    format!("blk.{layer}.{name}")
}

/// The tensor of that name.
pub(crate) fn find<'a>(gguf: &'a Gguf, name: &str) -> Result<&'a TensorInfo, ModelsError> {
    gguf.tensor(name).ok_or_else(|| missing(gguf, name))
}

/// The refusal of a file without that tensor.
pub(crate) fn missing(gguf: &Gguf, name: &str) -> ModelsError {
    ModelsError::MissingTensor {
        file: gguf.name().to_owned(),
        name: name.to_owned(),
    }
}

/// Rows of the embedding table.
pub(crate) fn vocabulary(gguf: &Gguf) -> Result<usize, ModelsError> {
    let rows = find(gguf, EMBEDDING)?.rows();
    let checked = usize::try_from(rows)
        .ok()
        .filter(|_| (1..=VOCABULARY_MAX).contains(&rows));
    checked.ok_or_else(|| ModelsError::Setting {
        file: gguf.name().to_owned(),
        key: format!("the number of rows of {EMBEDDING}"),
        found: rows.to_string(),
        allowed: format!("1 to {VOCABULARY_MAX}"),
    })
}

/// Passes if the file has every tensor of `config`, in shape, and no other.
pub(crate) fn check(config: &Config, gguf: &Gguf) -> Result<(), ModelsError> {
    let mut check = Check {
        gguf,
        known: HashSet::new(),
    };
    let (hidden, vocabulary) = (config.hidden, config.vocabulary);
    check.required(EMBEDDING, &[hidden, vocabulary])?;
    check.required(OUTPUT_NORM, &[hidden])?;
    check.optional(OUTPUT, &[hidden, vocabulary])?;
    check.optional(crate::config::FACTORS_TENSOR, &[config.head_dim / 2])?;
    for layer in 0..config.layers {
        check.layer(config, layer)?;
    }
    check.no_other(config.architecture)
}

struct Check<'a> {
    gguf: &'a Gguf,
    known: HashSet<String>,
}

impl Check<'_> {
    fn layer(&mut self, config: &Config, layer: usize) -> Result<(), ModelsError> {
        let (hidden, ffn) = (config.hidden, config.ffn);
        let (queries, keys) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        let required = [
            ("attn_norm.weight", &[hidden][..]),
            ("attn_q.weight", &[hidden, queries]),
            ("attn_k.weight", &[hidden, keys]),
            ("attn_v.weight", &[hidden, keys]),
            ("attn_output.weight", &[queries, hidden]),
            ("ffn_norm.weight", &[hidden]),
            ("ffn_gate.weight", &[hidden, ffn]),
            ("ffn_up.weight", &[hidden, ffn]),
            ("ffn_down.weight", &[ffn, hidden]),
        ];
        for (name, dims) in required {
            self.required(&in_layer(layer, name), dims)?;
        }
        let biases = [
            ("attn_q.bias", queries),
            ("attn_k.bias", keys),
            ("attn_v.bias", keys),
            ("attn_output.bias", hidden),
        ];
        for (name, length) in biases {
            self.optional(&in_layer(layer, name), &[length])?;
        }
        if config.architecture == Architecture::Qwen3 {
            self.required(&in_layer(layer, "attn_q_norm.weight"), &[config.head_dim])?;
            self.required(&in_layer(layer, "attn_k_norm.weight"), &[config.head_dim])?;
        }
        Ok(())
    }

    fn required(&mut self, name: &str, dims: &[usize]) -> Result<(), ModelsError> {
        find(self.gguf, name)?;
        self.optional(name, dims)
    }

    /// Checks the tensor's shape if it is there; one dimension means a norm or bias, which must be numbers.
    fn optional(&mut self, name: &str, dims: &[usize]) -> Result<(), ModelsError> {
        self.known.insert(name.to_owned());
        let Some(tensor) = self.gguf.tensor(name) else {
            return Ok(());
        };
        let (file, name) = (self.gguf.name().to_owned(), name.to_owned());
        let needed: Vec<u64> = dims.iter().map(|dim| *dim as u64).collect();
        let is_same = tensor.columns() == needed.first().copied().unwrap_or(0)
            && tensor.rows() == needed.get(1).copied().unwrap_or(1)
            && tensor.dims.iter().skip(2).all(|dim| *dim == 1);
        if !is_same {
            return Err(ModelsError::TensorShape {
                file,
                name,
                found: tensor.dims.clone(),
                needed,
            });
        }
        if needed.len() == 1 && tensor.kind.block_elements() != 1 {
            return Err(ModelsError::TensorType {
                file,
                name,
                found: tensor.kind.name(),
            });
        }
        Ok(())
    }

    fn no_other(&self, architecture: Architecture) -> Result<(), ModelsError> {
        match self
            .gguf
            .tensors()
            .iter()
            .find(|tensor| !self.known.contains(&tensor.name))
        {
            Some(tensor) => Err(ModelsError::UnknownTensor {
                file: self.gguf.name().to_owned(),
                name: Quoted::new(&tensor.name),
                architecture: architecture.name(),
            }),
            None => Ok(()),
        }
    }
}
