//! What is known of a model beside its weights: its config's words, and the messages it was given.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::blobs::Blobs;
use super::manifest::{LayerKind, Manifest};
use crate::Gguf;

/// Characters of one of the config's words at most.
const WORD_CHARS_MAX: usize = 200;
/// Families at most; models have one or two.
const FAMILIES_MAX: usize = 16;

/// The words that Ollama shows of a model. Empty is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// `gguf`.
    pub format: String,
    /// The architecture: `qwen2`.
    pub family: String,
    /// The same and those of what belongs to the model, such as `clip`.
    pub families: Vec<String>,
    /// `32.8B`.
    pub parameter_size: String,
    /// `Q4_K_M`.
    pub quantization_level: String,
}

/// One message of the beginning of every conversation.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Message {
    /// `user`, `assistant` or `system`.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Details {
    /// What a GGUF file says of itself.
    pub fn of_gguf(gguf: &Gguf) -> Details {
        let family = gguf.metadata().opt_text("general.architecture").ok().flatten();
        let family = word(family.unwrap_or_default());
        let elements = gguf.tensors().iter().map(crate::TensorInfo::elements);
        Details {
            format: "gguf".to_owned(),
            families: vec![family.clone()],
            family,
            parameter_size: counted(elements.fold(0, u64::saturating_add)),
            quantization_level: gguf.quantisation().to_owned(),
        }
    }

    /// What the text of a config says. What is not there or of another type is empty.
    pub(super) fn of(config: &str) -> Details {
        let config: Value = serde_json::from_str(config).unwrap_or_default();
        let said = |key: &str| word(config.get(key).and_then(Value::as_str).unwrap_or_default());
        let families = config
            .get("model_families")
            .and_then(Value::as_array)
            .map(Vec::as_slice);
        let families = families.unwrap_or_default().iter().filter_map(Value::as_str);
        Details {
            format: said("model_format"),
            family: said("model_family"),
            families: families.take(FAMILIES_MAX).map(word).collect(),
            parameter_size: said("model_type"),
            quantization_level: said("file_type"),
        }
    }

    /// What the config of a model says, if it can be read.
    pub(super) fn of_manifest(manifest: &Manifest, blobs: &Blobs<'_>) -> Details {
        let config = manifest.layers.iter().find(|layer| layer.kind == LayerKind::Config);
        let text = config.and_then(|config| blobs.text(config).ok());
        Details::of(&text.unwrap_or_default())
    }
}

fn word(text: &str) -> String {
    text.chars().take(WORD_CHARS_MAX).collect()
}

/// `32.8B`, `7B`, `135.17M`, `42K`: as Ollama counts parameters.
fn counted(parameters: u64) -> String {
    const BILLION: u64 = 1_000_000_000;
    const MILLION: u64 = 1_000_000;
    match parameters {
        BILLION.. if parameters.is_multiple_of(BILLION) => format!("{}B", parameters / BILLION),
        BILLION.. => format!("{:.1}B", parameters as f64 / BILLION as f64),
        MILLION.. if parameters.is_multiple_of(MILLION) => format!("{}M", parameters / MILLION),
        MILLION.. => format!("{:.2}M", parameters as f64 / MILLION as f64),
        1000.. => format!("{:.0}K", parameters as f64 / 1000.0),
        few => few.to_string(),
    }
}
