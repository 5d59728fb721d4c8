//! One model of a store, its files there and of the right sizes, the small ones of the right content.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::error::StoreError;
use super::manifest::{Layer, LayerKind, Manifest};
use super::{Digest, ModelName, Store, file, paths};

/// Bytes of a template, a system text, parameters or a licence at most.
const SMALL_BYTES_MAX: u64 = 4 << 20;

/// The digests of the templates that DeepSeek-R1's models came with, of January and of May 2025.
const DEEPSEEK_R1_TEMPLATES: [&str; 2] = [
    "369ca498f347f710d068cbb38bf0b8692dd3fa30f30ca2ff755e211c94768150",
    "c5ad996bda6eed4df6e3b605a9869647624851ac248209d22fd5e2c0cc1121d3",
];

/// A model that a store has.
#[derive(Clone, Debug)]
pub struct StoredModel {
    /// As the store writes it.
    pub name: ModelName,
    /// The digest of the manifest.
    pub id: Digest,
    /// The GGUF file.
    pub path: PathBuf,
    /// The template and its digest.
    pub template: Option<(Digest, String)>,
    /// Sampling values, stop strings and the like, as they were written.
    pub parameters: Map<String, Value>,
    /// The text for the beginning of every conversation.
    pub system: Option<String>,
    /// The licences.
    pub licenses: Vec<String>,
    root: PathBuf,
    model: Layer,
}

impl StoredModel {
    pub(super) fn open(store: &Store, name: ModelName) -> Result<StoredModel, StoreError> {
        let path = paths::manifest(&store.root, &name);
        let Some(manifest) = Manifest::read(&path)? else {
            // A link that leads nowhere.
            let cause = std::io::ErrorKind::NotFound.into();
            return Err(StoreError::Unreadable { path, cause });
        };
        let shown = name.to_string();
        let of_kind = |kind| manifest.layers.iter().filter(move |layer| layer.kind == kind);
        if of_kind(LayerKind::Adapter).next().is_some() {
            return Err(StoreError::Adapter { name: shown });
        }
        let models: Vec<&Layer> = of_kind(LayerKind::Model).collect();
        let [model] = models.as_slice() else {
            let found = models.len();
            return Err(StoreError::ModelCount { name: shown, found });
        };
        let blobs = Blobs {
            root: &store.root,
            name: &shown,
        };
        let mut found = StoredModel {
            path: blobs.place(model)?,
            id: manifest.digest.clone(),
            template: None,
            parameters: Map::new(),
            system: None,
            licenses: Vec::new(),
            root: store.root.clone(),
            model: (*model).clone(),
            name,
        };
        for layer in &manifest.layers {
            found.take(layer, &blobs)?;
        }
        Ok(found)
    }

    /// Whether the template is one of those that DeepSeek-R1's models came with.
    pub fn has_deepseek_template(&self) -> bool {
        let digest = self.template.as_ref().map(|(digest, _)| digest.hex());
        digest.is_some_and(|digest| DEEPSEEK_R1_TEMPLATES.contains(&digest))
    }

    /// Reads the whole GGUF file, which may take minutes, and compares its content with its digest.
    ///
    /// # Errors
    /// They differ, or the file cannot be read.
    pub fn verify(&self) -> Result<(), StoreError> {
        let name = self.name.to_string();
        let blobs = Blobs {
            root: &self.root,
            name: &name,
        };
        blobs.verify(&self.model)
    }

    fn take(&mut self, layer: &Layer, blobs: &Blobs<'_>) -> Result<(), StoreError> {
        match layer.kind {
            LayerKind::Template => self.template = Some((layer.digest.clone(), blobs.text(layer)?)),
            LayerKind::System => self.system = Some(blobs.text(layer)?),
            LayerKind::License => self.licenses.push(blobs.text(layer)?),
            LayerKind::Parameters => {
                let text = blobs.text(layer)?;
                self.parameters = serde_json::from_str(&text).map_err(|error| StoreError::Malformed {
                    path: paths::blob(blobs.root, &layer.digest),
                    what: "a list of parameters",
                    cause: error.to_string(),
                })?;
            }
            LayerKind::Config => {
                blobs.text(layer)?;
            }
            LayerKind::Model | LayerKind::Adapter | LayerKind::Other => {}
        }
        Ok(())
    }
}

/// The blobs of one model.
struct Blobs<'a> {
    root: &'a Path,
    /// For messages.
    name: &'a str,
}

impl Blobs<'_> {
    /// Where the layer is, if it is a regular file of the right size.
    fn place(&self, layer: &Layer) -> Result<PathBuf, StoreError> {
        let path = paths::blob(self.root, &layer.digest);
        let name = self.name.to_owned();
        match file::look(&path)? {
            None => Err(StoreError::MissingBlob {
                name,
                layer: layer.kind,
                path,
            }),
            Some(metadata) if metadata.len() != layer.bytes => Err(StoreError::WrongSize {
                name,
                layer: layer.kind,
                path,
                found: metadata.len(),
                expected: layer.bytes,
            }),
            Some(_) => Ok(path),
        }
    }

    /// The content of a small layer, of the right digest.
    fn text(&self, layer: &Layer) -> Result<String, StoreError> {
        let path = self.place(layer)?;
        let bytes = file::read(&path, SMALL_BYTES_MAX)?;
        if Digest::of(&bytes) != layer.digest {
            return Err(self.wrong_digest(layer, path));
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn verify(&self, layer: &Layer) -> Result<(), StoreError> {
        let path = self.place(layer)?;
        if file::digest(&path)? == layer.digest {
            Ok(())
        } else {
            Err(self.wrong_digest(layer, path))
        }
    }

    fn wrong_digest(&self, layer: &Layer, path: PathBuf) -> StoreError {
        StoreError::WrongDigest {
            name: self.name.to_owned(),
            layer: layer.kind,
            path,
        }
    }
}
