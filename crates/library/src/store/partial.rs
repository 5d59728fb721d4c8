//! A blob that is not whole yet: `sha256-<hex>-partial`, appended to, resumed after a break, and given its name when its
//! content has the digest that the name says.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::error::StoreError;
use super::write::{self, unwritable};
use super::{Digest, file, paths};
use crate::regular::other_kind;

/// How often another writer may finish the same blob while this one opens it.
const TRIES: usize = 8;

/// The beginning of a blob, open for appending by this writer alone. What was appended stays when it is dropped, and is
/// gone on from by the next one.
#[derive(Debug)]
pub struct Partial {
    root: PathBuf,
    digest: Digest,
    path: PathBuf,
    whole: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    hash: Sha256,
}

/// Where the beginning of a file is, and where the whole will be, in the same folder.
pub(crate) struct Place {
    /// The folder above, as far up as folders may be new.
    pub(crate) root: PathBuf,
    pub(crate) partial: PathBuf,
    pub(crate) whole: PathBuf,
}

impl Place {
    /// In a store.
    fn of(root: &Path, digest: &Digest) -> Place {
        Place {
            root: root.to_owned(),
            partial: paths::partial(root, digest),
            whole: paths::blob(root, digest),
        }
    }
}

impl Partial {
    pub(super) fn open(root: &Path, digest: &Digest, bytes_max: u64) -> Result<Partial, StoreError> {
        Partial::at(Place::of(root, digest), digest, bytes_max)
    }

    /// An empty one: what an earlier writer left is forgotten, and need not be read.
    pub(super) fn begin(root: &Path, digest: &Digest, bytes_max: u64) -> Result<Partial, StoreError> {
        let mut partial = Partial::untouched(Place::of(root, digest), digest, bytes_max)?;
        partial.restart()?;
        Ok(partial)
    }

    /// The same of a file in another layout than a store's.
    pub(crate) fn at(place: Place, digest: &Digest, bytes_max: u64) -> Result<Partial, StoreError> {
        let mut partial = Partial::untouched(place, digest, bytes_max)?;
        partial.take_over()?;
        Ok(partial)
    }

    fn untouched(place: Place, digest: &Digest, bytes_max: u64) -> Result<Partial, StoreError> {
        write::folder_of(&place.partial)?;
        Ok(Partial {
            file: open_alone(&place.partial, digest)?,
            root: place.root,
            digest: digest.clone(),
            path: place.partial,
            whole: place.whole,
            bytes: 0,
            bytes_max,
            hash: Sha256::new(),
        })
    }

    /// The digest that the whole will have.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// How many bytes there are: where to go on.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds to the end.
    ///
    /// # Errors
    /// The disk refuses, or there would be more bytes than the whole may have; then nothing is added.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let grown = self.bytes.saturating_add(bytes.len() as u64);
        if grown > self.bytes_max {
            let bytes_max = self.bytes_max;
            return Err(StoreError::TooMuch { bytes_max });
        }
        if let Err(cause) = self.file.write_all(bytes) {
            // Part of them may be there: what is counted and hashed is what stays.
            let _ = self.file.set_len(self.bytes);
            return Err(unwritable(&self.path, cause));
        }
        self.bytes = grown;
        self.hash.update(bytes);
        Ok(())
    }

    /// Forgets what there is.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn restart(&mut self) -> Result<(), StoreError> {
        self.file.set_len(0).map_err(|cause| unwritable(&self.path, cause))?;
        self.bytes = 0;
        self.hash = Sha256::new();
        Ok(())
    }

    /// Deletes it.
    pub fn discard(self) {
        // What cannot be deleted is taken over by the next writer.
        let _ = fs::remove_file(&self.path);
    }

    pub(crate) fn finish(mut self, bytes: u64) -> Result<PathBuf, StoreError> {
        if self.bytes < bytes {
            let found = self.bytes;
            return Err(StoreError::Incomplete { found, expected: bytes });
        }
        let found = Digest::finish(std::mem::take(&mut self.hash));
        if self.bytes > bytes || found != self.digest {
            let expected = self.digest.clone();
            self.discard();
            return Err(StoreError::OtherContent { found, expected });
        }
        self.file.sync_all().map_err(|cause| unwritable(&self.path, cause))?;
        write::rename(&self.root, &self.path, &self.whole)?;
        Ok(self.whole)
    }

    /// Counts and hashes what an earlier writer left; what is larger than the whole is of no use.
    fn take_over(&mut self) -> Result<(), StoreError> {
        let found = self
            .file
            .metadata()
            .map_err(|cause| unwritable(&self.path, cause))?
            .len();
        if found > self.bytes_max {
            return self.restart();
        }
        let mut left = File::open(&self.path)
            .map_err(|cause| unwritable(&self.path, cause))?
            .take(found);
        self.bytes = file::hash(&mut left, &mut self.hash).map_err(|cause| unwritable(&self.path, cause))?;
        Ok(())
    }
}

/// Opens the file at `path` for appending, unless somebody has it open already.
fn open_alone(path: &Path, digest: &Digest) -> Result<File, StoreError> {
    let busy = || StoreError::Busy { digest: digest.clone() };
    for _ in 0..TRIES {
        require_regular(path)?;
        let opened = File::options().create(true).append(true).open(path);
        let file = opened.map_err(|cause| unwritable(path, cause))?;
        match file.try_lock() {
            Err(fs::TryLockError::WouldBlock) => return Err(busy()),
            Err(fs::TryLockError::Error(cause)) if cause.kind() != ErrorKind::Unsupported => {
                return Err(unwritable(path, cause));
            }
            _ => {}
        }
        // Between opening and locking, another writer may have finished it: what is open now would be the blob itself.
        if is_same(&file, path) {
            return Ok(file);
        }
    }
    Err(busy())
}

fn require_regular(path: &Path) -> Result<(), StoreError> {
    let kind = fs::symlink_metadata(path)
        .ok()
        .and_then(|metadata| other_kind(metadata.file_type()));
    match kind {
        None => Ok(()),
        Some(kind) => Err(StoreError::NotAFile {
            path: path.to_owned(),
            kind,
        }),
    }
}

#[cfg(unix)]
fn is_same(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(open), Ok(named)) = (file.metadata(), fs::symlink_metadata(path)) else {
        return false;
    };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}

#[cfg(not(unix))]
fn is_same(_: &File, path: &Path) -> bool {
    path.exists()
}
