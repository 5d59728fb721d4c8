//! How busy the devices of a model are, and how much of their time they wait for each other.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A look at one device. Times only grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceStatus {
    /// Its name; two workers on one device have a number behind it.
    pub name: String,
    /// Time in which it computed.
    pub busy: Duration,
    /// Time in which it computed nothing although a step was under way: the lane bubble.
    pub idle: Duration,
}

/// A look at the devices of a model that steps walk through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicesStatus {
    /// In the order of a step.
    pub devices: Vec<DeviceStatus>,
    /// Time in which two or more computed at once.
    pub together: Duration,
    /// Times that the devices were opened and their weights loaded.
    pub builds: u64,
}

/// Adds up times at every change. The changes are a few in a step, so one lock does.
pub(crate) struct Clock {
    times: Mutex<Times>,
}

struct Times {
    names: Vec<String>,
    computing: Vec<bool>,
    busy: Vec<Duration>,
    steps: usize,
    active: Duration,
    together: Duration,
    since: Instant,
    builds: u64,
}

impl Clock {
    pub(crate) fn new(names: Vec<String>) -> Clock {
        let times = Times {
            computing: vec![false; names.len()],
            busy: vec![Duration::ZERO; names.len()],
            names,
            steps: 0,
            active: Duration::ZERO,
            together: Duration::ZERO,
            since: Instant::now(),
            builds: 0,
        };
        Clock {
            times: Mutex::new(times),
        }
    }

    /// The devices are new: none computes.
    pub(crate) fn built(&self) {
        let mut times = self.advance();
        times.computing.fill(false);
        times.builds += 1;
    }

    /// A step begins. Steps under way, this one included.
    pub(crate) fn begin_step(&self) -> usize {
        let mut times = self.advance();
        times.steps += 1;
        times.steps
    }

    pub(crate) fn end_step(&self) {
        let mut times = self.advance();
        times.steps = times.steps.saturating_sub(1);
    }

    /// Device `index` computes from now on, or does not.
    pub(crate) fn set_computing(&self, index: usize, computing: bool) {
        if let Some(place) = self.advance().computing.get_mut(index) {
            *place = computing;
        }
    }

    pub(crate) fn status(&self) -> DevicesStatus {
        let times = self.advance();
        let devices = times.names.iter().zip(&times.busy).map(|(name, busy)| DeviceStatus {
            name: name.clone(),
            busy: *busy,
            idle: times.active.saturating_sub(*busy),
        });
        DevicesStatus {
            devices: devices.collect(),
            together: times.together,
            builds: times.builds,
        }
    }

    /// Books the time since the last change.
    fn advance(&self) -> MutexGuard<'_, Times> {
        let mut guard = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let times = &mut *guard;
        let now = Instant::now();
        let passed = now.saturating_duration_since(times.since);
        times.since = now;
        let computing = times.computing.iter().filter(|computing| **computing).count();
        // A device may end a step's last piece while its lane already knows that the step is over.
        if times.steps > 0 || computing > 0 {
            times.active += passed;
        }
        if computing > 1 {
            times.together += passed;
        }
        for (busy, computing) in times.busy.iter_mut().zip(&times.computing) {
            if *computing {
                *busy += passed;
            }
        }
        guard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_and_idle_are_the_time_of_the_steps_and_nothing_is_booked_between_them() {
        let clock = Clock::new(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(clock.begin_step(), 1);
        clock.set_computing(0, true);
        assert_eq!(clock.begin_step(), 2);
        clock.set_computing(1, true);
        std::hint::black_box((0..1000).sum::<u64>());
        clock.set_computing(0, false);
        clock.set_computing(1, false);
        clock.end_step();
        clock.end_step();
        let before = clock.status();
        let [a, b] = &before.devices[..] else {
            panic!("{before:?}")
        };
        assert_eq!(a.busy + a.idle, b.busy + b.idle);
        assert!(before.together > Duration::ZERO && before.together <= a.busy.min(b.busy));
        assert_eq!(clock.status(), before);
    }
}
