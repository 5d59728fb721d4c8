//! The room's door: engines started, jobs taken, numbers shown, engines stopped.

use std::fmt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use crate::dispatch::{Accepted, Dispatcher};
use crate::job::{Job, Refused};
use crate::model::{ModelShape, Pooling};
use crate::settings::{EngineError, EngineSettings, ModelFactory};
use crate::status::{EngineState, EngineStatus};
use crate::worker::Worker;

/// All engines of the process. Clones speak to the same ones; the last clone dropped stops them.
#[derive(Clone)]
pub struct Engines {
    dispatcher: Arc<Dispatcher>,
    threads: Arc<Threads>,
}

/// The engines' threads. Dropping asks them to stop and does not wait.
struct Threads {
    dispatcher: Arc<Dispatcher>,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl Engines {
    /// Starts a thread for each engine, has each build its model, and returns when all have tried.
    ///
    /// Engines that could not build theirs stay `Failed`; their reason is in [`Engines::status`].
    ///
    /// # Errors
    /// A setting out of bounds, no thread, no engine ready, or vocabularies that differ. Nothing runs then.
    pub fn start(settings: EngineSettings, factory: ModelFactory) -> Result<Self, EngineError> {
        settings.check()?;
        let dispatcher = Arc::new(Dispatcher::new(settings));
        let count = dispatcher.stations.len();
        let threads = Arc::new(Threads {
            dispatcher: Arc::clone(&dispatcher),
            handles: Mutex::new(Vec::with_capacity(count)),
        });
        let engines = Self { dispatcher, threads };
        // One report from each; a thread that dies instead drops its sender.
        let (tried, reports) = sync_channel(count);
        for index in 0..count {
            let spawned = engines.spawn(index, Arc::clone(&factory), tried.clone());
            if let Err(source) = spawned {
                engines.stop_and_join();
                return Err(EngineError::Thread { engine: index, source });
            }
        }
        drop(tried);
        wait_for_all(&reports);
        match engines.common_shape() {
            Ok(shape) => {
                // Set once: nobody else has these engines yet.
                let _ = engines.dispatcher.shape.set(shape);
                Ok(engines)
            }
            Err(error) => {
                engines.stop_and_join();
                Err(error)
            }
        }
    }

    /// Gives all jobs to one engine, or none to any.
    ///
    /// # Errors
    /// Why the jobs were not taken.
    pub fn submit(&self, jobs: Vec<Job>) -> Result<Accepted, Refused> {
        self.dispatcher.submit(jobs)
    }

    /// What every engine can hold: the least context and the least KV pool among those that started.
    #[must_use]
    pub fn shape(&self) -> ModelShape {
        let none = ModelShape {
            vocabulary: 0,
            context_tokens: 0,
            kv_blocks: 0,
            hidden: 0,
            pooling: Pooling::Last,
        };
        self.dispatcher.shape.get().copied().unwrap_or(none)
    }

    /// Jobs that one engine holds at most, running and waiting.
    #[must_use]
    pub fn jobs_max(&self) -> usize {
        self.dispatcher.jobs_max()
    }

    /// A look at every engine, in order of their indices.
    #[must_use]
    pub fn status(&self) -> Vec<EngineStatus> {
        let stations = self.dispatcher.stations.iter().enumerate();
        stations
            .map(|(index, station)| station.gauges.look(index, &station.spec.name))
            .collect()
    }

    /// Each engine's last failure, in one line.
    #[must_use]
    pub fn failures(&self) -> String {
        let reason = |status: EngineStatus| {
            let failure = status.failure.unwrap_or_else(|| "no reason given".to_owned());
            format!("engine {} ({}): {failure}", status.index, status.name)
        };
        let reasons: Vec<String> = self.status().into_iter().map(reason).collect();
        reasons.join("; ")
    }

    /// Refuses new jobs and ends the engines after their present step. What is left then ends as failed.
    pub fn stop(&self) {
        self.dispatcher.stop();
    }

    /// Waits until all engines' threads have ended, which they do after [`Engines::stop`], or when all have failed for good.
    /// Blocks: not for async code.
    pub fn join(&self) {
        let mut handles = self.threads.handles.lock().unwrap_or_else(PoisonError::into_inner);
        for handle in handles.drain(..) {
            // A thread cannot end by a panic that matters here: its jobs and state were settled before.
            let _ = handle.join();
        }
    }

    fn stop_and_join(&self) {
        self.stop();
        self.join();
    }

    fn spawn(&self, index: usize, factory: ModelFactory, tried: SyncSender<()>) -> std::io::Result<()> {
        let dispatcher = Arc::clone(&self.dispatcher);
        let handle = Builder::new()
            .name(format!("engine-{index}"))
            .stack_size(self.dispatcher.settings.stack_bytes)
            .spawn(move || {
                let mut worker = Worker::new(index, dispatcher, factory);
                worker.load();
                // An error means that the start was given up; `stop` says so too.
                let _ = tried.send(());
                drop(tried);
                worker.run();
            })?;
        let mut handles = self.threads.handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles.push(handle);
        Ok(())
    }

    /// The shape that fits every ready engine.
    fn common_shape(&self) -> Result<ModelShape, EngineError> {
        let stations = self.dispatcher.stations.iter().enumerate();
        let ready = stations.filter(|(_, station)| station.gauges.state() == EngineState::Ready);
        let mut shapes = ready.filter_map(|(index, station)| Some((index, *station.shape.get()?)));
        let Some((first, mut common)) = shapes.next() else {
            let reasons = self.failures();
            return Err(EngineError::NoneReady { reasons });
        };
        for (engine, shape) in shapes {
            if shape.vocabulary != common.vocabulary {
                return Err(EngineError::VocabulariesDiffer {
                    engine,
                    found: shape.vocabulary,
                    first,
                    expected: common.vocabulary,
                });
            }
            common.context_tokens = common.context_tokens.min(shape.context_tokens);
            common.kv_blocks = common.kv_blocks.min(shape.kv_blocks);
        }
        Ok(common)
    }
}

impl fmt::Debug for Engines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Engines").field(&self.status()).finish()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.dispatcher.stop();
    }
}

/// Returns when every sender has reported or is gone.
fn wait_for_all(reports: &Receiver<()>) {
    reports.iter().for_each(drop);
}
