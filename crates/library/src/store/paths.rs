//! Where in a store things are. The only place that makes paths of what a name or a manifest says; both come as types
//! that nothing can be made of but fit names of files.

use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

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

/// The same as very old stores call it.
pub(super) fn legacy_blob(root: &Path, digest: &Digest) -> PathBuf {
    root.join("blobs").join(digest.to_string())
}

/// The beginning of that file, while it is not whole yet.
pub(super) fn partial(root: &Path, digest: &Digest) -> PathBuf {
    root.join("blobs").join(format!("sha256-{}-partial", digest.hex()))
}

/// The file that whoever changes which manifests there are holds the lock of.
pub(super) fn lock(root: &Path) -> PathBuf {
    root.join(".lock")
}

/// A file in `folder` that nobody else writes; its name is none of a manifest or a blob.
pub(super) fn temporary(folder: &Path) -> PathBuf {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    // In a container every process has the same id, and an earlier one may have left its files.
    let time = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos();
    folder.join(format!(".{}-{time}-{number}.tmp", process::id()))
}
