//! The hub: its lists, its cache, its token.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::hub::{HubCache, HubName};
use crate::pull::Secret;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const LIST: &str = "/api/models/owner/repo/revision/main?blobs=true";

/// What the hub answers that has `files` in a repository.
fn hub(files: &'static [(&str, &[u8])]) -> impl Fn(&Request) -> Reply + Send + Sync {
    move |request| {
        if request.path == LIST {
            return Reply::ok(list(files).as_bytes());
        }
        let name = request.path.strip_prefix("/owner/repo/resolve/").unwrap_or_default();
        let name = name.strip_prefix(COMMIT).unwrap_or_default().trim_start_matches('/');
        let file = files.iter().find(|(found, _)| *found == name);
        file.map_or(Reply::status(404), |(_, content)| Reply::part(content, request))
    }
}

fn list(files: &[(&str, &[u8])]) -> String {
    let sibling = |(name, content): &(&str, &[u8])| {
        let lfs = json!({ "sha256": Digest::of(content).hex(), "size": content.len(), "pointerSize": 130 });
        json!({ "rfilename": name, "size": content.len(), "lfs": lfs })
    };
    let siblings: Vec<_> = files.iter().map(sibling).collect();
    json!({ "id": "owner/repo", "sha": COMMIT, "siblings": siblings }).to_string()
}

fn pull(puller: &Puller, cache: &Path, name: &str) -> Result<Vec<PathBuf>, PullError> {
    let name: HubName = format!("hf:{name}").parse().unwrap();
    puller.from_hub(&name, &HubCache::at(cache), &mut |_| ControlFlow::Continue(()))
}

#[test]
fn a_file_is_pulled_into_the_layout_that_others_read() {
    let server = Server::start(hub(&[("README.md", b"text"), ("sub/m-Q4_K_M.gguf", b"weights")]));
    let folder = TempDir::new().unwrap();
    let paths = pull(&puller(&[&server]), folder.path(), "owner/repo").unwrap();
    let repo = folder.path().join("models--owner--repo");
    assert_eq!(paths, [repo.join("snapshots").join(COMMIT).join("sub/m-Q4_K_M.gguf")]);
    assert_eq!(fs::read(&paths[0]).unwrap(), b"weights");
    let blob = repo.join("blobs").join(Digest::of(b"weights").hex());
    assert_eq!(fs::canonicalize(&paths[0]).unwrap(), fs::canonicalize(blob).unwrap());
    assert_eq!(fs::read_to_string(repo.join("refs/main")).unwrap(), COMMIT);
    let cache = hf_hub::Cache::new(folder.path().to_owned());
    let seen = cache.model("owner/repo".to_owned()).get("sub/m-Q4_K_M.gguf");
    assert_eq!(seen.as_ref(), paths.first());
    let found = HubCache::at(folder.path()).find(&"hf:owner/repo".parse().unwrap());
    assert_eq!(found.unwrap(), paths[0]);
}

#[test]
fn all_parts_of_a_model_are_pulled_and_none_twice() {
    let files: &[(&str, &[u8])] = &[("m-00001-of-00002.gguf", b"one"), ("m-00002-of-00002.gguf", b"two")];
    let server = Server::start(hub(files));
    let folder = TempDir::new().unwrap();
    let paths = pull(&puller(&[&server]), folder.path(), "owner/repo:m-00001-of-00002.gguf").unwrap();
    let contents: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(contents, [b"one", b"two"]);
    assert_eq!(pull(&puller(&[&server]), folder.path(), "owner/repo").unwrap(), paths);
    assert_eq!(server.asked().len(), 4, "the second pull asks for the list alone");
}

#[test]
fn what_an_earlier_commit_had_is_still_found_when_another_file_is_pulled() {
    let files: &[(&str, &[u8])] = &[("m-Q4_K_M.gguf", b"small"), ("m-Q8_0.gguf", b"large")];
    let server = Server::start(hub(files));
    let folder = TempDir::new().unwrap();
    pull(&puller(&[&server]), folder.path(), "owner/repo:Q4_K_M").unwrap();
    // As after a pull of another commit: only the content is there.
    let repo = folder.path().join("models--owner--repo");
    fs::rename(repo.join("snapshots").join(COMMIT), repo.join("snapshots/0000")).unwrap();
    pull(&puller(&[&server]), folder.path(), "owner/repo:Q8_0").unwrap();
    let found = HubCache::at(folder.path()).find(&"hf:owner/repo:Q4_K_M".parse().unwrap());
    assert_eq!(fs::read(found.unwrap()).unwrap(), b"small");
}

#[test]
fn a_file_is_gone_on_from() {
    let server = Server::start(hub(&[("m.gguf", b"weights")]));
    let folder = TempDir::new().unwrap();
    let blobs = folder.path().join("models--owner--repo/blobs");
    fs::create_dir_all(&blobs).unwrap();
    let partial = blobs.join(format!("{}.incomplete", Digest::of(b"weights").hex()));
    fs::write(&partial, b"wei").unwrap();
    pull(&puller(&[&server]), folder.path(), "owner/repo").unwrap();
    let last = server.asked().pop().unwrap();
    assert_eq!(last.header("range"), Some("bytes=3-"));
    assert!(!partial.exists());
}

#[test]
fn other_content_never_gets_the_files_name() {
    let server = Server::start(|request| match request.path == LIST {
        true => Reply::ok(list(&[("m.gguf", b"weights")]).as_bytes()),
        false => Reply::ok(b"wrights"),
    });
    let folder = TempDir::new().unwrap();
    let error = pull(&puller(&[&server]), folder.path(), "owner/repo").unwrap_err();
    assert!(matches!(error, PullError::OtherContent { .. }), "{error}");
    assert!(!folder.path().join("models--owner--repo/snapshots").exists());
    assert!(!folder.path().join("models--owner--repo/refs").exists());
}

#[test]
fn the_token_goes_to_the_hub_alone_and_into_no_error() {
    let elsewhere = Server::start(|request| Reply::part(b"weights", request));
    let target = format!("{}/signed", elsewhere.address());
    let server = Server::start(move |request| match request.path == LIST {
        true => Reply::ok(list(&[("m.gguf", b"weights")]).as_bytes()),
        false => Reply::redirect(&target),
    });
    let settings = Settings {
        hosts: Some(vec![server.address(), elsewhere.address()]),
        hub: Some(server.address()),
        hub_token: Some(Secret::new("hf_sesame").unwrap()),
        proxy: None,
        patience: patience(),
    };
    assert!(!format!("{settings:?}").contains("sesame"));
    let folder = TempDir::new().unwrap();
    pull(&Puller::new(&settings).unwrap(), folder.path(), "owner/repo").unwrap();
    for request in server.asked() {
        assert_eq!(
            request.header("authorization"),
            Some("Bearer hf_sesame"),
            "{}",
            request.path
        );
    }
    let asked = elsewhere.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("authorization"), None);
    for bad in ["hf sesame", "hf_sesame\r\nX: y", "", "sésame"] {
        let error = Secret::new(bad).unwrap_err().to_string();
        assert!(!error.contains("sesame") && error.contains("HF_TOKEN"), "{error}");
    }
}

#[test]
fn a_repository_that_is_not_shown_is_told_of() {
    for (status, expected) in [
        (
            401,
            "HOST has no repository owner/repo, or does not show it to everybody: check the name, or set HF_TOKEN",
        ),
        (
            404,
            "HOST has no repository owner/repo, or does not show it to everybody: check the name, or set HF_TOKEN",
        ),
        (
            403,
            "HOST does not give owner/repo to everybody: agree to its terms there and set HF_TOKEN",
        ),
        (
            400,
            "HOST answered with status 400: it does not serve this model as expected",
        ),
    ] {
        let server = Server::start(move |_| Reply::status(status));
        let folder = TempDir::new().unwrap();
        let error = pull(&puller(&[&server]), folder.path(), "owner/repo").unwrap_err();
        assert_eq!(error.to_string().replace(&server.host(), "HOST"), expected);
    }
}

#[test]
fn a_list_has_its_bound() {
    let server = Server::start(|_| Reply::ok(&vec![b' '; (8 << 20) + 1]));
    let folder = TempDir::new().unwrap();
    let error = pull(&puller(&[&server]), folder.path(), "owner/repo").unwrap_err();
    assert!(matches!(error, PullError::TooLarge { .. }), "{error}");
}

#[test]
fn the_hub_can_be_a_mirror_with_a_path() {
    let server = Server::start(|request| {
        let mut request = request.clone();
        request.path = request.path.strip_prefix("/hf").unwrap_or("/").to_owned();
        hub(&[("m.gguf", b"weights")])(&request)
    });
    let settings = Settings {
        hub: Some(format!("{}/hf/", server.address())),
        patience: patience(),
        ..Settings::default()
    };
    let folder = TempDir::new().unwrap();
    pull(&Puller::new(&settings).unwrap(), folder.path(), "owner/repo").unwrap();
}
