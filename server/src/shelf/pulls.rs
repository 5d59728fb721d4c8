//! Downloads under way: one of each model, however many clients wait for it. It goes on as long as one of them does.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use library::hub::HubName;
use library::pull::{Progress, PullError, Puller};
use library::store::ModelName;
use tokio::sync::watch;

use super::{Shelf, ShelfError};

/// Models downloaded at once.
const PULLS_MAX: usize = 4;
/// Steps of one download that are told apart; a model has a handful of files.
const STEPS_MAX: usize = 1000;

/// What is to be pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PullName {
    /// From a registry such as Ollama's, into our own store.
    Registry(ModelName),
    /// From the Hugging Face hub, into the cache of its own tools.
    Hub(HubName),
}

impl FromStr for PullName {
    type Err = ShelfError;

    fn from_str(text: &str) -> Result<PullName, ShelfError> {
        Ok(if HubName::is_meant(text) {
            PullName::Hub(text.parse()?)
        } else {
            PullName::Registry(text.parse()?)
        })
    }
}

impl PullName {
    fn key(&self) -> String {
        match self {
            PullName::Registry(name) => name.full().to_ascii_lowercase(),
            PullName::Hub(name) => name.to_string(),
        }
    }
}

/// How a download ended.
#[derive(Clone, Debug)]
pub(crate) enum Ended {
    /// The model is there.
    Well,
    /// It is not.
    Badly(Arc<PullError>),
    /// Its thread is gone: a bug of ours.
    Lost,
}

/// How far a download is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// Every step so far; of each file only the latest.
    pub(crate) steps: Vec<Progress>,
    /// Set when nothing more comes.
    pub(crate) ended: Option<Ended>,
}

impl Told {
    fn note(&mut self, step: Progress) {
        let same = |other: &Progress| match (other, &step) {
            (Progress::File { digest, .. }, Progress::File { digest: new, .. }) => digest == new,
            _ => *other == step,
        };
        match self.steps.iter().position(same) {
            Some(index) => self.steps[index] = step,
            None if self.steps.len() < STEPS_MAX => self.steps.push(step),
            None => {}
        }
    }
}

/// The downloads, by what is downloaded.
#[derive(Default)]
pub(crate) struct Pulls {
    running: Mutex<HashMap<String, watch::Sender<Told>>>,
}

impl Pulls {
    /// Follows the download of `name`, which is begun if there is none; none where there are too many.
    pub(crate) fn follow(shelf: &Arc<Shelf>, name: &PullName) -> Option<watch::Receiver<Told>> {
        let key = name.key();
        let mut running = shelf.pulls.lock();
        if let Some(told) = running.get(&key) {
            return Some(told.subscribe());
        }
        if running.len() >= PULLS_MAX {
            return None;
        }
        let (tell, told) = watch::channel(Told::default());
        running.insert(key.clone(), tell.clone());
        let under_way = UnderWay {
            pulls: Arc::clone(&shelf.pulls),
            key,
            tell,
        };
        let (shelf, name) = (Arc::clone(shelf), name.clone());
        tokio::task::spawn_blocking(move || under_way.run(&shelf, &name));
        Some(told)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Told>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One download, on a thread that may block. Its drop tells that it has ended, whatever ended it.
struct UnderWay {
    pulls: Arc<Pulls>,
    key: String,
    tell: watch::Sender<Told>,
}

impl UnderWay {
    fn run(self, shelf: &Shelf, name: &PullName) {
        tracing::info!(model = self.key, "pulling a model for a client");
        let ended = match self.pull(shelf, name) {
            Ok(()) => {
                tracing::info!(model = self.key, "pulled");
                Ended::Well
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(model = self.key, %error, cause, "the model was not pulled");
                Ended::Badly(Arc::new(error))
            }
        };
        // A later follower begins anew.
        self.pulls.lock().remove(&self.key);
        self.tell.send_modify(|told| told.ended = Some(ended));
    }

    fn pull(&self, shelf: &Shelf, name: &PullName) -> Result<(), PullError> {
        let puller = Puller::new(&shelf.rules.pull)?;
        let stopper = puller.stopper();
        let watched = self.tell.clone();
        let watching = tokio::spawn(async move {
            watched.closed().await;
            stopper.stop();
        });
        let mut report = |step: Progress| {
            self.tell.send_modify(|told| told.note(step));
            if self.tell.is_closed() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let pulled = match name {
            PullName::Registry(name) => puller.from_registry(name, &shelf.places.own, &mut report).map(drop),
            PullName::Hub(name) => match &shelf.places.hub {
                Some(cache) => puller.from_hub(name, cache, &mut report).map(drop),
                None => Err(PullError::Disk(std::io::ErrorKind::NotFound.into())),
            },
        };
        watching.abort();
        pulled
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.tell.borrow().ended.is_none() {
            self.pulls.lock().remove(&self.key);
            self.tell.send_modify(|told| told.ended = Some(Ended::Lost));
        }
    }
}

#[cfg(test)]
mod tests {
    use library::store::Digest;

    use super::*;

    #[test]
    fn of_each_file_the_latest_report_is_kept_in_its_place() {
        let file = |content: &str, completed_bytes| Progress::File {
            digest: Digest::of(content.as_bytes()),
            total_bytes: 9,
            completed_bytes,
        };
        let mut told = Told::default();
        for step in [
            Progress::Manifest,
            file("a", 0),
            file("b", 1),
            file("a", 9),
            Progress::Verifying,
        ] {
            told.note(step);
        }
        assert_eq!(
            told.steps,
            [Progress::Manifest, file("a", 9), file("b", 1), Progress::Verifying]
        );
    }

    #[test]
    fn names_of_registries_and_of_the_hub_are_told_apart() {
        let key = |name: &str| name.parse::<PullName>().map(|name| name.key()).ok();
        assert_eq!(key("Small").as_deref(), Some("registry.ollama.ai/library/small:latest"));
        assert_eq!(key("hf:a/b:Q4_K_M").as_deref(), Some("hf:a/b:Q4_K_M"));
        assert_eq!(key("../b"), None);
    }
}
