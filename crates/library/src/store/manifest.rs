//! A manifest: which blobs a model is made of.

use std::fmt;
use std::path::Path;
use std::time::SystemTime;

use serde::Deserialize;

use super::digest::Digest;
use super::error::StoreError;
use super::file;

/// Bytes of a manifest at most; they have hundreds.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// What a layer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerKind {
    /// The GGUF file.
    Model,
    /// A Go template that makes the prompt.
    Template,
    /// Sampling values and stop strings as a JSON object.
    Parameters,
    /// A text for the beginning of every conversation.
    System,
    /// A licence, of which there may be several.
    License,
    /// Changes to the weights.
    Adapter,
    /// What was known of the model when it was made, as JSON.
    Config,
    /// Anything else.
    Other,
}

impl LayerKind {
    fn of(media_type: &str) -> LayerKind {
        let kind = media_type.strip_prefix("application/vnd.ollama.image.");
        match kind.unwrap_or_default() {
            "model" => LayerKind::Model,
            "template" | "prompt" => LayerKind::Template,
            "params" => LayerKind::Parameters,
            "system" => LayerKind::System,
            "license" => LayerKind::License,
            "adapter" => LayerKind::Adapter,
            _ => LayerKind::Other,
        }
    }
}

impl fmt::Display for LayerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LayerKind::Model => "model file",
            LayerKind::Template => "template",
            LayerKind::Parameters => "parameters",
            LayerKind::System => "system text",
            LayerKind::License => "licence",
            LayerKind::Adapter => "adapter",
            LayerKind::Config => "config",
            LayerKind::Other => "layer",
        })
    }
}

/// One blob that a model is made of.
#[derive(Clone, Debug)]
pub struct Layer {
    /// What it is for.
    pub kind: LayerKind,
    /// Its content's digest.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
}

/// One manifest, read and understood.
pub(super) struct Manifest {
    /// Of the manifest itself, which is the model's id.
    pub(super) digest: Digest,
    pub(super) modified: SystemTime,
    /// In the manifest's order, the config last.
    pub(super) layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Written {
    config: WrittenLayer,
    layers: Vec<WrittenLayer>,
}

#[derive(Deserialize)]
struct WrittenLayer {
    #[serde(rename = "mediaType")]
    media_type: String,
    digest: Digest,
    size: u64,
}

impl Manifest {
    /// Reads the manifest at `path`; `None` if there is none.
    pub(super) fn read(path: &Path) -> Result<Option<Manifest>, StoreError> {
        let Some(metadata) = file::look(path)? else {
            return Ok(None);
        };
        let bytes = file::read(path, MANIFEST_BYTES_MAX)?;
        let written: Written = serde_json::from_slice(&bytes).map_err(|error| StoreError::Malformed {
            path: path.to_owned(),
            what: "a manifest",
            cause: error.to_string(),
        })?;
        let layer = |written: WrittenLayer, kind| Layer {
            kind,
            digest: written.digest,
            bytes: written.size,
        };
        let mut layers: Vec<Layer> = Vec::new();
        for written in written.layers {
            let kind = LayerKind::of(&written.media_type);
            layers.push(layer(written, kind));
        }
        layers.push(layer(written.config, LayerKind::Config));
        Ok(Some(Manifest {
            digest: Digest::of(&bytes),
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            layers,
        }))
    }

    /// The sizes of all layers together, as Ollama counts a model.
    pub(super) fn bytes(&self) -> u64 {
        self.layers
            .iter()
            .fold(0, |bytes, layer| bytes.saturating_add(layer.bytes))
    }
}
