//! The life of one engine: load, step, fail, load again, stop. [`Worker::run`] is its thread.
//!
//! Sequences outlive the engine: after a failure they go to another one, and this one builds its model anew, a bounded
//! number of times without a good step between. The bound counts attempts, not time.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::dispatch::{Dispatcher, Station};
use crate::engine::{Engine, Remains};
use crate::job::Finish;
use crate::model::{LanguageModel, ModelError};
use crate::sequence::Sequence;
use crate::settings::ModelFactory;
use crate::status::EngineState;

/// An engine's keeper. Made and dropped on the engine's thread, like the model.
pub(crate) struct Worker {
    index: usize,
    dispatcher: Arc<Dispatcher>,
    factory: ModelFactory,
    pub(crate) engine: Option<Engine>,
    /// Failures since the last good step.
    failures: usize,
}

/// What [`Worker::turn`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There may be more to do.
    Worked,
    /// Nothing to do until something arrives in the inbox.
    Idle,
    /// Stopped or given up.
    Ended,
}

impl Worker {
    pub(crate) fn new(index: usize, dispatcher: Arc<Dispatcher>, factory: ModelFactory) -> Self {
        Self {
            index,
            dispatcher,
            factory,
            engine: None,
            failures: 0,
        }
    }

    /// Builds the first model. At the start one attempt must do: the operator is watching.
    pub(crate) fn load(&mut self) {
        match self.build() {
            Ok(()) => self.set_state(EngineState::Ready),
            Err(error) => {
                self.record(&error.to_string());
                self.give_up();
            }
        }
    }

    /// Works until stopped, asleep while there is nothing to do.
    pub(crate) fn run(mut self) {
        while self.state() != EngineState::Failed {
            // A panic that comes this far is a bug of ours outside the step. The engine ends; its jobs do not.
            match catch_unwind(AssertUnwindSafe(|| self.turn())) {
                Ok(Outcome::Worked) => {}
                Ok(Outcome::Idle) => self.station(|station| station.inbox.wait()),
                Ok(Outcome::Ended) => return,
                Err(panic) => {
                    self.record(&panic_text(panic.as_ref()));
                    self.take_down();
                    self.give_up();
                }
            }
        }
    }

    /// Reads the inbox and runs one step, or one attempt to build the model.
    pub(crate) fn turn(&mut self) -> Outcome {
        if self.is_asked_to_stop() {
            self.stop();
            return Outcome::Ended;
        }
        let Some(engine) = &mut self.engine else {
            return self.rebuild();
        };
        if let Some(station) = self.dispatcher.stations.get(self.index) {
            station.inbox.collect(|sequence| engine.submit(sequence));
        }
        // Unwind safe: an engine that panicked is taken down, only its sequences' host state is used again.
        match catch_unwind(AssertUnwindSafe(|| engine.step())) {
            Ok(Ok(true)) => {
                self.failures = 0;
                Outcome::Worked
            }
            Ok(Ok(false)) => Outcome::Idle,
            Ok(Err(error)) => self.fail(&error.to_string()),
            Err(panic) => self.fail(&panic_text(panic.as_ref())),
        }
    }

    /// Gives this engine's sequences to others and its model up.
    fn fail(&mut self, reason: &str) -> Outcome {
        self.record(reason);
        self.failures += 1;
        // Not ready from here on, so that nobody sends sequences here while these are sent away.
        self.set_state(EngineState::Loading);
        self.take_down();
        Outcome::Worked
    }

    fn take_down(&mut self) {
        let Some(engine) = self.engine.take() else {
            return;
        };
        let Remains { model, sequences } = engine.take_down();
        self.drop_model(model);
        for sequence in sequences {
            self.send_away(sequence);
        }
        self.rest();
    }

    /// Moves a sequence to another engine, or ends it if it was moved too often.
    fn send_away(&self, sequence: Sequence) {
        self.station(|station| {
            station.gauges.jobs.fetch_sub(1, Ordering::SeqCst);
        });
        if sequence.outlet.is_closed() {
            self.station(|station| station.gauges.requests_cancelled.add(1));
            return;
        }
        let (strikes, moves_max) = (sequence.strikes, self.dispatcher.settings.moves_max);
        if strikes > moves_max {
            let why = format!("{strikes} steps with it failed on {moves_max} moves between engines");
            self.station(|station| station.gauges.requests_failed.add(1));
            sequence.finish(Finish::Failed(why));
            return;
        }
        self.station(|station| station.gauges.requests_moved.add(1));
        self.dispatcher.rehome(sequence, self.index);
    }

    /// One attempt to build the model again.
    fn rebuild(&mut self) -> Outcome {
        if self.failures > self.dispatcher.settings.rebuilds_max {
            self.give_up();
            return Outcome::Ended;
        }
        match self.build() {
            Ok(()) => self.set_state(EngineState::Ready),
            Err(error) => {
                self.record(&error.to_string());
                self.failures += 1;
            }
        }
        Outcome::Worked
    }

    fn build(&mut self) -> Result<(), ModelError> {
        let factory = &self.factory;
        let model = match catch_unwind(AssertUnwindSafe(|| factory(self.index))) {
            Ok(built) => built?,
            Err(panic) => return Err(ModelError(panic_text(panic.as_ref()))),
        };
        let dispatcher = &self.dispatcher;
        let Some(station) = dispatcher.stations.get(self.index) else {
            return Err(ModelError(format!("there is no engine {}", self.index)));
        };
        let shape = model.shape();
        let first = *station.shape.get_or_init(|| shape);
        if shape != first {
            return Err(ModelError(format!(
                "the model was built as {first:?} and is now {shape:?}"
            )));
        }
        station.gauges.builds.add(1);
        station.gauges.kv_blocks.store(shape.kv_blocks, Ordering::Relaxed);
        let stations = Arc::clone(&dispatcher.stations);
        self.engine = Some(Engine::new(model, self.index, stations, &dispatcher.settings));
        Ok(())
    }

    /// Ends as failed. What is in the inbox, or was meant for the model that could not be built, goes to others.
    fn give_up(&mut self) {
        self.set_state(EngineState::Failed);
        self.station(|station| {
            for sequence in station.inbox.close() {
                self.send_away(sequence);
            }
        });
    }

    /// Ends as stopped, and every sequence with it.
    fn stop(&mut self) {
        self.set_state(EngineState::Stopped);
        let remains = self.engine.take().map(Engine::take_down);
        self.station(|station| {
            let mut sequences = Vec::from(station.inbox.close());
            if let Some(remains) = remains {
                sequences.extend(remains.sequences);
                self.drop_model(remains.model);
            }
            for sequence in sequences {
                station.gauges.jobs.fetch_sub(1, Ordering::SeqCst);
                station.gauges.requests_failed.add(1);
                sequence.finish(Finish::Failed("the server is stopping".to_owned()));
            }
        });
        self.rest();
    }

    /// Drops a model, which may be in any state after a failure.
    fn drop_model(&self, model: Box<dyn LanguageModel>) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(model))) {
            self.record(&panic_text(panic.as_ref()));
        }
    }

    /// Shows that nothing runs here.
    fn rest(&self) {
        self.station(|station| {
            let gauges = &station.gauges;
            for gauge in [
                &gauges.running,
                &gauges.paused,
                &gauges.kv_blocks_used,
                &gauges.kv_blocks_cached,
            ] {
                gauge.store(0, Ordering::Relaxed);
            }
        });
    }

    fn is_asked_to_stop(&self) -> bool {
        let station = self.dispatcher.stations.get(self.index);
        station.is_none_or(|station| station.inbox.is_asked_to_stop())
    }

    fn state(&self) -> EngineState {
        let station = self.dispatcher.stations.get(self.index);
        station.map_or(EngineState::Failed, |station| station.gauges.state())
    }

    fn set_state(&self, state: EngineState) {
        self.station(|station| station.gauges.set_state(state));
    }

    fn record(&self, reason: &str) {
        self.station(|station| station.gauges.record_failure(reason));
    }

    fn station(&self, with: impl FnOnce(&Station)) {
        if let Some(station) = self.dispatcher.stations.get(self.index) {
            with(station);
        }
    }
}

/// What a panic said.
fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panic: {}", text.unwrap_or("without a message"))
}
