//! A model store as Ollama lays it out, around the tiny model.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::server::{Server, command};

/// The tiny model's file.
pub(crate) const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/tiny/tiny.gguf");
/// A template that nobody knows.
pub(crate) const TEMPLATE: &[u8] = b"{{ .Prompt }}";

/// A store with `deepseek-r1:32b` and `small:latest`, both the tiny model.
pub(crate) struct Store {
    pub(crate) folder: TempDir,
}

impl Store {
    pub(crate) fn new() -> Store {
        let store = Store {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(store.folder.path().join("blobs")).unwrap();
        let parameters = json!({"stop": ["<｜User｜>"], "temperature": 0});
        store.add(
            "deepseek-r1/32b",
            &[
                ("model", fs::read(TINY).unwrap()),
                ("template", TEMPLATE.to_vec()),
                (
                    "license",
                    b"MIT License\n\nCopyright (c) 2023 DeepSeek\n\nMore of it".to_vec(),
                ),
                ("params", parameters.to_string().into_bytes()),
            ],
        );
        store.add(
            "small/latest",
            &[
                ("model", fs::read(TINY).unwrap()),
                ("system", b"You are brief.".to_vec()),
            ],
        );
        store
    }

    pub(crate) fn add(&self, path: &str, layers: &[(&str, Vec<u8>)]) {
        let layers: Vec<Value> = layers
            .iter()
            .map(|(kind, bytes)| self.layer(&format!("application/vnd.ollama.image.{kind}"), bytes))
            .collect();
        let config = self.layer("application/vnd.docker.container.image.v1+json", b"{}");
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
        let path = self.manifest(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, manifest.to_string()).unwrap();
    }

    pub(crate) fn layer(&self, media_type: &str, bytes: &[u8]) -> Value {
        fs::write(self.blob(bytes), bytes).unwrap();
        json!({"mediaType": media_type, "digest": format!("sha256:{}", hex(bytes)), "size": bytes.len()})
    }

    pub(crate) fn manifest(&self, path: &str) -> PathBuf {
        let library = self.folder.path().join("manifests/registry.ollama.ai/library");
        library.join(path)
    }

    pub(crate) fn blob(&self, bytes: &[u8]) -> PathBuf {
        self.folder.path().join("blobs").join(format!("sha256-{}", hex(bytes)))
    }

    /// The blob of the tiny model.
    pub(crate) fn model(&self) -> PathBuf {
        self.blob(&fs::read(TINY).unwrap())
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command();
        command
            .args(arguments)
            .env("OLLAMA_MODELS", self.folder.path())
            .env("HOME", self.folder.path());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary starts")
    }

    pub(crate) fn page(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).expect("text")
    }

    pub(crate) fn serve(&self, model: &str) -> Server {
        self.serve_with(model, &[])
    }

    /// The same with more options; on one processor unless they say otherwise.
    pub(crate) fn serve_with(&self, model: &str, options: &[&str]) -> Server {
        let mut command = self.command(&["serve", "--model", model, "--listen", "127.0.0.1:0"]);
        if !options.contains(&"--devices") {
            command.args(["--devices", "cpu"]);
        }
        command.args(options);
        Server::spawn(command)
    }

    /// Serving and showing `model` end with `code` and one line that has all `words`.
    pub(crate) fn check_refused(&self, model: &str, code: i32, words: &[&str]) {
        let serve = ["serve", "--model", model, "--listen", "127.0.0.1:0"];
        for arguments in [&serve[..], &["show", model], &["plan", "--model", model]] {
            let output = self.run(arguments);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let found = output.status.code();
            // What is no name is a wrong option to those that have it as an option.
            assert!(
                found == Some(code) || (found, code) == (Some(4), 2),
                "{arguments:?}: {found:?} {said}"
            );
            assert_eq!(said.trim_end().lines().count(), 1, "{said}");
            for word in words {
                assert!(said.contains(word), "{arguments:?} should speak of {word:?}: {said}");
            }
        }
    }
}

/// SHA-256 in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
