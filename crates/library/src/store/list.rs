//! What a store has.

use std::cmp::Reverse;
use std::path::Path;
use std::time::SystemTime;

use super::manifest::Manifest;
use super::{Digest, ModelName, Store, StoreError, paths};

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
}

/// What a store has, and the manifests in it that cannot be read.
#[derive(Debug, Default)]
pub struct Listing {
    /// The latest first.
    pub models: Vec<Listed>,
    /// Why a manifest is not among them.
    pub refused: Vec<StoreError>,
}

impl Store {
    /// The models whose manifests are in the store, the latest first; their blobs are not looked at.
    pub fn list(&self) -> Listing {
        let mut listing = Listing::default();
        for name in self.names() {
            match Manifest::read(&paths::manifest(&self.root, &name)) {
                Ok(Some(manifest)) => listing.models.push(Listed {
                    name,
                    bytes: manifest.bytes(),
                    modified: manifest.modified,
                    id: manifest.digest,
                }),
                Ok(None) => {}
                Err(error) => listing.refused.push(error),
            }
        }
        // Equal times are in the order of the names.
        listing.models.sort_by_key(|model| Reverse(model.modified));
        listing
    }

    /// The names of all manifests, in their order. What is no name by the rules is no manifest.
    pub(super) fn names(&self) -> Vec<ModelName> {
        let mut names = Vec::new();
        let root = paths::manifests(&self.root);
        for host in entries(&root) {
            let hosts = root.join(&host);
            for namespace in entries(&hosts) {
                let namespaces = hosts.join(&namespace);
                for model in entries(&namespaces) {
                    let tags = entries(&namespaces.join(&model));
                    names.extend(
                        tags.iter()
                            .filter_map(|tag| ModelName::of_parts([&host, &namespace, &model, tag])),
                    );
                }
            }
        }
        names.sort();
        names
    }
}

/// The names in a folder that are texts; none if it cannot be read.
fn entries(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Names in the stores that `name` may have been meant to be: other tags of the model first, then models whose names
/// contain one another.
pub(super) fn near(stores: &[Store], name: &ModelName) -> Vec<String> {
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
