//! Making room: models are loaded one after the other, and those that are idle leave, by their time or for another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep_until;

use super::entry::{Entry, Face, Stage};
use super::{Inner, LoadError, Loader, Roster, Served, Wanted};
use crate::config::ModelChoice;

/// Time for the last reader of a model, such as a scrape, to let it go.
const RELEASE_TIME_MAX: Duration = Duration::from_secs(2);

/// What a loader is to do for a model beside those that are loaded.
type Work<T> = fn(&dyn Loader, &ModelChoice, &[Arc<Served>]) -> Result<T, LoadError>;

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
                        inner.finish_leaving(leaving, None).await;
                    }
                }
            }
        }
    }
}

/// How far a model is that leaves.
enum Parting {
    /// Nobody holds it any more: it can be unloaded.
    Free(Vec<Face>),
    /// Requests hold it.
    Held,
    /// It takes requests again, or it is gone already.
    Over,
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
        let mut is_checked = false;
        loop {
            // What leaves anyway may make room enough.
            self.wait_until_none_leaves().await;
            if !self.is_awaited(id) {
                return Err(LoadError::Broken("nobody waits for the model any more".to_owned()));
            }
            let mut refused = None;
            if self.loaded_count() < self.bounds.loaded_max {
                let loading = self.with_loader(wanted, |loader, choice, beside| loader.load(choice, beside));
                match loading.await {
                    Err(LoadError::NoRoom(why)) => refused = Some(why),
                    Err(broken) => return Err(broken),
                    Ok(served) => {
                        let seconds = started.elapsed().as_secs_f64();
                        tracing::info!(model = %served.card.id, seconds, "loaded a model");
                        return Ok(served);
                    }
                }
            }
            if !is_checked {
                // No other model shall leave for one that cannot be loaded.
                let checking = self.with_loader(wanted, |loader, choice, beside| loader.check(choice, beside));
                checking.await?;
                is_checked = true;
            }
            if !self.make_room(id).await
                && let Some(why) = refused
            {
                return Err(LoadError::NoRoom(why));
            }
        }
    }

    /// Lets the loader do `work` for a model beside what is loaded. It may take its time.
    async fn with_loader<T: Send + 'static>(self: &Arc<Inner>, wanted: &Wanted, work: Work<T>) -> Result<T, LoadError> {
        let (inner, choice) = (Arc::clone(self), wanted.choice.clone());
        let working = tokio::task::spawn_blocking(move || {
            let beside: Vec<_> = inner
                .state()
                .iter()
                .filter_map(|entry| entry.served().cloned())
                .collect();
            work(&*inner.loader, &choice, &beside)
        });
        working.await.unwrap_or_else(|error| {
            tracing::error!(%error, "loading a model panicked");
            Err(LoadError::Broken(
                "loading the model failed: the server's log says more".to_owned(),
            ))
        })
    }

    fn is_awaited(&self, id: u64) -> bool {
        self.state().iter().any(|entry| entry.id == id && entry.users > 0)
    }

    fn loaded_count(&self) -> usize {
        let is_there = |entry: &&Entry| !matches!(entry.stage, Stage::Loading(_));
        self.state().iter().filter(is_there).count()
    }

    /// Unloads one model: an idle one if there is one, the one that was used longest ago; the configured one last. If all
    /// are busy, the next one takes no new requests until it has left, or the `asking` model would wait for ever. Returns
    /// false if nothing is loaded.
    async fn make_room(&self, asking: u64) -> bool {
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
                    self.finish_leaving(leaving, Some(asking)).await;
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

    /// Waits for the last request, then for the engines, then for the memory. If nobody waits for the `asking` model any
    /// more, which this one leaves for, it stays.
    async fn finish_leaving(&self, id: u64, asking: Option<u64>) {
        let mut changes: watch::Receiver<u64> = self.changes.subscribe();
        let faces = loop {
            changes.mark_unchanged();
            match self.parting(id, asking) {
                Parting::Free(faces) => break faces,
                Parting::Held => drop(changes.changed().await),
                Parting::Over => return self.changed(),
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

    fn parting(&self, id: u64, asking: Option<u64>) -> Parting {
        let mut state = self.state();
        let is_wanted = |asking: u64| state.iter().any(|entry| entry.id == asking && entry.users > 0);
        let must_leave = asking.is_none_or(is_wanted);
        let Some(entry) = state.iter_mut().find(|entry| entry.id == id) else {
            return Parting::Over;
        };
        let Stage::Leaving(faces) = &mut entry.stage else {
            return Parting::Over;
        };
        if entry.users == 0 {
            return Parting::Free(std::mem::take(faces));
        }
        // Nobody watches over engines that failed on their way out: they must not come back.
        if must_leave || faces.iter().all(has_failed) {
            return Parting::Held;
        }
        entry.stage = Stage::Ready(std::mem::take(faces));
        Parting::Over
    }
}

fn has_failed(face: &Face) -> bool {
    let engines = face.served.engines.status();
    engines.iter().all(|engine| engine.state == engine::EngineState::Failed)
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
