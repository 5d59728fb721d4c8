//! Where the bytes are: an open regular file, or memory. Reads name their position, so any thread may read.

use std::borrow::Cow;
use std::fs::{File, FileType};
use std::io;
use std::path::Path;

use super::error::Problem;
use crate::regular;

pub(super) struct Source {
    store: Store,
    bytes: u64,
}

enum Store {
    File(SharedFile),
    Memory(Cow<'static, [u8]>),
}

impl Source {
    /// Opens a regular file. The path is looked at before it is opened, since opening a pipe would wait for a writer, and
    /// the open file again, since the path may have changed hands in between.
    pub(super) fn open(path: &Path) -> Result<Source, Problem> {
        require_regular(std::fs::metadata(path).map_err(Problem::Open)?.file_type())?;
        let file = File::open(path).map_err(Problem::Open)?;
        let opened = file.metadata().map_err(Problem::Open)?;
        require_regular(opened.file_type())?;
        Ok(Source {
            bytes: opened.len(),
            store: Store::File(SharedFile::new(file)),
        })
    }

    pub(super) fn memory(bytes: Cow<'static, [u8]>) -> Source {
        Source {
            bytes: bytes.len() as u64,
            store: Store::Memory(bytes),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Fills `into` from `position` on, or fails: never a part of it.
    pub(super) fn read_exact_at(&self, into: &mut [u8], position: u64) -> Result<(), Problem> {
        let read = match &self.store {
            Store::File(file) => file.read_exact_at(into, position),
            Store::Memory(bytes) => copy_exact(bytes, into, position),
        };
        read.map_err(|source| Problem::Read { position, source })
    }
}

fn copy_exact(bytes: &[u8], into: &mut [u8], position: u64) -> io::Result<()> {
    let found = usize::try_from(position)
        .ok()
        .and_then(|start| bytes.get(start..start.checked_add(into.len())?))
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    into.copy_from_slice(found);
    Ok(())
}

fn require_regular(kind: FileType) -> Result<(), Problem> {
    match regular::other_kind(kind) {
        None => Ok(()),
        Some(kind) => Err(Problem::NotAFile { kind }),
    }
}

#[cfg(unix)]
struct SharedFile(File);

#[cfg(unix)]
impl SharedFile {
    fn new(file: File) -> SharedFile {
        SharedFile(file)
    }

    fn read_exact_at(&self, into: &mut [u8], position: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.0, into, position)
    }
}

/// Elsewhere the file has one position, which readers take in turns.
#[cfg(not(unix))]
struct SharedFile(std::sync::Mutex<File>);

#[cfg(not(unix))]
impl SharedFile {
    fn new(file: File) -> SharedFile {
        SharedFile(std::sync::Mutex::new(file))
    }

    fn read_exact_at(&self, into: &mut [u8], position: u64) -> io::Result<()> {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = self.0.lock().map_err(|_| io::Error::other("another reader panicked"))?;
        file.seek(SeekFrom::Start(position))?;
        file.read_exact(into)
    }
}
