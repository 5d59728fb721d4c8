//! Our own store: what is put into it is whole or not there, and Ollama's stores stay as they are.

use std::io::{self, Read};

use super::*;
use crate::store::OwnStore;

/// Our own store in a temporary folder, which is gone when the test is over.
pub(super) fn own() -> (TempDir, OwnStore) {
    let folder = tempfile::tempdir().unwrap();
    let own = OwnStore::at(folder.path().join("deep/models"));
    (folder, own)
}

/// Every file below `folder` with its content.
pub(super) fn files(folder: &std::path::Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.ends_with(".lock") {
            found.push((path.clone(), fs::read(path).unwrap()));
        }
    }
    found.sort();
    found
}

/// A sender that breaks off.
struct Broken<'a>(&'a [u8]);

impl Read for Broken<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.0.read(into)? {
            0 => Err(io::ErrorKind::ConnectionReset.into()),
            read => Ok(read),
        }
    }
}

#[test]
fn a_blob_is_there_when_its_content_has_its_digest() {
    let (_folder, own) = own();
    let digest = Digest::of(b"content");
    assert_eq!(own.has_blob(&digest).unwrap(), None);
    let path = own.put_blob(&digest, &mut &b"content"[..], 100).unwrap();
    assert_eq!(fs::read(path).unwrap(), b"content");
    assert_eq!(own.has_blob(&digest).unwrap(), Some(7));
    assert_eq!(files(own.root()).len(), 1);
}

#[test]
fn what_is_refused_leaves_nothing() {
    let (_folder, own) = own();
    let digest = Digest::of(b"content");
    let refuse = |from: &mut dyn Read, word: &str| {
        let said = own.put_blob(&digest, &mut { from }, 7).err().unwrap().to_string();
        assert!(said.contains(word), "{said}");
        assert!(files(own.root()).is_empty());
    };
    refuse(&mut &b"another"[..], "was announced");
    refuse(&mut &b"content and more"[..], "more than 7 bytes");
    refuse(&mut io::repeat(0), "more than 7 bytes");
    refuse(&mut &b""[..], "was announced");
    refuse(&mut Broken(b"cont"), "breaks off");
}

#[test]
fn a_broken_download_goes_on_where_it_stopped() {
    let (_folder, own) = own();
    let digest = Digest::of(b"content");
    let mut partial = own.partial(&digest, 7).unwrap();
    partial.append(b"con").unwrap();
    assert!(matches!(own.partial(&digest, 7), Err(StoreError::Busy { .. })));
    drop(partial);
    let mut partial = own.partial(&digest, 7).unwrap();
    assert_eq!(partial.bytes(), 3);
    let too_much = partial.append(b"tentment").unwrap_err();
    assert!(matches!(too_much, StoreError::TooMuch { bytes_max: 7 }), "{too_much}");
    partial.append(b"ten").unwrap();
    let said = own.finish(partial, 7).unwrap_err();
    assert!(
        matches!(said, StoreError::Incomplete { found: 6, expected: 7 }),
        "{said}"
    );
    let mut partial = own.partial(&digest, 7).unwrap();
    partial.append(b"t").unwrap();
    let path = own.finish(partial, 7).unwrap();
    assert_eq!(fs::read(path).unwrap(), b"content");
    assert_eq!(files(own.root()).len(), 1);
}

#[test]
fn a_beginning_that_is_of_no_use_is_not_gone_on_from() {
    let (_folder, own) = own();
    let digest = Digest::of(b"content");
    let mut partial = own.partial(&digest, 100).unwrap();
    partial.append(b"something else").unwrap();
    drop(partial);
    assert_eq!(own.partial(&digest, 7).unwrap().bytes(), 0);
    let mut partial = own.partial(&digest, 7).unwrap();
    partial.append(b"contenT").unwrap();
    let said = own.finish(partial, 7).unwrap_err();
    assert!(matches!(said, StoreError::OtherContent { .. }), "{said}");
    assert!(files(own.root()).is_empty());
}
