//! How long to poll before giving the core away.

use std::hint;
use std::thread;
use std::time::{Duration, Instant};

/// A wait that begins with polling and grows cheaper for others the longer it takes.
pub(super) struct Patience {
    polls: u32,
    began: Option<Instant>,
    spin: Duration,
    /// From the beginning on, the spinning included.
    yielding: Duration,
}

/// Polls between two looks at the clock, which cost as much as a few polls.
const POLLS: u32 = 64;

impl Patience {
    /// A helper between regions: what one thread does between two of a step takes some 10 microseconds. Then, in case
    /// the caller does something longer, it polls on while no other thread wants the core.
    pub(super) fn of_helper() -> Patience {
        Patience::new(Duration::from_micros(50), Duration::from_micros(200))
    }

    /// A caller at the end of a region, whose helpers need as long as one index takes: unless one has lost its core,
    /// and then this thread's may be the one it needs.
    pub(super) fn of_caller() -> Patience {
        Patience::new(Duration::from_micros(30), Duration::MAX)
    }

    fn new(spin: Duration, yielding: Duration) -> Patience {
        Patience {
            polls: 0,
            began: None,
            spin,
            yielding,
        }
    }

    /// Passes a moment; false when it is time to sleep.
    pub(super) fn pause(&mut self) -> bool {
        self.polls += 1;
        if self.polls < POLLS {
            hint::spin_loop();
            return true;
        }
        let waited = self.began.get_or_insert_with(Instant::now).elapsed();
        if waited < self.spin {
            self.polls = 0;
        } else {
            // Every further poll gives way and looks at the clock.
            self.polls = POLLS - 1;
            thread::yield_now();
        }
        waited < self.yielding
    }
}
