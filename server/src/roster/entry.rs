//! One set of weights in the roster: coming, there, or leaving.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use tokio::sync::watch;

use super::{KeepAlive, Key, LoadError, Served};

/// The id of the first entry, the configured model's.
pub(super) const FIRST_ID: u64 = 0;

/// A model, from the first request for it to its end.
pub(super) struct Entry {
    /// Never used twice.
    pub(super) id: u64,
    pub(super) key: Key,
    pub(super) stage: Stage,
    /// Requests that hold it or wait for it to load.
    pub(super) users: usize,
    pub(super) keep: KeepAlive,
    /// When the last request ended, or now if none has.
    pub(super) idle_since: Instant,
}

pub(super) enum Stage {
    /// Requests wait for it; they are told how it went.
    Loading(watch::Sender<Option<Result<(), LoadError>>>),
    /// At least one: under each name that was asked for, with what is stored under it.
    Ready(Vec<Face>),
    /// It takes no new requests; it is unloaded when the last one has ended.
    Leaving(Vec<Face>),
}

/// The same engines under one of their names.
pub(super) struct Face {
    pub(super) name: String,
    pub(super) served: Arc<Served>,
}

impl Entry {
    /// The configured model.
    pub(super) fn ready(key: Key, face: &str, served: Served) -> (Entry, Arc<Served>) {
        let served = Arc::new(served);
        let face = Face {
            name: face.to_owned(),
            served: Arc::clone(&served),
        };
        let entry = Entry {
            id: FIRST_ID,
            key,
            stage: Stage::Ready(vec![face]),
            users: 0,
            keep: KeepAlive::Forever,
            idle_since: Instant::now(),
        };
        (entry, served)
    }

    /// One that its first request waits for.
    pub(super) fn loading(key: Key, keep: KeepAlive) -> (Entry, watch::Receiver<Option<Result<(), LoadError>>>) {
        static NEXT: AtomicU64 = AtomicU64::new(FIRST_ID + 1);
        let (told, outcome) = watch::channel(None);
        let entry = Entry {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            key,
            stage: Stage::Loading(told),
            users: 0,
            keep,
            idle_since: Instant::now(),
        };
        (entry, outcome)
    }

    /// The model under the name it was loaded by, if it is there.
    pub(super) fn served(&self) -> Option<&Arc<Served>> {
        match &self.stage {
            Stage::Ready(faces) => faces.first().map(|face| &face.served),
            Stage::Loading(_) | Stage::Leaving(_) => None,
        }
    }

    /// Under each name that was asked for, also while it is leaving: for a request that holds it.
    pub(super) fn faces(&self) -> &[Face] {
        match &self.stage {
            Stage::Ready(faces) | Stage::Leaving(faces) => faces,
            Stage::Loading(_) => &[],
        }
    }

    /// When it has been idle for long enough, if it is idle and that time comes.
    pub(super) fn expires(&self) -> Option<Instant> {
        match (&self.stage, self.keep) {
            (Stage::Ready(_), KeepAlive::For(time)) if self.users == 0 => self.idle_since.checked_add(time),
            _ => None,
        }
    }

    /// The same for people: while it is in use, counted from now.
    pub(super) fn until(&self) -> Option<SystemTime> {
        let KeepAlive::For(time) = self.keep else { return None };
        let idle = if self.users == 0 {
            self.idle_since.elapsed()
        } else {
            std::time::Duration::ZERO
        };
        SystemTime::now().checked_add(time.saturating_sub(idle))
    }
}
