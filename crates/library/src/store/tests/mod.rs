//! Stores built in a temporary folder around a small GGUF file.

mod broken;
mod create;
mod names;
mod own;
mod reading;

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::{Digest, ModelName, Store, StoreError, StoredModel, find};
use crate::testing::small_model;

/// What the model of January 2025 says of its stop strings, shortened.
const PARAMETERS: &str = "{\"stop\":[\"\\u003c｜User｜\\u003e\"],\"temperature\":0.5}\n";

/// A store in a folder that is gone when the test is over.
struct Built {
    folder: TempDir,
    store: Store,
}

impl Built {
    fn empty() -> Built {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("blobs")).unwrap();
        let store = Store::at(folder.path());
        Built { folder, store }
    }

    /// With one model that has every kind of layer.
    fn with(name: &str) -> Built {
        let built = Built::empty();
        built.add(name, &built.layers());
        built
    }

    /// Media type and content of one of each.
    fn layers(&self) -> Vec<(&'static str, Vec<u8>)> {
        vec![
            ("model", small_model().bytes()),
            ("template", b"{{ .Prompt }}".to_vec()),
            ("license", b"MIT License\n\nCopyright".to_vec()),
            ("params", PARAMETERS.into()),
            ("system", b"You are brief.".to_vec()),
        ]
    }

    fn add(&self, name: &str, layers: &[(&str, Vec<u8>)]) {
        let written: Vec<String> = layers
            .iter()
            .map(|(kind, bytes)| self.layer(&format!("application/vnd.ollama.image.{kind}"), bytes))
            .collect();
        let config = self.layer(
            "application/vnd.docker.container.image.v1+json",
            b"{\"model_format\":\"gguf\"}",
        );
        let manifest = format!(
            "{{\"schemaVersion\":2,\"config\":{config},\"layers\":[{}]}}",
            written.join(",")
        );
        let path = self.manifest(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, manifest).unwrap();
    }

    /// Writes a blob; returns the manifest's words of it.
    fn layer(&self, media_type: &str, bytes: &[u8]) -> String {
        fs::write(self.blob(bytes), bytes).unwrap();
        format!(
            "{{\"mediaType\":\"{media_type}\",\"digest\":\"{}\",\"size\":{}}}",
            Digest::of(bytes),
            bytes.len()
        )
    }

    fn blob(&self, content: &[u8]) -> PathBuf {
        let name = format!("sha256-{}", Digest::of(content).hex());
        self.folder.path().join("blobs").join(name)
    }

    fn manifest(&self, name: &str) -> PathBuf {
        let mut path = self.folder.path().join("manifests");
        path.extend(named(name).parts());
        path
    }

    fn find(&self, name: &str) -> Result<StoredModel, StoreError> {
        find(std::slice::from_ref(&self.store), &named(name))
    }

    /// The refusal of the model called `name` is one line with all `words`.
    fn check_refused(&self, name: &str, words: &[&str]) {
        let said = self.find(name).expect_err("a refusal").to_string();
        assert!(!said.contains('\n'), "{said}");
        for word in words {
            assert!(said.contains(word), "should speak of {word:?}: {said}");
        }
    }
}

fn named(name: &str) -> ModelName {
    name.parse().unwrap_or_else(|error| panic!("{error}"))
}
