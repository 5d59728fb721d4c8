//! A manifest: which blobs a model is made of.

use std::fmt;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::error::StoreError;
use super::{file, json};

/// Bytes of a manifest at most; they have hundreds.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// What a manifest, a config and any other layer call themselves.
const MANIFEST_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG_TYPE: &str = "application/vnd.docker.container.image.v1+json";
const LAYER_TYPE: &str = "application/vnd.ollama.image.";

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
    /// The beginning of every conversation, as a JSON list of messages.
    Messages,
    /// A second GGUF file, which makes pictures fit for the first.
    Projector,
    /// Changes to the weights.
    Adapter,
    /// What was known of the model when it was made, as JSON.
    Config,
    /// Anything else.
    Other,
}

impl LayerKind {
    fn of(media_type: &str) -> LayerKind {
        let kind = media_type.strip_prefix(LAYER_TYPE);
        match kind.unwrap_or_default() {
            "model" => LayerKind::Model,
            "template" | "prompt" => LayerKind::Template,
            "params" => LayerKind::Parameters,
            "system" => LayerKind::System,
            "license" => LayerKind::License,
            "messages" => LayerKind::Messages,
            "projector" => LayerKind::Projector,
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
            LayerKind::Messages => "messages",
            LayerKind::Projector => "projector",
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
    /// The same in the manifest's words.
    pub media_type: String,
    /// Its content's digest.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
}

impl Layer {
    /// A layer of this kind and content.
    pub(super) fn new(kind: LayerKind, digest: Digest, bytes: u64) -> Layer {
        let name = match kind {
            LayerKind::Model => "model",
            LayerKind::Template => "template",
            LayerKind::Parameters => "params",
            LayerKind::System => "system",
            LayerKind::License => "license",
            LayerKind::Messages => "messages",
            LayerKind::Projector => "projector",
            LayerKind::Adapter => "adapter",
            LayerKind::Config | LayerKind::Other => "",
        };
        let media_type = match kind {
            LayerKind::Config => CONFIG_TYPE.to_owned(),
            _ => format!("{LAYER_TYPE}{name}"),
        };
        Layer {
            kind,
            media_type,
            digest,
            bytes,
        }
    }
}

/// One manifest, read and understood.
#[derive(Debug)]
pub(super) struct Manifest {
    /// Of the manifest itself, which is the model's id.
    pub(super) digest: Digest,
    /// As it was written.
    pub(super) text: Vec<u8>,
    pub(super) modified: SystemTime,
    /// In the manifest's order, the config last.
    pub(super) layers: Vec<Layer>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    #[serde(default = "schema_version")]
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    config: WrittenLayer,
    layers: Vec<WrittenLayer>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenLayer {
    media_type: String,
    digest: Digest,
    size: u64,
}

fn schema_version() -> u32 {
    2
}

impl Manifest {
    /// Reads the manifest at `path`; `None` if there is none.
    pub(super) fn read(path: &Path) -> Result<Option<Manifest>, StoreError> {
        let Some(metadata) = file::look(path)? else {
            return Ok(None);
        };
        let text = file::read(path, MANIFEST_BYTES_MAX)?;
        let mut manifest = Manifest::parse(path, text)?;
        manifest.modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        Ok(Some(manifest))
    }

    /// Understands what is, or shall be, in the file at `path`.
    pub(super) fn parse(path: &Path, text: Vec<u8>) -> Result<Manifest, StoreError> {
        if text.len() as u64 > MANIFEST_BYTES_MAX {
            return Err(StoreError::TooLarge {
                path: path.to_owned(),
                bytes_max: MANIFEST_BYTES_MAX,
            });
        }
        let written: Written = serde_json::from_slice(&text).map_err(|error| StoreError::Malformed {
            path: path.to_owned(),
            what: "a manifest",
            cause: error.to_string(),
        })?;
        let layer = |written: WrittenLayer, kind| Layer {
            kind,
            media_type: written.media_type,
            digest: written.digest,
            bytes: written.size,
        };
        let mut layers: Vec<Layer> = Vec::new();
        for written in written.layers {
            let kind = LayerKind::of(&written.media_type);
            layers.push(layer(written, kind));
        }
        layers.push(layer(written.config, LayerKind::Config));
        Ok(Manifest {
            digest: Digest::of(&text),
            text,
            modified: SystemTime::now(),
            layers,
        })
    }

    /// The text of the manifest that names these, byte for byte as Ollama writes it.
    pub(super) fn written(config: Layer, layers: Vec<Layer>) -> Result<Vec<u8>, StoreError> {
        let written = |layer: Layer| WrittenLayer {
            media_type: layer.media_type,
            digest: layer.digest,
            size: layer.bytes,
        };
        json::compact(&Written {
            schema_version: schema_version(),
            media_type: MANIFEST_TYPE.to_owned(),
            config: written(config),
            layers: layers.into_iter().map(written).collect(),
        })
    }

    /// The sizes of all layers together, as Ollama counts a model.
    pub(super) fn bytes(&self) -> u64 {
        self.layers
            .iter()
            .fold(0, |bytes, layer| bytes.saturating_add(layer.bytes))
    }
}
