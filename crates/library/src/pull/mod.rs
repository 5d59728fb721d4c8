//! Models fetched from where they are published: from a registry as Ollama's is into our own store, from the Hugging Face
//! hub into its usual cache. The only code that opens a connection to elsewhere, and only when it is asked to.
//!
//! What is checked, since a name may come from anybody and an answer from anywhere:
//! * The host is on the operator's list, in its one plain spelling. It is spoken to over https, unless the operator wrote
//!   `http://`, and leads to no address of this machine or its network, unless the operator wrote its port. The address
//!   that was judged is the one that is connected to; behind a proxy, which looks names up itself, the names are judged.
//! * Redirections: five at most, over https, judged the same, and never followed with credentials to another host. A token
//!   is asked for at the registry itself or at the one host known to serve it, and no error shows one.
//! * Every answer has its bound: heads, manifests, lists, small layers, and files by the size that was announced. A server
//!   that stalls is given up, one that breaks off is asked again a few times, from where it stopped.
//! * A digest, a commit and a file's name are fit for a path before they become part of one. No file gets its name before
//!   its sha256 and its length are right, and no manifest is written before all of its files are there.
//!
//! Everything here blocks; a caller that must not gives it a thread. What was fetched of a file stays when a pull fails
//! or is stopped, and the next one goes on from there.

mod address;
mod client;
mod error;
mod hub;
mod manifest;
mod origin;
mod progress;
mod registry;
mod settings;
mod token;
mod transfer;
mod url;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use client::Stopper;
pub use error::PullError;
pub use progress::{Progress, Report};
pub use settings::{Patience, Proxy, Secret, Settings};

use crate::hub::{HubCache, HubName};
use crate::store::{Digest, ModelName, OwnStore};

/// Pulls models, one after another.
pub struct Puller {
    client: client::Client,
}

impl Puller {
    /// One that keeps to `settings`.
    ///
    /// # Errors
    /// A host, or the hub's address, is none.
    pub fn new(settings: &Settings) -> Result<Puller, PullError> {
        let access = settings::Access::new(settings)?;
        Ok(Puller {
            client: client::Client::new(access),
        })
    }

    /// What ends a pull from another thread.
    pub fn stopper(&self) -> Stopper {
        self.client.stopper()
    }

    /// Pulls `name` from the registry that it names into `store`; returns the model's id.
    ///
    /// # Errors
    /// See [`PullError`]. The store has then all of the old model or all of the new one under this name.
    pub fn from_registry(&self, name: &ModelName, store: &OwnStore, report: Report<'_>) -> Result<Digest, PullError> {
        registry::pull(&self.client, name, store, report)
    }

    /// Pulls `name` from the hub into `cache`, which the hub's own tools use as well; returns where its GGUF file is,
    /// or the parts of it in order.
    ///
    /// # Errors
    /// See [`PullError`].
    pub fn from_hub(&self, name: &HubName, cache: &HubCache, report: Report<'_>) -> Result<Vec<PathBuf>, PullError> {
        hub::pull(&self.client, name, cache, report)
    }
}
