//! Making room: models are loaded one after the other, and those that are idle leave, by their time or for another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep_until;

use super::entry::{Entry, Face, Stage};
use super::{Inner, LoadError, Roster, Served, Wanted};

/// Time for the last reader of a model, such as a scrape, to let it go.
const RELEASE_TIME_MAX: Duration = Duration::from_secs(2);

impl Roster {
    /// Unloads what has been idle for its time, until the program ends.
    pub(crate) async fn tend(self) {
        let inner = self.inner;
        let mut changes = inner.changes.subscribe();
        loop {
            changes.mark_unchanged();
            let next = inner
                .state()
                .iter()
                .filter_map(|entry| Some((entry.expires()?, entry.id)))
                .min();
            let due = async {
                match next {
                    Some((at, id)) => {
                        sleep_until(at.into()).await;
                        id
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                // The roster holds the sender.
                _ = changes.changed() => {}
                id = due => {
                    let is_due = |entry: &Entry| entry.id == id && entry.expires().is_some_and(|at| at <= Instant::now());
                    if let Some(leaving) = inner.begin_leaving(is_due) {
                        Arc::clone(&inner).finish_leaving(leaving).await;
                    }
                }
            }
        }
    }
}

impl Inner {
    /// Loads the model of entry `id`, after unloading others if there is no room, and tells those who wait.
    pub(super) async fn load(self: Arc<Inner>, id: u64, wanted: Wanted) {
        let _turn = self.turn.lock().await;
        let outcome = self.load_in_turn(id, &wanted).await;
        let told = {
            let mut state = self.state();
            let Some(index) = state.iter().position(|entry| entry.id == id) else {
                return;
            };
            match outcome {
                Ok(served) => {
                    let face = Face {
                        name: wanted.face.clone(),
                        served: Arc::new(served),
                    };
                    let ready = Stage::Ready(vec![face]);
                    state
                        .get_mut(index)
                        .map(|entry| (std::mem::replace(&mut entry.stage, ready), Ok(())))
                }
                Err(error) => Some((state.remove(index).stage, Err(error))),
            }
        };
        if let Some((Stage::Loading(tell), outcome)) = told {
            if outcome.is_ok() {
                self.watch_engines(id);
            }
            tell.send_replace(Some(outcome));
        }
        self.changed();
    }

    async fn load_in_turn(self: &Arc<Inner>, id: u64, wanted: &Wanted) -> Result<Served, LoadError> {
        let started = Instant::now();
        loop {
            if !self.is_awaited(id) {
                return Err(LoadError::Broken("nobody waits for the model any more".to_owned()));
            }
            if self.loaded_count() >= self.bounds.loaded_max && self.make_room().await {
                continue;
            }
            let (inner, choice) = (Arc::clone(self), wanted.choice.clone());
            let loading = tokio::task::spawn_blocking(move || {
                let beside: Vec<_> = inner
                    .state()
                    .iter()
                    .filter_map(|entry| entry.served().cloned())
                    .collect();
                inner.loader.load(&choice, &beside)
            });
            let loaded = loading.await.unwrap_or_else(|error| {
                tracing::error!(%error, "loading a model panicked");
                Err(LoadError::Broken(
                    "loading the model failed: the server's log says more".to_owned(),
                ))
            });
            match loaded {
                Err(LoadError::NoRoom(why)) => {
                    if !self.make_room().await {
                        return Err(LoadError::NoRoom(why));
                    }
                }
                Ok(served) => {
                    let seconds = started.elapsed().as_secs_f64();
                    tracing::info!(model = %served.card.id, seconds, "loaded a model");
                    return Ok(served);
                }
                broken @ Err(LoadError::Broken(_)) => return broken,
            }
        }
    }

    fn is_awaited(&self, id: u64) -> bool {
        self.state().iter().any(|entry| entry.id == id && entry.users > 0)
    }

    fn loaded_count(&self) -> usize {
        let is_there = |entry: &&Entry| !matches!(entry.stage, Stage::Loading(_));
        self.state().iter().filter(is_there).count()
    }

    /// Unloads one model: an idle one if there is one, the one that was used longest ago; the configured one last. If all
    /// are busy, the next one takes no new requests until it has left, or the asking model would wait for ever. Returns
    /// false if nothing is loaded.
    async fn make_room(self: &Arc<Inner>) -> bool {
        let victim = {
            let state = self.state();
            let ready = state.iter().filter(|entry| matches!(entry.stage, Stage::Ready(_)));
            let order = |entry: &&Entry| {
                let is_configured = entry.key == self.names.configured().key;
                (entry.users > 0, is_configured, entry.idle_since)
            };
            ready.min_by_key(order).map(|entry| entry.id)
        };
        match victim {
            Some(id) => {
                if let Some(leaving) = self.begin_leaving(|entry| entry.id == id) {
                    Arc::clone(self).finish_leaving(leaving).await;
                }
                true
            }
            // The last one is on its way out already.
            None => self.wait_until_none_leaves().await,
        }
    }

    async fn wait_until_none_leaves(&self) -> bool {
        let mut changes = self.changes.subscribe();
        let mut has_waited = false;
        while self
            .state()
            .iter()
            .any(|entry| matches!(entry.stage, Stage::Leaving(_)))
        {
            has_waited = true;
            drop(changes.changed().await);
        }
        has_waited
    }

    /// Lets a model take no new requests. Returns its id.
    fn begin_leaving(&self, which: impl Fn(&Entry) -> bool) -> Option<u64> {
        let mut state = self.state();
        let entry = state
            .iter_mut()
            .find(|entry| matches!(entry.stage, Stage::Ready(_)) && which(entry))?;
        let stage = std::mem::replace(&mut entry.stage, Stage::Leaving(Vec::new()));
        if let Stage::Ready(faces) = stage {
            entry.stage = Stage::Leaving(faces);
        }
        Some(entry.id)
    }

    /// Waits for the last request, then for the engines, then for the memory.
    async fn finish_leaving(self: Arc<Inner>, id: u64) {
        let mut changes: watch::Receiver<u64> = self.changes.subscribe();
        let faces = loop {
            changes.mark_unchanged();
            let leaving = {
                let mut state = self.state();
                let entry = state.iter_mut().find(|entry| entry.id == id);
                match entry.map(|entry| (entry.users, &mut entry.stage)) {
                    Some((0, Stage::Leaving(faces))) => Some(std::mem::take(faces)),
                    Some((_, Stage::Leaving(_))) => None,
                    _ => return,
                }
            };
            match leaving {
                Some(faces) => break faces,
                None => drop(changes.changed().await),
            }
        };
        let name = faces
            .first()
            .map(|face| face.served.card.id.clone())
            .unwrap_or_default();
        let unloading = tokio::task::spawn_blocking(move || unload(faces));
        if let Err(error) = unloading.await {
            tracing::error!(%error, "unloading a model panicked");
        }
        tracing::info!(model = name, "unloaded a model");
        self.state().retain(|entry| entry.id != id);
        self.changed();
    }
}

/// Ends the engines and waits until their memory is free. Blocks.
fn unload(faces: Vec<Face>) {
    let served: Vec<Arc<Served>> = faces.into_iter().map(|face| face.served).collect();
    for model in &served {
        model.engines.stop();
        model.engines.join();
    }
    // A scrape may still look at it: without its memory the next model would be planned too small.
    let deadline = Instant::now() + RELEASE_TIME_MAX;
    while served.iter().any(|model| Arc::strong_count(model) > 1) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
}
