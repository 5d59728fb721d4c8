//! What a store has.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::SystemTime;

use super::blobs::Blobs;
use super::manifest::Manifest;
use super::{Details, Digest, ModelName, Store, StoreError, paths};

/// Names that a wrong one is answered with at most.
const NEAR_MAX: usize = 3;

/// One line of a list of models.
#[derive(Clone, Debug)]
pub struct Listed {
    /// As the store writes it.
    pub name: ModelName,
    /// The digest of the manifest.
    pub id: Digest,
    /// The sizes of all its files together.
    pub bytes: u64,
    /// When its manifest was written.
    pub modified: SystemTime,
    /// What its config says; empty where that cannot be read.
    pub details: Details,
}

/// What a store has, and the manifests in it that cannot be read.
#[derive(Debug, Default)]
pub struct Listing {
    /// The latest first.
    pub models: Vec<Listed>,
    /// Why a manifest is not among them.
    pub refused: Vec<StoreError>,
}

impl Listing {
    /// Equal times stay in the order of the names.
    fn sort(&mut self) {
        self.models.sort_by_key(|model| Reverse(model.modified));
    }
}

/// The models of all `stores`, the latest first. A name in two of them means the first one's model.
pub fn list(stores: &[Store]) -> Listing {
    let mut all = Listing::default();
    let mut seen = BTreeSet::new();
    for store in stores {
        let listing = store.listing(stores);
        let new = listing
            .models
            .into_iter()
            .filter(|model| seen.insert(model.name.full().to_ascii_lowercase()));
        all.models.extend(new);
        all.refused.extend(listing.refused);
    }
    all.sort();
    all
}

impl Store {
    /// The models whose manifests are in the store, the latest first; of their blobs only the configs are looked at.
    pub fn list(&self) -> Listing {
        let mut listing = self.listing(&[]);
        listing.sort();
        listing
    }

    /// The same in the order of the names; configs may be in `stores` too.
    fn listing(&self, stores: &[Store]) -> Listing {
        let mut listing = Listing::default();
        for name in self.names() {
            match Manifest::read(&paths::manifest(&self.root, &name)) {
                Ok(Some(manifest)) => listing.models.push(Listed {
                    details: Details::of_manifest(&manifest, &Blobs::new(self, stores, "")),
                    name,
                    bytes: manifest.bytes(),
                    modified: manifest.modified,
                    id: manifest.digest,
                }),
                Ok(None) => {}
                Err(error) => listing.refused.push(error),
            }
        }
        listing
    }

    /// The names of all manifests in folders that can be read, in their order. What is no name by the rules is no manifest.
    pub(super) fn names(&self) -> Vec<ModelName> {
        let lenient = |folder: &Path| Ok::<_, Infallible>(entries(folder).unwrap_or_default());
        self.names_by(lenient).unwrap_or_else(|never| match never {})
    }

    /// The same, every folder of which could be read.
    ///
    /// # Errors
    /// One could not.
    pub(super) fn all_names(&self) -> io::Result<Vec<ModelName>> {
        self.names_by(entries)
    }

    fn names_by<E>(&self, entries: impl Fn(&Path) -> Result<Vec<String>, E>) -> Result<Vec<ModelName>, E> {
        let mut names = Vec::new();
        let root = paths::manifests(&self.root);
        for host in entries(&root)? {
            let hosts = root.join(&host);
            for namespace in entries(&hosts)? {
                let namespaces = hosts.join(&namespace);
                for model in entries(&namespaces)? {
                    let tags = entries(&namespaces.join(&model))?;
                    let name = |tag: &String| ModelName::of_parts([&host, &namespace, &model, tag]);
                    names.extend(tags.iter().filter_map(name));
                }
            }
        }
        names.sort();
        Ok(names)
    }
}

/// The names in a folder that are texts; none where there is no folder.
fn entries(folder: &Path) -> io::Result<Vec<String>> {
    let found = match std::fs::read_dir(folder) {
        Ok(found) => found,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in found {
        names.extend(entry?.file_name().into_string().ok());
    }
    Ok(names)
}

/// The manifest of `name` in the first of `stores` that has it.
pub(super) fn manifest(stores: &[Store], name: &ModelName) -> Result<Manifest, StoreError> {
    for store in stores {
        let found = store.existing(name).map(|name| paths::manifest(&store.root, &name));
        if let Some(path) = found
            && let Some(manifest) = Manifest::read(&path)?
        {
            return Ok(manifest);
        }
    }
    Err(no_such_model(stores, name))
}

/// That none of `stores` has it, and what they have instead.
pub(super) fn no_such_model(stores: &[Store], name: &ModelName) -> StoreError {
    StoreError::NoSuchModel {
        name: name.to_string(),
        near: near(stores, name),
        stores: stores.iter().map(|store| store.root.clone()).collect(),
    }
}

/// Names in the stores that `name` may have been meant to be: other tags of the model first, then models whose names
/// contain one another.
fn near(stores: &[Store], name: &ModelName) -> Vec<String> {
    let [_, _, wanted, _] = name.parts();
    let wanted = wanted.to_ascii_lowercase();
    let mut near: Vec<(u8, String)> = Vec::new();
    for found in stores.iter().flat_map(Store::names) {
        let [_, _, model, _] = found.parts();
        let model = model.to_ascii_lowercase();
        let rank = match () {
            () if model == wanted => 0,
            () if model.contains(&wanted) || wanted.contains(&model) => 1,
            () if model.chars().zip(wanted.chars()).take_while(|(a, b)| a == b).count() >= 4 => 2,
            () => continue,
        };
        near.push((rank, found.to_string()));
    }
    near.sort();
    near.dedup();
    near.into_iter().take(NEAR_MAX).map(|(_, name)| name).collect()
}
