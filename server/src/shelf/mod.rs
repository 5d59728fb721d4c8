//! The model files that this server knows of: where they lie, what is told of each without loading it, and which of
//! them clients may change.

mod described;
mod entry;
mod facts;
mod pulls;
mod text;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use library::hub::HubCache;
use library::pull;
use library::store::{OwnStore, Store};
use tokio::sync::Semaphore;

pub(crate) use described::{Described, ShelfError};
pub(crate) use entry::{Entry, Offered, tagged};
use facts::KnownFacts;
pub(crate) use pulls::{Ended, PullName, Pulls, Told};
pub(crate) use text::{modelfile, parameters};

use crate::config::ModelChoice;

/// Files uploaded at once.
const UPLOADS_MAX: usize = 4;
/// Warnings that are remembered, so that each is given once.
const WARNINGS_MAX: usize = 1000;

/// Where model files are.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The only store that anything is written to.
    pub(crate) own: OwnStore,
    /// All stores that models are looked for in, our own first.
    pub(crate) stores: Vec<Store>,
    /// Where the Hugging Face hub's tools keep theirs.
    pub(crate) hub: Option<HubCache>,
    /// The model that is served from the start.
    pub(crate) configured: ModelChoice,
}

/// What clients may do with model files.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// Whether they may pull, copy, create and delete models, and upload files for them.
    pub(crate) is_changeable: bool,
    /// Whether the operator has said whose web pages may call, so that these may do so too.
    pub(crate) are_pages_known: bool,
    /// Bytes of one uploaded file at most.
    pub(crate) blob_bytes_max: u64,
    /// Where models may be pulled from, and as whom.
    pub(crate) pull: pull::Settings,
}

/// The files, and what was found out about them. Its methods block on the disk.
pub(crate) struct Shelf {
    /// Where they are.
    pub(crate) places: Places,
    /// What clients may do with them.
    pub(crate) rules: Rules,
    /// Downloads under way.
    pub(crate) pulls: Arc<Pulls>,
    /// A place for each file that may be uploaded at once.
    pub(crate) uploads: Semaphore,
    known: KnownFacts,
    warned: Mutex<BTreeSet<String>>,
}

impl Shelf {
    /// Looks at nothing yet.
    pub(crate) fn new(places: Places, rules: Rules) -> Shelf {
        Shelf {
            places,
            rules,
            pulls: Arc::default(),
            uploads: Semaphore::new(UPLOADS_MAX),
            known: KnownFacts::default(),
            warned: Mutex::default(),
        }
    }

    /// Warns of what is wrong with a file, once: lists are asked for again and again.
    fn warn_once(&self, problem: &dyn std::fmt::Display) {
        let problem = problem.to_string();
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.len() < WARNINGS_MAX && warned.insert(problem.clone()) {
            tracing::warn!(%problem, "a model is left out of lists, or listed with less than there is to tell");
        }
    }
}
