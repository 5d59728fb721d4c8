//! Devices that several engines share: opened together, lost together, opened again when an engine is built anew.

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::clock::Clock;
use super::worker::{Failure, Worker};
use crate::device::Fault;
use crate::error::ModelsError;

/// The devices' threads and the way to them, for messages of kind `T`.
pub(crate) struct Crew<T> {
    pub(crate) clock: Arc<Clock>,
    running: Mutex<Running<T>>,
}

struct Running<T> {
    /// Which set of devices this is.
    generation: u64,
    inlet: Option<SyncSender<T>>,
    threads: Vec<JoinHandle<()>>,
    failure: Failure,
}

impl<T> Crew<T> {
    /// Devices of these names, none of them open.
    pub(crate) fn new(names: Vec<String>) -> Crew<T> {
        Crew {
            clock: Arc::new(Clock::new(names)),
            running: Mutex::new(Running {
                generation: 0,
                inlet: None,
                threads: Vec::new(),
                failure: Failure::default(),
            }),
        }
    }

    /// The generation of devices that run. Opens them if none do, after the failed ones have let go of their memory.
    ///
    /// * `start`  starts the workers and says where messages go once all of them are ready
    ///
    /// # Errors
    /// That of `start`; then none is open.
    pub(crate) fn open(
        &self,
        start: impl FnOnce(&Failure, &mut Vec<JoinHandle<()>>) -> Result<SyncSender<T>, ModelsError>,
    ) -> Result<u64, ModelsError> {
        let mut running = self.lock();
        if running.inlet.is_some() && running.failure.get().is_none() {
            return Ok(running.generation);
        }
        running.close();
        let (failure, mut threads) = (Failure::default(), Vec::new());
        let started = start(&failure, &mut threads);
        (running.failure, running.threads) = (failure, threads);
        match started {
            Ok(inlet) => running.inlet = Some(inlet),
            Err(error) => {
                running.close();
                return Err(error);
            }
        }
        running.generation += 1;
        self.clock.built();
        Ok(running.generation)
    }

    /// Sends a message to the devices of this generation.
    ///
    /// # Errors
    /// They have failed, and perhaps others were opened since.
    pub(crate) fn send(&self, generation: u64, message: T) -> Result<(), Fault> {
        let running = self.lock();
        if running.generation != generation {
            return Err("the devices failed and were opened again: what was in their caches is gone".into());
        }
        match &running.inlet {
            Some(inlet) => inlet.send(message).map_err(|_| running.failure.fault()),
            None => Err(running.failure.fault()),
        }
    }

    /// Why nobody answers.
    pub(crate) fn fault(&self) -> Fault {
        self.lock().failure.fault()
    }

    fn lock(&self) -> MutexGuard<'_, Running<T>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Running<T> {
    /// Lets the devices end what they compute, and waits until they are closed.
    fn close(&mut self) {
        self.inlet = None;
        for thread in self.threads.drain(..) {
            // A worker catches the panics of its device: there is no other to hear of.
            let _ = thread.join();
        }
    }
}

impl<T> Drop for Crew<T> {
    fn drop(&mut self) {
        self.running.get_mut().unwrap_or_else(PoisonError::into_inner).close();
    }
}

/// Waits until all devices are open, and keeps their threads.
///
/// # Errors
/// The first device that could not be opened.
pub(crate) fn ready(workers: Vec<Worker>, threads: &mut Vec<JoinHandle<()>>) -> Result<(), ModelsError> {
    let opened: Vec<Result<(), ModelsError>> = workers.iter().map(Worker::ready).collect();
    threads.extend(workers.into_iter().map(|worker| worker.thread));
    opened.into_iter().collect()
}
