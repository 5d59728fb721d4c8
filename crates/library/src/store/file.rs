//! Reading a store's files: regular files only, never more bytes than expected. A link is followed, since where a store's
//! files really are is its owner's business.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::digest::Digest;
use super::error::StoreError;
use crate::regular::other_kind;

/// Bytes read at a time for a digest.
const CHUNK_BYTES: usize = 1 << 20;

/// What is known of the regular file at `path` without opening it; `None` if there is nothing.
pub(super) fn look(path: &Path) -> Result<Option<Metadata>, StoreError> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(unreadable(path, cause)),
    };
    match other_kind(metadata.file_type()) {
        None => Ok(Some(metadata)),
        Some(kind) => Err(StoreError::NotAFile {
            path: path.to_owned(),
            kind,
        }),
    }
}

/// The content of the file at `path`, which [`look`] has seen.
pub(super) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|cause| unreadable(path, cause))?;
    file.take(bytes_max.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|cause| unreadable(path, cause))?;
    if bytes.len() as u64 > bytes_max {
        return Err(StoreError::TooLarge {
            path: path.to_owned(),
            bytes_max,
        });
    }
    Ok(bytes)
}

/// The digest of the whole file at `path`, which [`look`] has seen.
pub(super) fn digest(path: &Path) -> Result<Digest, StoreError> {
    let mut hash = Sha256::new();
    let read = File::open(path).and_then(|mut file| self::hash(&mut file, &mut hash));
    read.map_err(|cause| unreadable(path, cause))?;
    Ok(Digest::finish(hash))
}

/// Reads to the end; returns how many bytes there were.
pub(super) fn hash(from: &mut impl Read, into: &mut Sha256) -> io::Result<u64> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut bytes = 0;
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return Ok(bytes),
            Ok(read) => {
                into.update(chunk.get(..read).unwrap_or_default());
                bytes += read as u64;
            }
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
}

pub(super) fn unreadable(path: &Path, cause: io::Error) -> StoreError {
    StoreError::Unreadable {
        path: path.to_owned(),
        cause,
    }
}
