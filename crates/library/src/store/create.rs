//! New models out of old ones and of uploaded files: the weights stay where they are, the small layers, the config and
//! the manifest are written as Ollama writes them.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Map, Value};

use super::blobs::{Blobs, SMALL_BYTES_MAX};
use super::error::StoreError;
use super::manifest::{Layer, LayerKind, Manifest};
use super::{Details, Digest, Message, ModelName, OwnStore, Store, file, json, list, paths, write};
use crate::Gguf;

/// What a new model's weights are.
#[derive(Clone, Debug)]
pub enum Origin {
    /// Those of a model that some store has, with all that belongs to it.
    Model(ModelName),
    /// A GGUF file that was uploaded.
    Blob(Digest),
}

/// How to make a model.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// What it is made of.
    pub origin: Origin,
    /// Sampling values, stop strings and the like; what is not among them stays as in the origin.
    pub parameters: Map<String, Value>,
    /// In place of the origin's; empty for none at all.
    pub system: Option<String>,
    /// In place of the origin's; empty for none at all.
    pub template: Option<String>,
    /// Beside the origin's.
    pub licenses: Vec<String>,
    /// In place of the origin's, unless there are none.
    pub messages: Vec<Message>,
}

impl Recipe {
    /// The origin as it is.
    pub fn of(origin: Origin) -> Recipe {
        Recipe {
            origin,
            parameters: Map::new(),
            system: None,
            template: None,
            licenses: Vec::new(),
            messages: Vec::new(),
        }
    }
}

/// The config blob, its fields in Ollama's order.
#[derive(Serialize)]
struct Config<'a> {
    model_format: &'a str,
    model_family: &'a str,
    model_families: &'a [String],
    model_type: &'a str,
    file_type: &'a str,
    architecture: &'a str,
    os: &'a str,
    rootfs: RootFs,
}

#[derive(Serialize)]
struct RootFs {
    #[serde(rename = "type")]
    kind: &'static str,
    diff_ids: Vec<Digest>,
}

impl OwnStore {
    /// Makes the model called `name` by `recipe`; returns its id. An origin, and blobs of it, may be in any of `stores`.
    ///
    /// # Errors
    /// The origin is not there or not whole, its file is no GGUF file, a text is too long, or the disk refuses.
    pub fn create(&self, stores: &[Store], name: &ModelName, recipe: &Recipe) -> Result<Digest, StoreError> {
        let (mut layers, details) = self.base(stores, &recipe.origin)?;
        if let Some(template) = &recipe.template {
            self.replace(&mut layers, LayerKind::Template, template.as_bytes())?;
        }
        if let Some(system) = &recipe.system {
            self.replace(&mut layers, LayerKind::System, system.as_bytes())?;
        }
        for license in &recipe.licenses {
            let layer = self.layer(LayerKind::License, license.as_bytes())?;
            if !layers.iter().any(|other| other.digest == layer.digest) {
                layers.push(layer);
            }
        }
        if !recipe.parameters.is_empty() {
            let mut parameters = self.parameters(stores, &name.to_string(), &layers)?;
            parameters.extend(recipe.parameters.clone());
            // Go writes the keys of a map in their order.
            parameters.sort_keys();
            self.replace(&mut layers, LayerKind::Parameters, &json::line(&parameters)?)?;
        }
        if !recipe.messages.is_empty() {
            self.replace(&mut layers, LayerKind::Messages, &json::line(&recipe.messages)?)?;
        }
        let config = self.layer(LayerKind::Config, &config(&details, &layers)?)?;
        self.put_manifest(stores, name, &Manifest::written(config, layers)?)
    }

    /// The layers to begin with.
    fn base(&self, stores: &[Store], origin: &Origin) -> Result<(Vec<Layer>, Details), StoreError> {
        match origin {
            Origin::Model(from) => {
                // All of it is there and sound, or it is refused here.
                let details = super::find(stores, from)?.details;
                let manifest = list::manifest(stores, from)?;
                let layers = manifest
                    .layers
                    .into_iter()
                    .filter(|layer| layer.kind != LayerKind::Config);
                Ok((layers.collect(), details))
            }
            Origin::Blob(digest) => {
                let (path, bytes) = self.uploaded(stores, digest)?;
                let opened = Gguf::open(&path).map_err(|error| StoreError::Unusable {
                    digest: digest.clone(),
                    problem: error.problem,
                })?;
                let details = Details::of_gguf(&opened);
                Ok((vec![Layer::new(LayerKind::Model, digest.clone(), bytes)], details))
            }
        }
    }

    /// Where an uploaded blob is, and its length.
    fn uploaded(&self, stores: &[Store], digest: &Digest) -> Result<(PathBuf, u64), StoreError> {
        for store in std::iter::once(self.store()).chain(stores) {
            for path in [
                paths::blob(&store.root, digest),
                paths::legacy_blob(&store.root, digest),
            ] {
                if let Some(metadata) = file::look(&path)? {
                    return Ok((path, metadata.len()));
                }
            }
        }
        Err(StoreError::NoSuchBlob { digest: digest.clone() })
    }

    /// The parameters among `layers`.
    fn parameters(&self, stores: &[Store], name: &str, layers: &[Layer]) -> Result<Map<String, Value>, StoreError> {
        let written = layers.iter().find(|layer| layer.kind == LayerKind::Parameters);
        let blobs = Blobs::new(self.store(), stores, name);
        written.map_or_else(|| Ok(Map::new()), |layer| blobs.json(layer, "a list of parameters"))
    }

    /// Puts one layer of this content in place of all of its kind; an empty one is left out.
    fn replace(&self, layers: &mut Vec<Layer>, kind: LayerKind, content: &[u8]) -> Result<(), StoreError> {
        layers.retain(|layer| layer.kind != kind);
        if !content.is_empty() {
            layers.push(self.layer(kind, content)?);
        }
        Ok(())
    }

    /// Writes a small blob.
    fn layer(&self, kind: LayerKind, content: &[u8]) -> Result<Layer, StoreError> {
        let bytes = content.len() as u64;
        if bytes > SMALL_BYTES_MAX {
            let bytes_max = SMALL_BYTES_MAX;
            return Err(StoreError::TooMuch { bytes_max });
        }
        let digest = Digest::of(content);
        write::whole(self.root(), &paths::blob(self.root(), &digest), content)?;
        Ok(Layer::new(kind, digest, bytes))
    }
}

fn config(details: &Details, layers: &[Layer]) -> Result<Vec<u8>, StoreError> {
    json::line(&Config {
        model_format: &details.format,
        model_family: &details.family,
        model_families: &details.families,
        model_type: &details.parameter_size,
        file_type: &details.quantization_level,
        architecture: "amd64",
        os: "linux",
        rootfs: RootFs {
            kind: "layers",
            diff_ids: layers.iter().map(|layer| layer.digest.clone()).collect(),
        },
    })
}
