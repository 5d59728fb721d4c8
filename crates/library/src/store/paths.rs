//! Where in a store a manifest and a blob are. The only place that makes paths of what a name or a manifest says; both
//! come as types that nothing can be made of but fit names of files.

use std::path::{Path, PathBuf};

use super::digest::Digest;
use super::name::ModelName;

/// The folder of all manifests.
pub(super) fn manifests(root: &Path) -> PathBuf {
    root.join("manifests")
}

/// The manifest of the model called `name`.
pub(super) fn manifest(root: &Path, name: &ModelName) -> PathBuf {
    let mut path = manifests(root);
    path.extend(name.parts());
    path
}

/// The file whose content has this digest.
pub(super) fn blob(root: &Path, digest: &Digest) -> PathBuf {
    root.join("blobs").join(format!("sha256-{}", digest.hex()))
}
