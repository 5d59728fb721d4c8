//! What a file's metadata says the model is, every number checked against the others, its limits and the tensors.

mod rope;

use engine::Pooling;
use kernels::KvFormat;
use library::Gguf;

use crate::error::ModelsError;
use crate::limits::{CONTEXT_TOKENS_MAX, FFN_MAX, HIDDEN_MAX, LAYERS_MAX};
use crate::tensors;
pub(crate) use rope::FACTORS_TENSOR;
pub use rope::Rope;

/// The decoders that can be run; they differ in biases, norms and the pairing of rotary elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// Qwen 2 and 2.5: biases on queries, keys and values.
    Qwen2,
    /// Llama 2 and 3.
    Llama,
    /// Qwen 3: queries and keys are normalised head by head.
    Qwen3,
}

impl Architecture {
    /// The name that `general.architecture` has and that prefixes the other keys.
    pub fn name(self) -> &'static str {
        match self {
            Architecture::Qwen2 => "qwen2",
            Architecture::Llama => "llama",
            Architecture::Qwen3 => "qwen3",
        }
    }

    fn from_name(name: &str) -> Option<Architecture> {
        [Architecture::Qwen2, Architecture::Llama, Architecture::Qwen3]
            .into_iter()
            .find(|architecture| architecture.name() == name)
    }
}

/// The sizes of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Which decoder.
    pub architecture: Architecture,
    /// Decoder layers.
    pub layers: usize,
    /// Elements of the residual stream.
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Elements of the feed-forward layer.
    pub ffn: usize,
    /// Rows of the embedding table: token ids are below it.
    pub vocabulary: usize,
    /// Tokens that the model was made for.
    pub context_tokens: usize,
    /// Added to the mean square of a norm.
    pub rms_epsilon: f32,
    /// Rotary frequencies.
    pub rope: Rope,
    /// What a text's embedding is made of.
    pub pooling: Pooling,
}

impl Config {
    /// Reads and checks the metadata of `gguf` and the names, types and shapes of its tensors.
    ///
    /// # Errors
    /// Another architecture, a missing key, a number outside its limits, a tensor that is missing, unknown or of a shape
    /// that the metadata contradicts: the first thing found.
    pub fn from_gguf(gguf: &Gguf) -> Result<Config, ModelsError> {
        let name = gguf.metadata().text("general.architecture")?;
        let architecture = Architecture::from_name(name).ok_or_else(|| ModelsError::Architecture {
            file: gguf.name().to_owned(),
            found: name.chars().take(40).collect(),
        })?;
        let keys = Keys {
            gguf,
            prefix: architecture.name(),
        };
        let hidden = keys.number("embedding_length", 1, HIDDEN_MAX)?;
        let heads = keys.number("attention.head_count", 1, HIDDEN_MAX)?;
        let config = Config {
            architecture,
            layers: keys.number("block_count", 1, LAYERS_MAX)?,
            hidden,
            heads,
            kv_heads: keys.kv_heads(heads)?,
            head_dim: keys.head_dim(hidden, heads)?,
            ffn: keys.number("feed_forward_length", 1, FFN_MAX)?,
            vocabulary: tensors::vocabulary(gguf)?,
            context_tokens: keys.number("context_length", 1, CONTEXT_TOKENS_MAX)?,
            rms_epsilon: keys.epsilon()?,
            rope: Rope {
                frequencies: Vec::new(),
                magnitude: 1.0,
            },
            pooling: keys.pooling()?,
        };
        keys.refuse_variants()?;
        tensors::check(&config, gguf)?;
        Ok(Config {
            rope: Rope::read(&keys, config.head_dim)?,
            ..config
        })
    }

    /// Bytes that one token leaves in the cache: keys and values, all layers.
    pub fn kv_bytes_per_token(&self, format: KvFormat) -> u64 {
        (self.layers * self.kv_heads * 2 * format.head_bytes(self.head_dim)) as u64
    }
}

/// The metadata of one architecture.
struct Keys<'a> {
    gguf: &'a Gguf,
    prefix: &'static str,
}

impl Keys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    fn has(&self, name: &str) -> bool {
        self.gguf.metadata().get(&self.key(name)).is_some()
    }

    fn refuse(&self, name: &str, found: impl ToString, allowed: impl Into<String>) -> ModelsError {
        ModelsError::Setting {
            file: self.gguf.name().to_owned(),
            key: self.key(name),
            found: found.to_string(),
            allowed: allowed.into(),
        }
    }

    /// A whole number in `least..=most`.
    fn number(&self, name: &str, least: u64, most: u64) -> Result<usize, ModelsError> {
        let found = self.gguf.metadata().unsigned(&self.key(name))?;
        let number = usize::try_from(found).ok().filter(|_| (least..=most).contains(&found));
        number.ok_or_else(|| self.refuse(name, found, format!("{least} to {most}")))
    }

    /// A finite number above zero.
    fn positive(&self, name: &str, default: f32) -> Result<f32, ModelsError> {
        let found = self.gguf.metadata().float_or(&self.key(name), default)?;
        if found.is_finite() && found > 0.0 {
            Ok(found)
        } else {
            Err(self.refuse(name, found, "a finite number above 0"))
        }
    }

    /// A model that was not made for embeddings says nothing of it or has 0: its last token's state has seen the text.
    fn pooling(&self) -> Result<Pooling, ModelsError> {
        let name = "pooling_type";
        match self.has(name).then(|| self.number(name, 0, u64::MAX)).transpose()? {
            None | Some(0 | 3) => Ok(Pooling::Last),
            Some(1) => Ok(Pooling::Mean),
            Some(2) => Ok(Pooling::First),
            Some(found) => Err(self.refuse(name, found, "0 to 3")),
        }
    }

    fn kv_heads(&self, heads: usize) -> Result<usize, ModelsError> {
        if !self.has("attention.head_count_kv") {
            return Ok(heads);
        }
        let kv_heads = self.number("attention.head_count_kv", 1, heads as u64)?;
        let group_max = kernels::attention::GROUP_MAX;
        if heads.is_multiple_of(kv_heads) && heads / kv_heads <= group_max {
            Ok(kv_heads)
        } else {
            let allowed = format!("a divisor of the {heads} query heads, at most {group_max} to one");
            Err(self.refuse("attention.head_count_kv", kv_heads, allowed))
        }
    }

    /// `attention.key_length`, else the residual stream shared evenly by the heads.
    fn head_dim(&self, hidden: usize, heads: usize) -> Result<usize, ModelsError> {
        let (most, step) = (kernels::attention::HEAD_DIM_MAX, kernels::attention::HEAD_DIM_STEP);
        let (key, head_dim) = if self.has("attention.key_length") {
            (
                "attention.key_length",
                self.number("attention.key_length", 1, most as u64)?,
            )
        } else if hidden.is_multiple_of(heads) {
            ("attention.head_count", hidden / heads)
        } else {
            let allowed = format!("a divisor of the embedding length {hidden}");
            return Err(self.refuse("attention.head_count", heads, allowed));
        };
        if head_dim > most || !head_dim.is_multiple_of(step) {
            let allowed = format!("such that a head has a multiple of {step} elements up to {most}");
            return Err(self.refuse(key, format!("such that a head has {head_dim}"), allowed));
        }
        for other in ["attention.value_length", "rope.dimension_count"] {
            if self.has(other) && self.number(other, 0, u64::MAX)? != head_dim {
                let found = self.number(other, 0, u64::MAX)?;
                return Err(self.refuse(other, found, format!("{head_dim}, as long as a key")));
            }
        }
        Ok(head_dim)
    }

    fn epsilon(&self) -> Result<f32, ModelsError> {
        let name = "attention.layer_norm_rms_epsilon";
        let found = self.gguf.metadata().float(&self.key(name))?;
        if (0.0..=0.1).contains(&found) {
            Ok(found)
        } else {
            Err(self.refuse(name, found, "0 to 0.1"))
        }
    }

    /// Refuses what these architectures' names also cover and this decoder does not do.
    fn refuse_variants(&self) -> Result<(), ModelsError> {
        for name in ["expert_count", "attention.sliding_window"] {
            if self.has(name) && self.number(name, 0, u64::MAX)? != 0 {
                let found = self.number(name, 0, u64::MAX)?;
                return Err(self.refuse(name, found, "0: only dense models with full attention are supported"));
            }
        }
        Ok(())
    }
}
