//! Our own store, which is laid out as Ollama's and is the only one that anything is written to.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::blobs::{Blobs, SMALL_BYTES_MAX};
use super::error::StoreError;
use super::manifest::Manifest;
use super::partial::Partial;
use super::{Digest, ModelName, Store, file, list, paths, write};

/// Bytes read from a sender at a time.
const CHUNK_BYTES: usize = 1 << 18;

/// The store that is ours to change. Several processes may: what is written is whole or not there, and which manifests
/// there are is changed by one at a time. All methods block on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnStore {
    store: Store,
}

impl OwnStore {
    /// The store in the folder `root`, which is made when something is written.
    pub fn at(root: impl Into<PathBuf>) -> OwnStore {
        OwnStore { store: Store::at(root) }
    }

    /// For reading, as one of a list of stores: ours first, so that its names win.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.store.root
    }

    /// The length of the blob of this digest, if there is one. The content is compared of a small one only, as it is
    /// whenever a model is opened; one with other content counts as none.
    ///
    /// # Errors
    /// The system refuses, or it is no regular file.
    pub fn has_blob(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        let path = paths::blob(self.root(), digest);
        let bytes = file::look(&path)?.map(|metadata| metadata.len());
        let is_other = bytes.is_some_and(|bytes| bytes <= SMALL_BYTES_MAX) && file::digest(&path)? != *digest;
        Ok(bytes.filter(|_| !is_other))
    }

    /// Opens the beginning of a blob, to be appended to and then given to [`OwnStore::finish`]. What an earlier writer left
    /// is read and gone on from, unless it is larger than `bytes_max`: then it begins empty.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if somebody else has it open; the disk refuses.
    pub fn partial(&self, digest: &Digest, bytes_max: u64) -> Result<Partial, StoreError> {
        Partial::open(self.root(), digest, bytes_max)
    }

    /// Makes a blob of what was appended, if it is `bytes` long and has its digest; returns where it is.
    ///
    /// # Errors
    /// It is too short ([`StoreError::Incomplete`]; what there is stays), or has other content
    /// ([`StoreError::OtherContent`]; it is deleted), or the disk refuses.
    pub fn finish(&self, partial: Partial, bytes: u64) -> Result<PathBuf, StoreError> {
        partial.finish(bytes)
    }

    /// Makes a blob of all that `from` has, at most `bytes_max`. What has another digest is deleted again.
    ///
    /// # Errors
    /// Other content than announced, too much of it, a sender that breaks off, or a disk that refuses.
    pub fn put_blob(&self, digest: &Digest, from: &mut impl Read, bytes_max: u64) -> Result<PathBuf, StoreError> {
        let mut partial = Partial::begin(self.root(), digest, bytes_max)?;
        match append_all(&mut partial, from) {
            Ok(()) => {
                let bytes = partial.bytes();
                self.finish(partial, bytes)
            }
            Err(error) => {
                partial.discard();
                Err(error)
            }
        }
    }

    /// Makes `manifest` the one of `name`; returns its digest, the model's id. Every blob that it names must be in this
    /// store or in one of `stores`, as long as it says. Blobs of the one it replaces go, if no other name needs them.
    ///
    /// # Errors
    /// It is no manifest, a blob is missing or of another length, or the disk refuses.
    pub fn put_manifest(&self, stores: &[Store], name: &ModelName, manifest: &[u8]) -> Result<Digest, StoreError> {
        let _lock = write::lock(self.root())?;
        // A name that differs in upper and lower case only is replaced.
        let name = self.store.existing(name).unwrap_or_else(|| name.clone());
        let path = paths::manifest(self.root(), &name);
        let manifest = Manifest::parse(&path, manifest.to_vec())?;
        let shown = name.to_string();
        let blobs = Blobs::new(&self.store, stores, &shown);
        for layer in &manifest.layers {
            blobs.place(layer)?;
        }
        // What cannot be understood names no blobs that would be safe to delete.
        let replaced = Manifest::read(&path).ok().flatten();
        write::whole(self.root(), &path, &manifest.text)?;
        if let Some(replaced) = replaced {
            self.remove_unneeded(&replaced)?;
        }
        Ok(manifest.digest)
    }

    /// Gives the model called `from`, in the first of `stores` that has it, the second name `to` in this one. Blobs are
    /// not copied: they are found where they are.
    ///
    /// # Errors
    /// No store has it, a blob of it is missing, or the disk refuses.
    pub fn copy(&self, stores: &[Store], from: &ModelName, to: &ModelName) -> Result<Digest, StoreError> {
        let manifest = list::manifest(stores, from)?;
        self.put_manifest(stores, to, &manifest.text)
    }

    /// Removes the name, and the blobs of its model that no other name in this store needs.
    ///
    /// # Errors
    /// [`StoreError::ReadOnly`] if only another of `stores` has it, [`StoreError::NoSuchModel`] if none has, or the disk
    /// refuses.
    pub fn delete(&self, stores: &[Store], name: &ModelName) -> Result<(), StoreError> {
        let _lock = write::lock(self.root())?;
        let Some(name) = self.store.existing(name) else {
            let other = stores.iter().find(|store| **store != self.store && store.has(name));
            return Err(match other {
                Some(store) => StoreError::ReadOnly {
                    name: name.to_string(),
                    store: store.root.clone(),
                },
                None => list::no_such_model(stores, name),
            });
        };
        let path = paths::manifest(self.root(), &name);
        // What cannot be understood names no blobs that would be safe to delete.
        let manifest = Manifest::read(&path).ok().flatten();
        write::remove(&path)?;
        write::remove_empty_folders(&paths::manifests(self.root()), &path);
        manifest.map_or(Ok(()), |manifest| self.remove_unneeded(&manifest))
    }

    /// Removes the blobs of `manifest` that no manifest of this store names. Only a blob that was in use is looked at, so
    /// that what somebody is about to use for the first time stays.
    fn remove_unneeded(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let mut needed: BTreeSet<Digest> = BTreeSet::new();
        // In a folder that cannot be read, nobody knows what is needed.
        let Ok(names) = self.store.all_names() else {
            return Ok(());
        };
        for name in names {
            match Manifest::read(&paths::manifest(self.root(), &name)) {
                Ok(Some(other)) => needed.extend(other.layers.into_iter().map(|layer| layer.digest)),
                Ok(None) => {}
                // Nobody knows what it needs.
                Err(_) => return Ok(()),
            }
        }
        let digests: BTreeSet<&Digest> = manifest.layers.iter().map(|layer| &layer.digest).collect();
        for digest in digests.into_iter().filter(|digest| !needed.contains(digest)) {
            write::remove(&paths::blob(self.root(), digest))?;
        }
        Ok(())
    }
}

fn append_all(partial: &mut Partial, from: &mut impl Read) -> Result<(), StoreError> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(read) => partial.append(chunk.get(..read).unwrap_or_default())?,
            Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(StoreError::Source { cause }),
        }
    }
}
