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

/// The manifest of a model of one layer.
fn manifest(content: &[u8], bytes: usize) -> String {
    let layer = |media_type: &str, digest: Digest, size| {
        format!("{{\"mediaType\":\"{media_type}\",\"digest\":\"{digest}\",\"size\":{size}}}")
    };
    format!(
        "{{\"schemaVersion\":2,\"config\":{},\"layers\":[{}]}}",
        layer("application/vnd.docker.container.image.v1+json", Digest::of(b"{}"), 2),
        layer("application/vnd.ollama.image.model", Digest::of(content), bytes)
    )
}

fn put(own: &OwnStore, name: &str, content: &[u8]) {
    for blob in [&b"{}"[..], content] {
        own.put_blob(&Digest::of(blob), &mut &*blob, 1 << 20).unwrap();
    }
    own.put_manifest(&[], &named(name), manifest(content, content.len()).as_bytes())
        .unwrap();
}

#[test]
fn a_manifest_is_put_when_all_its_blobs_are_there() {
    let (_folder, own) = own();
    let refuse = |text: &str, word: &str| {
        let said = own
            .put_manifest(&[], &named("a"), text.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(said.contains(word), "{said}");
        assert!(!own.store().has(&named("a")));
    };
    refuse(&manifest(b"content", 7), "lacks its model file");
    refuse("{}", "is not a manifest");
    refuse(
        &format!("{}{}", manifest(b"content", 7), " ".repeat(1 << 20)),
        "larger than 1048576 bytes",
    );
    own.put_blob(&Digest::of(b"content"), &mut &b"content"[..], 7).unwrap();
    refuse(&manifest(b"content", 7), "lacks its config");
    own.put_blob(&Digest::of(b"{}"), &mut &b"{}"[..], 7).unwrap();
    refuse(&manifest(b"content", 8), "has 7 bytes, its manifest says 8");
    let id = own
        .put_manifest(&[], &named("a"), manifest(b"content", 7).as_bytes())
        .unwrap();
    let found = find(&[own.store().clone()], &named("a")).unwrap();
    assert_eq!(found.id, id);
    assert_eq!(fs::read(found.path).unwrap(), b"content");
}

#[test]
fn the_last_name_of_a_model_takes_its_blobs_along() {
    let (_folder, own) = own();
    let stores = [own.store().clone()];
    put(&own, "first", b"one");
    put(&own, "other", b"two");
    own.copy(&stores, &named("first"), &named("me/second:x")).unwrap();
    own.delete(&stores, &named("FIRST")).unwrap();
    let second = find(&stores, &named("me/second:x")).unwrap();
    assert_eq!(fs::read(&second.path).unwrap(), b"one");
    own.delete(&stores, &named("me/second:x")).unwrap();
    assert!(!second.path.exists());
    assert_eq!(fs::read(find(&stores, &named("other")).unwrap().path).unwrap(), b"two");
    let said = own.delete(&stores, &named("first")).unwrap_err();
    assert!(matches!(said, StoreError::NoSuchModel { .. }), "{said}");
    own.delete(&stores, &named("other")).unwrap();
    assert!(files(own.root()).is_empty());
    assert_eq!(fs::read_dir(own.root().join("manifests")).unwrap().count(), 0);
}

#[test]
fn nothing_is_deleted_that_somebody_may_need() {
    let (_folder, own) = own();
    let stores = [own.store().clone()];
    put(&own, "a", b"content");
    own.put_blob(&Digest::of(b"uploaded"), &mut &b"uploaded"[..], 10)
        .unwrap();
    // What a manifest that cannot be read names is unknown.
    let broken = own.root().join("manifests/registry.ollama.ai/library/b/latest");
    fs::create_dir_all(broken.parent().unwrap()).unwrap();
    fs::write(&broken, "{").unwrap();
    own.delete(&stores, &named("a")).unwrap();
    assert_eq!(own.has_blob(&Digest::of(b"content")).unwrap(), Some(7));
    own.delete(&stores, &named("b")).unwrap();
    assert_eq!(own.has_blob(&Digest::of(b"uploaded")).unwrap(), Some(8));
}

#[test]
fn a_copy_of_ollamas_model_leaves_its_store_as_it_is() {
    let theirs = Built::with("a");
    let before = files(theirs.folder.path());
    let (_folder, own) = own();
    let stores = [own.store().clone(), theirs.store.clone()];
    let id = own.copy(&stores, &named("a"), &named("b")).unwrap();
    assert_eq!(files(own.root()).len(), 1, "only the manifest is written");
    let found = find(&stores, &named("b")).unwrap();
    assert_eq!(found.id, id);
    assert_eq!(id, find(&stores, &named("a")).unwrap().id);
    assert_eq!(found.path, theirs.blob(&small_model().bytes()));
    let error = own.delete(&stores, &named("a")).unwrap_err();
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
    let shown = error.without_paths();
    assert!(shown.contains("ollama rm") && !shown.contains('/'), "{shown}");
    own.delete(&stores, &named("b")).unwrap();
    assert_eq!(files(theirs.folder.path()), before);
    assert!(find(&stores, &named("b")).is_err());
}

#[test]
fn a_name_in_other_letters_is_replaced() {
    let (_folder, own) = own();
    put(&own, "Model", b"one");
    put(&own, "mODEL", b"two");
    let listing = crate::store::list(&[own.store().clone()]);
    assert_eq!(listing.models.len(), 1);
    assert_eq!(listing.models[0].name.to_string(), "Model:latest");
}

#[test]
fn a_model_that_is_replaced_takes_along_what_no_other_needs() {
    let (_folder, own) = own();
    let stores = [own.store().clone()];
    put(&own, "a", b"one");
    own.copy(&stores, &named("a"), &named("b")).unwrap();
    put(&own, "a", b"two");
    assert_eq!(
        own.has_blob(&Digest::of(b"one")).unwrap(),
        Some(3),
        "the other name needs it"
    );
    put(&own, "b", b"two");
    assert_eq!(own.has_blob(&Digest::of(b"one")).unwrap(), None);
    put(&own, "b", b"two");
    assert_eq!(fs::read(find(&stores, &named("b")).unwrap().path).unwrap(), b"two");
}

#[test]
#[cfg(unix)]
fn nothing_is_deleted_while_a_folder_cannot_be_read() {
    let (_folder, own) = own();
    put(&own, "a", b"content");
    let model = own.root().join("manifests/registry.ollama.ai/library/b");
    std::os::unix::fs::symlink(&model, &model).unwrap();
    own.delete(&[own.store().clone()], &named("a")).unwrap();
    assert_eq!(own.has_blob(&Digest::of(b"content")).unwrap(), Some(7));
}

#[test]
fn a_small_blob_that_was_changed_counts_as_none_and_can_be_put_again() {
    let (_folder, own) = own();
    let digest = Digest::of(b"content");
    let path = own.put_blob(&digest, &mut &b"content"[..], 7).unwrap();
    fs::write(&path, b"Content").unwrap();
    assert_eq!(own.has_blob(&digest).unwrap(), None);
    own.put_blob(&digest, &mut &b"content"[..], 7).unwrap();
    assert_eq!(own.has_blob(&digest).unwrap(), Some(7));
}

#[test]
#[cfg(unix)]
fn what_is_no_regular_file_is_not_written_to() {
    let (_folder, own) = own();
    let digest = Digest::of(b"content");
    let blobs = own.root().join("blobs");
    fs::create_dir_all(&blobs).unwrap();
    let outside = own.root().join("outside");
    fs::write(&outside, "kept").unwrap();
    let partial = blobs.join(format!("sha256-{}-partial", digest.hex()));
    std::os::unix::fs::symlink(&outside, &partial).unwrap();
    let said = own.put_blob(&digest, &mut &b"content"[..], 7).unwrap_err();
    assert!(matches!(said, StoreError::NotAFile { .. }), "{said}");
    assert_eq!(fs::read(outside).unwrap(), b"kept");
    fs::remove_file(&partial).unwrap();
    fs::create_dir(&partial).unwrap();
    assert!(own.put_blob(&digest, &mut &b"content"[..], 7).is_err());
}

/// A stream of small numbers out of a seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

#[test]
fn whatever_several_do_at_once_every_name_has_a_whole_model() {
    let (_folder, own) = own();
    let stores = [own.store().clone()];
    let work = &|seed: u64| {
        let mut numbers = Numbers(seed);
        for _ in 0..60 {
            let name = named(&format!("m{}", numbers.below(4)));
            let other = named(&format!("m{}", numbers.below(4)));
            let content = [b'0' + u8::try_from(numbers.below(3)).unwrap()];
            let done = match numbers.below(3) {
                0 => [&b"{}"[..], &content]
                    .iter()
                    .try_for_each(|blob| own.put_blob(&Digest::of(blob), &mut &**blob, 2).map(drop))
                    .and_then(|()| {
                        own.put_manifest(&stores, &name, manifest(&content, 1).as_bytes())
                            .map(drop)
                    }),
                1 => own.copy(&stores, &name, &other).map(drop),
                _ => own.delete(&stores, &name),
            };
            // Another may have what this one needs, or have taken it away; nothing else goes wrong.
            match done {
                Ok(())
                | Err(StoreError::Busy { .. } | StoreError::NoSuchModel { .. } | StoreError::MissingBlob { .. }) => {}
                Err(error) => panic!("seed {seed}: {error}"),
            }
        }
    };
    std::thread::scope(|scope| {
        for seed in 1..=4 {
            scope.spawn(move || work(seed));
        }
    });
    let listing = crate::store::list(&stores);
    assert!(listing.refused.is_empty(), "{:?}", listing.refused);
    for model in listing.models {
        find(&stores, &model.name).unwrap();
    }
}
