//! Which engine gets a job: smooth weighted round robin over the engines that can take it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::inbox::Inbox;
use crate::job::{Finish, Job, Refused};
use crate::model::ModelShape;
use crate::replies::{Replies, open};
use crate::sequence::Sequence;
use crate::settings::{EngineSettings, EngineSpec};
use crate::status::{EngineState, Gauges};

/// Where an engine is reached and seen, from any thread.
pub(crate) struct Station {
    pub(crate) spec: EngineSpec,
    pub(crate) inbox: Inbox,
    pub(crate) gauges: Gauges,
    /// Of its first model; later ones must have the same.
    pub(crate) shape: OnceLock<ModelShape>,
}

/// Deals jobs to engines.
pub(crate) struct Dispatcher {
    pub(crate) settings: EngineSettings,
    pub(crate) stations: Arc<[Station]>,
    /// What every engine can hold; set once the engines have started.
    pub(crate) shape: OnceLock<ModelShape>,
    turns: Mutex<Turns>,
}

/// Jobs that were taken.
#[derive(Debug)]
pub struct Accepted {
    /// The engine that got them.
    pub engine: usize,
    /// The answers, in order of the jobs.
    pub replies: Vec<Replies>,
}

struct Turns {
    wheel: Wheel,
    next_serial: u64,
    stopping: bool,
}

impl Dispatcher {
    pub(crate) fn new(settings: EngineSettings) -> Self {
        let station = |spec: &EngineSpec| Station {
            spec: spec.clone(),
            inbox: Inbox::default(),
            gauges: Gauges::default(),
            shape: OnceLock::new(),
        };
        let wheel = Wheel::new(settings.engines.iter().map(|spec| spec.weight));
        Self {
            stations: settings.engines.iter().map(station).collect(),
            shape: OnceLock::new(),
            turns: Mutex::new(Turns {
                wheel,
                next_serial: 0,
                stopping: false,
            }),
            settings,
        }
    }

    /// Jobs that one engine holds at most.
    pub(crate) fn jobs_max(&self) -> usize {
        self.settings.slots.saturating_add(self.settings.queue_jobs_max)
    }

    /// Gives all jobs to the engine whose turn it is, or none to any.
    pub(crate) fn submit(&self, jobs: Vec<Job>) -> Result<Accepted, Refused> {
        let shape = self.shape.get().ok_or(Refused::NoEngine)?;
        if jobs.is_empty() {
            return Err(Refused::EmptyPrompt);
        }
        jobs.iter().try_for_each(|job| job.check(shape))?;
        let jobs_max = self.jobs_max();
        if jobs.len() > jobs_max {
            return Err(Refused::TooManyJobs {
                jobs: jobs.len(),
                jobs_max,
            });
        }
        let mut turns = self.lock();
        if turns.stopping {
            return Err(Refused::Stopping);
        }
        let room = |load: usize| load.saturating_add(jobs.len()) <= jobs_max;
        let able = |index: usize| self.state(index) == EngineState::Ready && room(self.load(index));
        let Some(engine) = turns.wheel.next(able) else {
            return Err(self.full_or_none());
        };
        let mut replies = Vec::with_capacity(jobs.len());
        for job in jobs {
            let (outlet, reply) = open(self.settings.reply_events_max, engine, &self.stations);
            let serial = turns.next_serial;
            turns.next_serial += 1;
            let sequence = Sequence::new(serial, job, shape, outlet);
            if let Some(returned) = self.put(engine, sequence) {
                // The engine gave up between the look at its state and now.
                self.pass_on(&mut turns.wheel, returned, engine);
            }
            replies.push(reply);
        }
        Ok(Accepted { engine, replies })
    }

    /// Hands a sequence of a failed engine to another one, however full: it was accepted. Ends it if there is none.
    pub(crate) fn rehome(&self, sequence: Sequence, from: usize) {
        self.pass_on(&mut self.lock().wheel, sequence, from);
    }

    fn pass_on(&self, wheel: &mut Wheel, sequence: Sequence, from: usize) {
        let mut homeless = sequence;
        // A ready engine, else one that is being built, this one at last. Each is asked at most once a round.
        let mut asked = vec![false; self.stations.len()];
        loop {
            let unasked =
                |index: usize, state| self.state(index) == state && !asked.get(index).copied().unwrap_or(true);
            let ready = wheel.next(|index| index != from && unasked(index, EngineState::Ready));
            let Some(engine) = ready.or_else(|| wheel.next(|index| unasked(index, EngineState::Loading))) else {
                if let Some(station) = self.stations.get(from) {
                    station.gauges.requests_failed.add(1);
                }
                let why = "its engine failed and no other can go on with it";
                homeless.finish(Finish::Failed(why.to_owned()));
                return;
            };
            if let Some(slot) = asked.get_mut(engine) {
                *slot = true;
            }
            match self.put(engine, homeless) {
                Some(returned) => homeless = returned,
                None => return,
            }
        }
    }

    /// Puts a sequence into an engine's inbox and on its count; gives it back if the engine has ended.
    fn put(&self, engine: usize, sequence: Sequence) -> Option<Sequence> {
        let Some(station) = self.stations.get(engine) else {
            return Some(sequence);
        };
        sequence.outlet.move_to(engine);
        station.gauges.jobs.fetch_add(1, Ordering::SeqCst);
        let returned = station.inbox.put(sequence);
        if returned.is_some() {
            station.gauges.jobs.fetch_sub(1, Ordering::SeqCst);
        }
        returned
    }

    /// Refuses new jobs and asks every engine to stop after its step.
    pub(crate) fn stop(&self) {
        self.lock().stopping = true;
        self.stations.iter().for_each(|station| station.inbox.stop());
    }

    /// Why no engine can take jobs now.
    fn full_or_none(&self) -> Refused {
        let ready = (0..self.stations.len()).filter(|index| self.state(*index) == EngineState::Ready);
        match ready.map(|index| self.load(index)).min() {
            Some(load) => Refused::QueueFull {
                waiting: load.saturating_sub(self.settings.slots),
                queue_jobs_max: self.settings.queue_jobs_max,
            },
            None => Refused::NoEngine,
        }
    }

    fn state(&self, engine: usize) -> EngineState {
        let station = self.stations.get(engine);
        station.map_or(EngineState::Failed, |station| station.gauges.state())
    }

    /// Jobs that an engine has, running and waiting.
    fn load(&self, engine: usize) -> usize {
        let station = self.stations.get(engine);
        station.map_or(0, |station| station.gauges.jobs.load(Ordering::SeqCst))
    }

    fn lock(&self) -> MutexGuard<'_, Turns> {
        // Every change under the lock is complete at each step, so a panic elsewhere leaves it usable.
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Smooth weighted round robin: every engine gains its weight, the richest pays the sum of all gains and goes.
///
/// Weights 3 and 1 give 0 0 1 0, again and again: three quarters in every window of four, not three in a row and then
/// one. Engines that cannot take the job neither gain nor pay.
///
/// Source: the scheme of nginx's upstream module (2012).
struct Wheel {
    weights: Vec<i64>,
    credits: Vec<i64>,
}

impl Wheel {
    fn new(weights: impl Iterator<Item = u32>) -> Self {
        let weights: Vec<i64> = weights.map(i64::from).collect();
        Self {
            credits: vec![0; weights.len()],
            weights,
        }
    }

    /// The engine whose turn it is among those that are able; of equals the first.
    fn next(&mut self, able: impl Fn(usize) -> bool) -> Option<usize> {
        let (mut richest, mut sum) = (None, 0);
        for (index, (credit, weight)) in self.credits.iter_mut().zip(&self.weights).enumerate() {
            if able(index) {
                *credit += weight;
                sum += weight;
                if richest.is_none_or(|(_, most)| *credit > most) {
                    richest = Some((index, *credit));
                }
            }
        }
        let (index, _) = richest?;
        if let Some(credit) = self.credits.get_mut(index) {
            *credit -= sum;
        }
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deal(weights: &[u32], count: usize, able: fn(usize) -> bool) -> Vec<usize> {
        let mut wheel = Wheel::new(weights.iter().copied());
        (0..count).filter_map(|_| wheel.next(able)).collect()
    }

    #[test]
    fn equal_weights_take_turns() {
        assert_eq!(deal(&[1, 1], 10, |_| true), [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
        assert_eq!(deal(&[2, 2, 2], 6, |_| true), [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn weights_three_to_one_hold_in_every_window_of_four() {
        let dealt = deal(&[3, 1], 20, |_| true);
        assert_eq!(dealt.iter().filter(|engine| **engine == 0).count(), 15);
        for window in dealt.windows(4) {
            assert_eq!(window.iter().filter(|engine| **engine == 1).count(), 1, "{dealt:?}");
        }
    }

    #[test]
    fn an_engine_that_cannot_take_jobs_is_skipped() {
        assert_eq!(deal(&[1, 1, 1], 4, |engine| engine != 1), [0, 2, 0, 2]);
        assert_eq!(deal(&[1, 1], 4, |_| false), []);
    }
}
