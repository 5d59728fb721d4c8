//! The blobs of one model, wherever among the stores they are.

use std::path::PathBuf;

use serde::de::DeserializeOwned;

use super::error::StoreError;
use super::manifest::Layer;
use super::{Digest, Store, file, paths};

/// Bytes of a template, a system text, parameters, messages or a licence at most.
pub(super) const SMALL_BYTES_MAX: u64 = 4 << 20;

/// Where a model's blobs may be.
pub(super) struct Blobs<'a> {
    /// The one that has the manifest, which is looked at first, and all.
    store: &'a Store,
    stores: &'a [Store],
    /// The model's, for messages.
    name: &'a str,
}

impl<'a> Blobs<'a> {
    pub(super) fn new(store: &'a Store, stores: &'a [Store], name: &'a str) -> Blobs<'a> {
        Blobs { store, stores, name }
    }

    /// Where the layer is, if it is a regular file of the right size.
    pub(super) fn place(&self, layer: &Layer) -> Result<PathBuf, StoreError> {
        let others = self.stores.iter().filter(|store| *store != self.store);
        let mut refusal = None;
        for store in std::iter::once(self.store).chain(others) {
            match self.place_in(store, layer) {
                Ok(Some(path)) => return Ok(path),
                Ok(None) => {}
                // Another store may have it as it should be.
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        Err(refusal.unwrap_or_else(|| StoreError::MissingBlob {
            name: self.name.to_owned(),
            layer: layer.kind,
            path: paths::blob(&self.store.root, &layer.digest),
        }))
    }

    fn place_in(&self, store: &Store, layer: &Layer) -> Result<Option<PathBuf>, StoreError> {
        for path in [
            paths::blob(&store.root, &layer.digest),
            paths::legacy_blob(&store.root, &layer.digest),
        ] {
            match file::look(&path)? {
                None => {}
                Some(metadata) if metadata.len() == layer.bytes => return Ok(Some(path)),
                Some(metadata) => {
                    return Err(StoreError::WrongSize {
                        name: self.name.to_owned(),
                        layer: layer.kind,
                        path,
                        found: metadata.len(),
                        expected: layer.bytes,
                    });
                }
            }
        }
        Ok(None)
    }

    /// The content of a small layer, of the right digest.
    pub(super) fn text(&self, layer: &Layer) -> Result<String, StoreError> {
        let path = self.place(layer)?;
        let bytes = file::read(&path, SMALL_BYTES_MAX)?;
        if Digest::of(&bytes) != layer.digest {
            return Err(wrong_digest(self.name, layer, path));
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The content of a small layer that is JSON and says `what`.
    pub(super) fn json<T: DeserializeOwned>(&self, layer: &Layer, what: &'static str) -> Result<T, StoreError> {
        serde_json::from_str(&self.text(layer)?).map_err(|error| StoreError::Malformed {
            path: self.place(layer).unwrap_or_default(),
            what,
            cause: error.to_string(),
        })
    }
}

pub(super) fn wrong_digest(name: &str, layer: &Layer, path: PathBuf) -> StoreError {
    StoreError::WrongDigest {
        name: name.to_owned(),
        layer: layer.kind,
        path,
    }
}
