//! The outside view: `candle-transformers`' f32 models over the dequantised tensors of the same file.

use std::borrow::Cow;
use std::collections::HashMap;

use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{DType, Device, Tensor};
use candle_nn::{Activation, VarBuilder};
use candle_transformers::models::{llama, qwen2, qwen3};
use library::{Gguf, TensorInfo, TensorType};
use models::{Architecture, Config};

/// The oracle with its own, unquantised cache.
pub struct Truth {
    model: Model,
}

enum Model {
    Qwen2(qwen2::ModelForCausalLM),
    Qwen3(qwen3::ModelForCausalLM),
    Llama(llama::Llama, Box<llama::Cache>),
}

/// What Llama 3.1 does to its rotary frequencies; a GGUF file holds the resulting factors.
pub const LLAMA3_SCALING: llama::Llama3RopeConfig = llama::Llama3RopeConfig {
    factor: 8.0,
    low_freq_factor: 1.0,
    high_freq_factor: 4.0,
    original_max_position_embeddings: 256,
    rope_type: llama::Llama3RopeType::Llama3,
};

impl Truth {
    /// Dequantises the whole file: four bytes per weight. `positions` is the longest sequence to be asked about.
    pub fn new(gguf: &Gguf, positions: usize) -> Truth {
        let config = Config::from_gguf(gguf).unwrap();
        let mut tensors = HashMap::new();
        for tensor in gguf.tensors() {
            if let Some(name) = name(&tensor.name) {
                let rows_of_heads = heads_to_unpermute(&config, &tensor.name);
                tensors.insert(name, read(gguf, tensor, rows_of_heads, config.head_dim));
            }
        }
        let vars = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
        let base = gguf
            .metadata()
            .float(&format!("{}.rope.freq_base", config.architecture.name()))
            .unwrap();
        let model = match config.architecture {
            Architecture::Qwen2 => Model::Qwen2(qwen2_model(gguf, &config, base, positions, vars)),
            Architecture::Qwen3 => Model::Qwen3(qwen3_model(gguf, &config, base, positions, vars)),
            Architecture::Llama => llama_model(gguf, &config, base, positions, vars),
        };
        Truth { model }
    }

    /// The logits after the last of `tokens`, whose first is at position `offset`; earlier positions were asked before.
    pub fn logits(&mut self, tokens: &[u32], offset: usize) -> Vec<f32> {
        let tokens = Tensor::new(tokens, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        let logits = match &mut self.model {
            Model::Qwen2(model) => model.forward(&tokens, offset),
            Model::Qwen3(model) => model.forward(&tokens, offset),
            Model::Llama(model, cache) => model.forward(&tokens, offset, cache),
        };
        logits.unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }
}

fn qwen2_model(gguf: &Gguf, c: &Config, base: f32, positions: usize, vars: VarBuilder<'_>) -> qwen2::ModelForCausalLM {
    let config = qwen2::Config {
        vocab_size: c.vocabulary,
        hidden_size: c.hidden,
        intermediate_size: c.ffn,
        num_hidden_layers: c.layers,
        num_attention_heads: c.heads,
        num_key_value_heads: c.kv_heads,
        max_position_embeddings: positions,
        sliding_window: positions,
        max_window_layers: c.layers,
        tie_word_embeddings: is_tied(gguf),
        rope_theta: f64::from(base),
        rms_norm_eps: f64::from(c.rms_epsilon),
        use_sliding_window: false,
        hidden_act: Activation::Silu,
    };
    qwen2::ModelForCausalLM::new(&config, vars).unwrap()
}

fn qwen3_model(gguf: &Gguf, c: &Config, base: f32, positions: usize, vars: VarBuilder<'_>) -> qwen3::ModelForCausalLM {
    let config = qwen3::Config {
        vocab_size: c.vocabulary,
        hidden_size: c.hidden,
        intermediate_size: c.ffn,
        num_hidden_layers: c.layers,
        num_attention_heads: c.heads,
        head_dim: c.head_dim,
        attention_bias: false,
        num_key_value_heads: c.kv_heads,
        max_position_embeddings: positions,
        sliding_window: None,
        max_window_layers: c.layers,
        tie_word_embeddings: is_tied(gguf),
        rope_theta: f64::from(base),
        rms_norm_eps: f64::from(c.rms_epsilon),
        use_sliding_window: false,
        hidden_act: Activation::Silu,
    };
    qwen3::ModelForCausalLM::new(&config, vars).unwrap()
}

fn llama_model(gguf: &Gguf, c: &Config, base: f32, positions: usize, vars: VarBuilder<'_>) -> Model {
    let config = llama::Config {
        hidden_size: c.hidden,
        intermediate_size: c.ffn,
        vocab_size: c.vocabulary,
        num_hidden_layers: c.layers,
        num_attention_heads: c.heads,
        num_key_value_heads: c.kv_heads,
        use_flash_attn: false,
        rms_norm_eps: f64::from(c.rms_epsilon),
        rope_theta: base,
        bos_token_id: None,
        eos_token_id: None,
        rope_scaling: gguf.tensor("rope_freqs.weight").map(|_| LLAMA3_SCALING),
        max_position_embeddings: positions,
        tie_word_embeddings: is_tied(gguf),
    };
    let cache = llama::Cache::new(true, DType::F32, &config, &Device::Cpu).unwrap();
    Model::Llama(llama::Llama::load(vars, &config).unwrap(), Box::new(cache))
}

fn is_tied(gguf: &Gguf) -> bool {
    gguf.tensor("output.weight").is_none()
}

/// The name that candle's models give a tensor.
fn name(gguf_name: &str) -> Option<String> {
    let name = match gguf_name {
        "token_embd.weight" => "model.embed_tokens.weight".to_owned(),
        "output_norm.weight" => "model.norm.weight".to_owned(),
        "output.weight" => "lm_head.weight".to_owned(),
        other => {
            let (layer, part) = other.strip_prefix("blk.")?.split_once('.')?;
            let (part, kind) = part.rsplit_once('.')?;
            let part = match part {
                "attn_norm" => "input_layernorm",
                "attn_q" => "self_attn.q_proj",
                "attn_k" => "self_attn.k_proj",
                "attn_v" => "self_attn.v_proj",
                "attn_output" => "self_attn.o_proj",
                "attn_q_norm" => "self_attn.q_norm",
                "attn_k_norm" => "self_attn.k_norm",
                "ffn_norm" => "post_attention_layernorm",
                "ffn_gate" => "mlp.gate_proj",
                "ffn_up" => "mlp.up_proj",
                "ffn_down" => "mlp.down_proj",
                _ => return None,
            };
            format!("model.layers.{layer}.{part}.{kind}")
        }
    };
    Some(name)
}

/// Llama files hold each head's query and key rows as neighbouring pairs, candle's model wants them as halves.
fn heads_to_unpermute(config: &Config, name: &str) -> Option<usize> {
    match (config.architecture, name) {
        (Architecture::Llama, name) if name.ends_with("attn_q.weight") => Some(config.heads),
        (Architecture::Llama, name) if name.ends_with("attn_k.weight") => Some(config.kv_heads),
        _ => None,
    }
}

fn read(gguf: &Gguf, tensor: &TensorInfo, heads: Option<usize>, head_dim: usize) -> Tensor {
    let mut bytes = vec![0; usize::try_from(tensor.bytes).unwrap()];
    gguf.read(tensor, 0, &mut bytes).unwrap();
    let storage = QStorage::from_data(Cow::Owned(bytes), &Device::Cpu, dtype(tensor.kind)).unwrap();
    let dims: Vec<usize> = tensor
        .dims
        .iter()
        .rev()
        .map(|dim| usize::try_from(*dim).unwrap())
        .collect();
    let values = QTensor::new(storage, dims).unwrap().dequantize(&Device::Cpu).unwrap();
    match heads {
        None => values,
        Some(heads) => {
            let columns = values.dim(1).unwrap();
            let pairs = values.reshape((heads, head_dim / 2, 2, columns)).unwrap();
            let halves = pairs.transpose(1, 2).unwrap().contiguous().unwrap();
            halves.reshape((heads * head_dim, columns)).unwrap()
        }
    }
}

/// Candle's name for a tensor's type.
pub fn dtype(kind: TensorType) -> GgmlDType {
    match kind {
        TensorType::F32 => GgmlDType::F32,
        TensorType::F16 => GgmlDType::F16,
        TensorType::Bf16 => GgmlDType::BF16,
        TensorType::Q4_0 => GgmlDType::Q4_0,
        TensorType::Q5_0 => GgmlDType::Q5_0,
        TensorType::Q8_0 => GgmlDType::Q8_0,
        TensorType::Q2K => GgmlDType::Q2K,
        TensorType::Q3K => GgmlDType::Q3K,
        TensorType::Q4K => GgmlDType::Q4K,
        TensorType::Q5K => GgmlDType::Q5K,
        TensorType::Q6K => GgmlDType::Q6K,
    }
}
