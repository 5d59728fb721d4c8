//! Pulling from a server that stands in for a registry or the hub, as it should be and as it should not.

mod hosts;
mod hub;
mod registry;
mod server;
mod transfer;

use std::ops::ControlFlow;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use self::server::{Reply, Request, Server};
use super::{Patience, Progress, PullError, Puller, Settings};
use crate::store::{Digest, ModelName, OwnStore};

/// A puller that is let connect to `servers` and to nobody else, and that waits for nothing.
fn puller(servers: &[&Server]) -> Puller {
    let settings = Settings {
        hosts: Some(servers.iter().map(|server| server.address()).collect()),
        hub: servers.first().map(|server| server.address()),
        hub_token: None,
        proxy: None,
        patience: patience(),
    };
    Puller::new(&settings).unwrap()
}

fn patience() -> Patience {
    Patience {
        stall: Duration::from_secs(20),
        pause: Duration::ZERO,
        attempts: 3,
    }
}

/// A model as a registry has it.
struct Published {
    manifest: Vec<u8>,
    /// The weights first.
    blobs: Vec<Vec<u8>>,
}

impl Published {
    fn new(weights: &[u8]) -> Published {
        let blobs = vec![
            weights.to_vec(),
            b"{{ .Prompt }}".to_vec(),
            b"{\"model_format\":\"gguf\"}".to_vec(),
        ];
        let layer = |kind: &str, blob: &[u8]| {
            json!({
                "mediaType": format!("application/vnd.ollama.image.{kind}"),
                "digest": Digest::of(blob).to_string(),
                "size": blob.len(),
            })
        };
        let manifest = json!({
            "schemaVersion": 2,
            "config": layer("config", &blobs[2]),
            "layers": [layer("model", &blobs[0]), layer("template", &blobs[1])],
        });
        Published {
            manifest: manifest.to_string().into_bytes(),
            blobs,
        }
    }

    fn weights(&self) -> Digest {
        Digest::of(&self.blobs[0])
    }

    /// What a good registry answers.
    fn answer(&self, request: &Request) -> Reply {
        if request.path == "/v2/library/tiny/manifests/latest" {
            return Reply::ok(&self.manifest);
        }
        let digest = request.path.strip_prefix("/v2/library/tiny/blobs/").unwrap_or_default();
        let blob = self.blobs.iter().find(|blob| Digest::of(blob).to_string() == digest);
        blob.map_or(Reply::status(404), |blob| Reply::part(blob, request))
    }

    /// The path under which a registry has the weights.
    fn weights_path(&self) -> String {
        format!("/v2/library/tiny/blobs/{}", self.weights())
    }
}

/// What a pull from `server` into `store` ends with, and what it reported.
fn pull_into(store: &OwnStore, puller: &Puller, server: &Server) -> (Result<Digest, PullError>, Vec<Progress>) {
    let name: ModelName = format!("{}/library/tiny", server.host()).parse().unwrap();
    let mut reports = Vec::new();
    let mut report = |progress| {
        reports.push(progress);
        ControlFlow::Continue(())
    };
    let result = puller.from_registry(&name, store, &mut report);
    (result, reports)
}

/// The error of a pull of a tiny model from a server that answers so, and a store that stays empty.
#[track_caller]
fn refused(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> String {
    let server = Server::start(answer);
    let folder = TempDir::new().unwrap();
    let store = OwnStore::at(folder.path());
    let (result, _) = pull_into(&store, &puller(&[&server]), &server);
    assert!(!folder.path().join("manifests").exists(), "a manifest was written");
    let error = result.unwrap_err().to_string();
    let shown = folder.path().display().to_string();
    assert!(!error.contains(&shown), "a path of this machine: {error}");
    error.replace(&server.host(), "HOST")
}
