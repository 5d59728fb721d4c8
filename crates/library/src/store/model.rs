//! One model of a store, its files there and of the right sizes, the small ones of the right content.

use std::path::PathBuf;
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::blobs::{Blobs, wrong_digest};
use super::error::StoreError;
use super::manifest::{Layer, LayerKind, Manifest};
use super::{Details, Digest, Message, ModelName, Store, file, paths};

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
    /// The beginning of every conversation.
    pub messages: Vec<Message>,
    /// What its config says.
    pub details: Details,
    /// Whether a second GGUF file belongs to it, which makes pictures fit for the first.
    pub has_projector: bool,
    /// The sizes of all its files together.
    pub bytes: u64,
    /// When its manifest was written.
    pub modified: SystemTime,
    model: Layer,
}

impl StoredModel {
    pub(super) fn open(store: &Store, stores: &[Store], name: ModelName) -> Result<StoredModel, StoreError> {
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
        let blobs = Blobs::new(store, stores, &shown);
        let mut found = StoredModel {
            path: blobs.place(model)?,
            id: manifest.digest.clone(),
            template: None,
            parameters: Map::new(),
            system: None,
            licenses: Vec::new(),
            messages: Vec::new(),
            details: Details::default(),
            has_projector: of_kind(LayerKind::Projector).next().is_some(),
            bytes: manifest.bytes(),
            modified: manifest.modified,
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
        if file::digest(&self.path)? == self.model.digest {
            return Ok(());
        }
        Err(wrong_digest(&self.name.to_string(), &self.model, self.path.clone()))
    }

    fn take(&mut self, layer: &Layer, blobs: &Blobs<'_>) -> Result<(), StoreError> {
        match layer.kind {
            LayerKind::Template => self.template = Some((layer.digest.clone(), blobs.text(layer)?)),
            LayerKind::System => self.system = Some(blobs.text(layer)?),
            LayerKind::License => self.licenses.push(blobs.text(layer)?),
            LayerKind::Parameters => self.parameters = blobs.json(layer, "a list of parameters")?,
            LayerKind::Messages => self.messages = blobs.json(layer, "a list of messages")?,
            LayerKind::Config => self.details = Details::of(&blobs.text(layer)?),
            LayerKind::Model | LayerKind::Adapter | LayerKind::Projector | LayerKind::Other => {}
        }
        Ok(())
    }
}
