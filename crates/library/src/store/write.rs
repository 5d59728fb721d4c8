//! Writing so that a crash leaves the old file or the new one, never a part: a temporary file in the same folder, made
//! durable, renamed, and the folders above it made durable too.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use super::error::StoreError;
use super::paths;

/// Makes the file at `path`, below `root`, have this content.
pub(super) fn whole(root: &Path, path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let folder = folder_of(path)?;
    let temporary = paths::temporary(folder);
    let written = write_new(&temporary, content).and_then(|()| rename(root, &temporary, path));
    if written.is_err() {
        // Nothing else can be done about it.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Makes the folder that the file at `path` lies in; returns it.
pub(super) fn folder_of(path: &Path) -> Result<&Path, StoreError> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(|cause| unwritable(folder, cause))?;
    Ok(folder)
}

/// Gives the durable file at `from` the name `to`, in the same folder below `root`.
pub(super) fn rename(root: &Path, from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|cause| unwritable(to, cause))?;
    let folders = to.ancestors().skip(1).take_while(|folder| folder.starts_with(root));
    for folder in folders {
        sync_folder(folder)?;
    }
    Ok(())
}

/// Waits until nobody else changes which manifests the store at `root` has; holds them off until it is dropped.
pub(super) fn lock(root: &Path) -> Result<File, StoreError> {
    let path = paths::lock(root);
    folder_of(&path)?;
    let opened = File::options().create(true).append(true).open(&path);
    let file = opened.map_err(|cause| unwritable(&path, cause))?;
    match file.lock() {
        // Some network file systems have no locks: one writer at a time is up to their users.
        Err(cause) if cause.kind() != ErrorKind::Unsupported => Err(unwritable(&path, cause)),
        _ => Ok(file),
    }
}

pub(super) fn unwritable(path: &Path, cause: std::io::Error) -> StoreError {
    StoreError::Unwritable {
        path: path.to_owned(),
        cause,
    }
}

fn write_new(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let written = || {
        let mut file = File::options().write(true).create_new(true).open(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    written().map_err(|cause| unwritable(path, cause))
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|cause| unwritable(folder, cause))
}

/// Elsewhere a folder cannot be opened as a file, and a rename is as durable as it gets.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> Result<(), StoreError> {
    Ok(())
}

/// Removes the file at `path`, if there is one.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => Err(unwritable(path, cause)),
        _ => Ok(()),
    }
}

/// Removes the folders between `root` and the file that was at `path`, as far as nothing else is in them.
pub(super) fn remove_empty_folders(root: &Path, path: &Path) {
    let folders = path.ancestors().skip(1).take_while(|folder| *folder != root);
    for folder in folders {
        if fs::remove_dir(folder).is_err() {
            return;
        }
    }
}
