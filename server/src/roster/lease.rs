//! Holding a model for one request.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use super::entry::{Entry, Face, Stage};
use super::{Inner, KeepAlive, LoadError, NoModel, Roster, Served, Wanted};

/// A model held for one request: it stays loaded until the last clone of this is dropped.
#[derive(Clone)]
pub(crate) struct Lease {
    served: Arc<Served>,
    hold: Arc<Hold>,
    /// Whether the name asked for replies without a thought.
    pub(crate) skips_thought: bool,
}

/// One user of an entry.
struct Hold {
    inner: Arc<Inner>,
    id: u64,
}

impl Lease {
    /// How long the model stays after its last request, from now on, where a request says so.
    pub(crate) fn keep(&self, keep: Option<KeepAlive>) {
        let Some(keep) = keep else { return };
        if let Some(entry) = self
            .hold
            .inner
            .state()
            .iter_mut()
            .find(|entry| entry.id == self.hold.id)
        {
            entry.keep = keep;
        }
        self.hold.inner.changed();
    }
}

impl Deref for Lease {
    type Target = Served;

    fn deref(&self) -> &Served {
        &self.served
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(entry) = self.inner.state().iter_mut().find(|entry| entry.id == self.id) {
            entry.users = entry.users.saturating_sub(1);
            entry.idle_since = Instant::now();
        }
        self.inner.changed();
    }
}

/// What became of a request for a place at a model.
enum Place {
    /// It is there.
    There(Hold),
    /// It is being loaded, and this request is counted among its users already.
    Coming(Hold, tokio::sync::watch::Receiver<Option<Result<(), LoadError>>>),
    /// It is being unloaded: it must be asked for again after that.
    Leaving,
    /// Too many wait.
    Full(usize),
}

impl Roster {
    /// Whether the model is loaded, so that a lease on it is there at once.
    pub(crate) fn is_loaded(&self, wanted: &Wanted) -> bool {
        let state = self.inner.state();
        state
            .iter()
            .any(|entry| entry.key == wanted.key && entry.served().is_some())
    }

    /// Holds a model, after loading it if need be.
    ///
    /// # Errors
    /// It could not be loaded.
    pub(crate) async fn lease(&self, wanted: Wanted) -> Result<Lease, NoModel> {
        let hold = Arc::new(self.hold(&wanted).await?);
        let served = self.face(&wanted, hold.id).await.map_err(NoModel::Failed)?;
        Ok(Lease {
            served,
            hold,
            skips_thought: wanted.skips_thought,
        })
    }

    async fn hold(&self, wanted: &Wanted) -> Result<Hold, NoModel> {
        let inner = &self.inner;
        let mut changes = inner.changes.subscribe();
        loop {
            changes.mark_unchanged();
            match self.place(wanted) {
                Place::There(hold) => return Ok(hold),
                Place::Full(waiting) => return Err(NoModel::Busy { waiting }),
                Place::Coming(hold, mut outcome) => {
                    let told = outcome.wait_for(Option::is_some).await;
                    let told = told.ok().and_then(|told| told.clone());
                    let vanished = || Err(LoadError::Broken("the model was not loaded: try again".to_owned()));
                    return told.unwrap_or_else(vanished).map(|()| hold).map_err(NoModel::Failed);
                }
                // The sender lives as long as `inner`.
                Place::Leaving => drop(changes.changed().await),
            }
        }
    }

    fn place(&self, wanted: &Wanted) -> Place {
        let inner = &self.inner;
        let mut state = inner.state();
        let hold = |entry: &mut Entry| {
            entry.users += 1;
            Hold {
                inner: Arc::clone(inner),
                id: entry.id,
            }
        };
        if let Some(entry) = state.iter_mut().find(|entry| entry.key == wanted.key) {
            return match &entry.stage {
                Stage::Ready(_) => Place::There(hold(entry)),
                Stage::Leaving(_) => Place::Leaving,
                Stage::Loading(_) if entry.users >= inner.bounds.waiting_max => Place::Full(entry.users),
                Stage::Loading(told) => {
                    let outcome = told.subscribe();
                    Place::Coming(hold(entry), outcome)
                }
            };
        }
        let is_configured = wanted.key == inner.names.configured().key;
        let keep = if is_configured {
            KeepAlive::Forever
        } else {
            inner.bounds.keep_alive
        };
        let (mut entry, outcome) = Entry::loading(wanted.key.clone(), keep);
        let hold = hold(&mut entry);
        let loading = Arc::clone(inner).load(entry.id, wanted.clone());
        state.push(entry);
        drop(state);
        tokio::spawn(loading);
        Place::Coming(hold, outcome)
    }

    /// The held entry under the wanted name, which may be another than the one it was loaded by.
    async fn face(&self, wanted: &Wanted, id: u64) -> Result<Arc<Served>, LoadError> {
        let look = || {
            let state = self.inner.state();
            let entry = state.iter().find(|entry| entry.id == id);
            entry.map(|entry| {
                let face = entry.faces().iter().find(|face| face.name == wanted.face);
                let served = |face: &Face| Arc::clone(&face.served);
                (face.map(served), entry.faces().first().map(served))
            })
        };
        let gone = || LoadError::Broken("the model's engines have failed: try again".to_owned());
        let (face, any) = look().ok_or_else(gone)?;
        if let Some(served) = face {
            return Ok(served);
        }
        let any = any.ok_or_else(gone)?;
        let (inner, choice) = (Arc::clone(&self.inner), wanted.choice.clone());
        let dressing = tokio::task::spawn_blocking(move || inner.loader.dress(&any, &choice));
        let dressed = dressing.await.map_err(|error| {
            tracing::error!(%error, "reading what is stored under a model's name panicked");
            gone()
        })??;
        let served = Arc::new(dressed);
        if let Some(entry) = self.inner.state().iter_mut().find(|entry| entry.id == id)
            && let Stage::Ready(faces) = &mut entry.stage
        {
            faces.retain(|face| face.name != wanted.face);
            faces.push(Face {
                name: wanted.face.clone(),
                served: Arc::clone(&served),
            });
        }
        Ok(served)
    }
}
