//! Models by name out of Ollama's model stores and our own. A [`Store`] is only ever read: nothing in it is written,
//! renamed or pruned. Our own is laid out the same and is an [`OwnStore`], which can be written to as well.
//!
//! A store holds `manifests/<host>/<namespace>/<model>/<tag>`, small JSON files, and `blobs/sha256-<hex>`, which they
//! name: the GGUF file, its template, its parameters, its licences.

mod blobs;
mod create;
mod details;
mod digest;
mod error;
mod file;
mod json;
mod list;
mod manifest;
mod model;
mod name;
mod own;
mod partial;
mod paths;
mod write;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use create::{Origin, Recipe};
pub use details::{Details, Message};
pub use digest::Digest;
pub use error::StoreError;
pub use list::{Listed, Listing, list};
pub(crate) use manifest::MANIFEST_BYTES_MAX;
pub use manifest::{Layer, LayerKind};
pub use model::StoredModel;
pub use name::ModelName;
pub use own::OwnStore;
pub use partial::Partial;
pub(crate) use partial::Place;

/// One folder that is laid out as Ollama does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store in the folder `root`, whether or not it is there.
    pub fn at(root: impl Into<PathBuf>) -> Store {
        Store { root: root.into() }
    }

    /// Where models are looked for, in order, each folder once.
    ///
    /// * `ollama_models`  what the variable `OLLAMA_MODELS` says, if anything
    /// * `home`  the user's own folder, if there is one
    pub fn usual(ollama_models: Option<PathBuf>, home: Option<&Path>) -> Vec<Store> {
        let own = home.map(|home| home.join(".ollama/models"));
        let service = ["/usr/share/ollama/.ollama/models", "/var/lib/ollama/.ollama/models"].map(PathBuf::from);
        let mut stores: Vec<Store> = Vec::new();
        for root in ollama_models.into_iter().chain(own).chain(service) {
            if !stores.iter().any(|store| store.root == root) {
                stores.push(Store { root });
            }
        }
        stores
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether there is a manifest of this name.
    pub fn has(&self, name: &ModelName) -> bool {
        self.existing(name).is_some()
    }

    /// The name as it is written in the store: names differ by more than upper and lower case.
    fn existing(&self, name: &ModelName) -> Option<ModelName> {
        if paths::manifest(&self.root, name).symlink_metadata().is_ok() {
            return Some(name.clone());
        }
        self.names().into_iter().find(|found| found.is_same(name))
    }
}

/// Finds the model called `name` in the first of `stores` that has it, and checks its files' sizes and the digests of
/// the small ones. The files may be in any of `stores`.
///
/// # Errors
/// No store has it, or one has it and a file of it is missing, cut, damaged, or no regular file.
pub fn find(stores: &[Store], name: &ModelName) -> Result<StoredModel, StoreError> {
    for store in stores {
        if let Some(name) = store.existing(name) {
            return StoredModel::open(store, stores, name);
        }
    }
    Err(list::no_such_model(stores, name))
}
