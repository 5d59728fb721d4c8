//! The models that are loaded, by the names that requests give them: loaded when first asked for, kept for a while after
//! the last request, unloaded to make room for another, never while a request holds them.

mod entry;
mod keep_alive;
mod lease;
mod names;
mod room;
mod served;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use tokio::sync::watch;

use crate::config::ModelChoice;
use entry::{Entry, Stage};
pub(crate) use keep_alive::KeepAlive;
pub(crate) use lease::Lease;
pub(crate) use names::{Alias, Meaning, Names, Wanted};
pub(crate) use served::{Opening, Parts, Served};

/// The models and their names. Clones are the same roster.
#[derive(Clone)]
pub(crate) struct Roster {
    inner: Arc<Inner>,
}

struct Inner {
    names: Names,
    loader: Box<dyn Loader>,
    bounds: Bounds,
    state: Mutex<Vec<Entry>>,
    /// Counts the changes of `state`; whoever waits for one looks again.
    changes: watch::Sender<u64>,
    /// One model is loaded at a time: two would plan with the same memory.
    turn: tokio::sync::Mutex<()>,
    /// Why the configured model's engines have failed for good, once they have.
    lost: watch::Sender<Option<String>>,
}

/// How models come into being; the roster knows no files.
pub(crate) trait Loader: Send + Sync + 'static {
    /// The model that a store has under this name, if one has. Blocks for a moment.
    ///
    /// # Errors
    /// A store has it, and its files are not as they should be.
    fn find(&self, name: &str) -> Result<Option<Wanted>, LoadError>;

    /// Whether the model's files are as they should be, and whether it would fit if all of `beside` had left: what fails
    /// here makes nobody leave. Blocks for a moment.
    ///
    /// # Errors
    /// `Broken`: it cannot be loaded at all.
    fn check(&self, choice: &ModelChoice, beside: &[Arc<Served>]) -> Result<(), LoadError>;

    /// Loads a model, which may take minutes, so that it fits `beside` what is loaded already. Blocks.
    ///
    /// # Errors
    /// There is no room beside what is loaded, or it cannot be loaded at all.
    fn load(&self, choice: &ModelChoice, beside: &[Arc<Served>]) -> Result<Served, LoadError>;

    /// The loaded model `served` under another name, with that name's sampling values and texts. Blocks for a moment.
    ///
    /// # Errors
    /// What is stored under the name is not as it should be.
    fn dress(&self, served: &Served, choice: &ModelChoice) -> Result<Served, LoadError>;
}

/// Why a model was not loaded. The texts are for clients: they name no file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LoadError {
    /// It may fit when another has left.
    #[error("{0}")]
    NoRoom(String),
    /// It will not load, room or not.
    #[error("{0}")]
    Broken(String),
}

/// What the roster may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Models loaded at once, at least 1.
    pub(crate) loaded_max: usize,
    /// Requests that may wait for one model to load.
    pub(crate) waiting_max: usize,
    /// How long a model stays that was loaded because it was asked for.
    pub(crate) keep_alive: KeepAlive,
}

/// Why there is no model for a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum NoModel {
    /// Nothing is called so.
    Unknown {
        /// The names there are, the first ones.
        names: Vec<String>,
    },
    /// So many wait for it that no more may.
    Busy { waiting: usize },
    /// It could not be loaded.
    Failed(LoadError),
}

/// A loaded model as it is listed.
pub(crate) struct Resident {
    pub(crate) served: Arc<Served>,
    /// When it leaves if nobody asks for it; never, if there is no such time.
    pub(crate) until: Option<SystemTime>,
}

impl Roster {
    /// With the configured model loaded already.
    pub(crate) fn new(names: Names, first: Served, loader: impl Loader, bounds: Bounds) -> Roster {
        let key = names.configured().key.clone();
        let (entry, _) = Entry::ready(key, &names.configured().face, first);
        let roster = Roster {
            inner: Arc::new(Inner {
                names,
                loader: Box::new(loader),
                bounds,
                state: Mutex::new(vec![entry]),
                changes: watch::Sender::new(0),
                turn: tokio::sync::Mutex::new(()),
                lost: watch::Sender::new(None),
            }),
        };
        roster.inner.watch_engines(entry::FIRST_ID);
        roster
    }

    /// All that are loaded, the configured one first if it is.
    pub(crate) fn loaded(&self) -> Vec<Arc<Served>> {
        let state = self.inner.state();
        state.iter().filter_map(|entry| entry.served().cloned()).collect()
    }

    /// The same with how long they stay, the longest first.
    pub(crate) fn residents(&self) -> Vec<Resident> {
        let state = self.inner.state();
        let resident = |entry: &Entry| {
            // Its time has come, and it is about to be let go.
            let is_over = entry.expires().is_some_and(|at| at <= Instant::now());
            let served = entry.served().filter(|_| !is_over)?;
            Some(Resident {
                served: Arc::clone(served),
                until: entry.until(),
            })
        };
        let mut residents: Vec<Resident> = state.iter().filter_map(resident).collect();
        residents.sort_by_key(|resident| (resident.until.is_some(), std::cmp::Reverse(resident.until)));
        residents
    }

    /// The model under the wanted name, if it is loaded under that: to look at, not to use.
    pub(crate) fn served(&self, wanted: &Wanted) -> Option<Arc<Served>> {
        let state = self.inner.state();
        let entry = state.iter().find(|entry| entry.key == wanted.key)?;
        entry.served()?;
        let face = entry.faces().iter().find(|face| face.name == wanted.face)?;
        Some(Arc::clone(&face.served))
    }

    /// What names mean.
    pub(crate) fn names(&self) -> &Names {
        &self.inner.names
    }

    /// Lets a model go when no request holds it any more. Returns whether it was loaded.
    pub(crate) async fn unload(&self, name: Option<&str>) -> Result<bool, NoModel> {
        let wanted = self.wanted(name).await?;
        let is_there = {
            let mut state = self.inner.state();
            let entry = state.iter_mut().find(|entry| entry.key == wanted.key);
            entry.map(|entry| entry.keep = KeepAlive::NONE).is_some()
        };
        self.inner.changed();
        Ok(is_there)
    }

    /// Forgets one of a model's names, as there is no such name any more. A model without another goes like one that is
    /// let go; with another it stays loaded under that.
    pub(crate) async fn forget_name(&self, name: &str) -> Result<(), NoModel> {
        let wanted = self.wanted(Some(name)).await?;
        {
            let mut state = self.inner.state();
            let entry = state.iter_mut().find(|entry| entry.key == wanted.key);
            let Some(entry) = entry else { return Ok(()) };
            match &mut entry.stage {
                Stage::Ready(faces) if faces.iter().any(|face| face.name != wanted.face) => {
                    faces.retain(|face| face.name != wanted.face);
                }
                _ => entry.keep = KeepAlive::NONE,
            }
        }
        self.inner.changed();
        Ok(())
    }

    /// Resolves with the reason when the configured model's engines have all failed for good.
    pub(crate) async fn lost(&self) -> String {
        let mut lost = self.inner.lost.subscribe();
        match lost.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Ends all engines after their present step, and waits for them. Blocks.
    pub(crate) fn stop(&self) {
        let models = self.loaded();
        models.iter().for_each(|model| model.engines.stop());
        models.iter().for_each(|model| model.engines.join());
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Waits, on a thread of its own, until the engines of entry `id` have ended. If nobody asked them to, they have
    /// failed for good: the model is forgotten, and the next request loads it anew; a program whose configured model is
    /// lost is better started again by whoever watches it.
    fn watch_engines(self: &Arc<Inner>, id: u64) {
        let engines = self
            .state()
            .iter()
            .find(|entry| entry.id == id)
            .and_then(|entry| Some(entry.served()?.engines.clone()));
        let Some(engines) = engines else { return };
        let inner = Arc::downgrade(self);
        let watching = std::thread::Builder::new()
            .name("engine-watch".to_owned())
            .spawn(move || {
                engines.join();
                let Some(inner) = inner.upgrade() else { return };
                let has_failed = engines
                    .status()
                    .iter()
                    .all(|engine| engine.state == engine::EngineState::Failed);
                let gone = has_failed.then(|| inner.forget(id)).flatten();
                let Some(entry) = gone else { return };
                let reasons = engines.failures();
                if entry.key == inner.names.configured().key {
                    let _ = inner.lost.send_replace(Some(reasons));
                } else {
                    tracing::error!(%reasons, "no engine of a model is left: the next request loads it again");
                }
            });
        if let Err(error) = watching {
            tracing::error!(%error, "nobody watches a model's engines: no thread");
        }
    }

    fn forget(&self, id: u64) -> Option<Entry> {
        let gone = {
            let mut state = self.state();
            let index = state
                .iter()
                .position(|entry| entry.id == id && !matches!(entry.stage, Stage::Leaving(_)))?;
            state.remove(index)
        };
        self.changed();
        Some(gone)
    }
}

/// What tells one set of weights from another: its file, or that it is the embedded one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// The model inside the program.
    Tiny,
    /// A file, whose name in a store is its content's digest.
    File(PathBuf),
}
