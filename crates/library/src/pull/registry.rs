//! From a registry as Ollama's is: the manifest, then each blob that is not there yet, then the manifest written.

use super::client::{Ask, Client, Reply};
use super::error::PullError;
use super::manifest::{self, Blob};
use super::origin::Origin;
use super::progress::{FileReport, Progress, Report, tell};
use super::settings::Secret;
use super::token::Challenge;
use super::transfer;
use super::url::Url;
use crate::store::{Digest, MANIFEST_BYTES_MAX, ModelName, OwnStore};

/// The one form of a manifest that is understood.
const MANIFEST_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Pulls `name` into `store`; returns the model's id.
pub(super) fn pull(
    client: &Client,
    name: &ModelName,
    store: &OwnStore,
    report: Report<'_>,
) -> Result<Digest, PullError> {
    tell(report, Progress::Manifest)?;
    let [host, namespace, model, _] = name.parts();
    let mut registry = Registry {
        client,
        origin: client.access.allowed.find(host)?.clone(),
        // The parts of a name are letters, digits and signs that mean nothing in an address.
        repository: format!("/v2/{namespace}/{model}"),
        token: None,
    };
    let written = client.patiently(|| registry.manifest(name))?;
    let blobs = manifest::blobs(host, &written)?;
    for blob in &blobs {
        registry.blob(blob, store, report)?;
    }
    // Each was compared with its digest when its last byte came.
    tell(report, Progress::Verifying)?;
    tell(report, Progress::Writing)?;
    let id = store
        .put_manifest(&[], name, &written)
        .map_err(|error| PullError::of_store(error, 0))?;
    tell(report, Progress::Success)?;
    Ok(id)
}

/// The repository of one model.
struct Registry<'a> {
    client: &'a Client,
    origin: Origin,
    repository: String,
    /// What the registry lets everybody read with, if it wants that.
    token: Option<Secret>,
}

impl Registry<'_> {
    fn manifest(&mut self, name: &ModelName) -> Result<Vec<u8>, PullError> {
        let [_, _, _, tag] = name.parts();
        let url = Url::new(&self.origin, format!("{}/manifests/{tag}", self.repository));
        let reply = self.get(&Ask {
            url: &url,
            accept: MANIFEST_TYPE,
            bearer: None,
            from: 0,
            is_small: true,
        })?;
        match reply.status() {
            200 => reply.read("the manifest", MANIFEST_BYTES_MAX),
            404 => Err(PullError::NoSuchModel),
            _ => Err(reply.unexpected()),
        }
    }

    fn blob(&mut self, blob: &Blob, store: &OwnStore, report: Report<'_>) -> Result<(), PullError> {
        let mut report = FileReport::new(report, &blob.digest, blob.bytes);
        let there = store
            .has_blob(&blob.digest)
            .map_err(|error| PullError::of_store(error, 0))?;
        if there == Some(blob.bytes) {
            return report.at(blob.bytes);
        }
        let url = Url::new(&self.origin, format!("{}/blobs/{}", self.repository, blob.digest));
        let partial = store.partial(&blob.digest, blob.bytes);
        let mut partial = partial.map_err(|error| PullError::of_store(error, blob.bytes))?;
        let client = self.client;
        let mut open = |from| {
            self.get(&Ask {
                url: &url,
                accept: "*/*",
                bearer: None,
                from,
                is_small: false,
            })
        };
        transfer::fetch(client, blob.bytes, &mut open, &mut partial, &mut report)?;
        store
            .finish(partial, blob.bytes)
            .map_err(|error| PullError::of_store(error, 0))?;
        Ok(())
    }

    /// Asks with the token there is, and once more with a new one where the registry wants it.
    fn get(&mut self, ask: &Ask<'_>) -> Result<Reply, PullError> {
        let bearer = self.token.as_ref();
        let reply = self.client.get(&Ask { bearer, ..*ask })?;
        // Another host's challenge, after a redirection, is not the registry's.
        if reply.status() != 401 || reply.origin != self.origin {
            return Ok(reply);
        }
        let Some(challenge) = Challenge::of(&reply) else {
            return Ok(reply);
        };
        self.token = Some(challenge.answer(self.client, &self.origin)?);
        let bearer = self.token.as_ref();
        self.client.get(&Ask { bearer, ..*ask })
    }
}
