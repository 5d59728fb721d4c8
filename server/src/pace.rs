//! How long replies take here, so that a client that finds the queue full is told when to come back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use engine::EngineStatus;

/// Share of the newest reply in the average: some ten replies decide.
const NEWEST_SHARE: f64 = 0.1;

/// Longest wait that a client is told; the official ones ignore longer advice and try at once.
const WAIT_SECONDS_MAX: f64 = 60.0;

/// The moving average of how long a request takes from submission to its end.
#[derive(Default)]
pub(crate) struct Pace {
    /// Seconds as the bits of an f64; 0 before the first reply.
    seconds: AtomicU64,
}

impl Pace {
    /// Counts a reply that came to its end.
    pub(crate) fn record(&self, took: Duration) {
        // Two at once may lose one of them, which an average can bear.
        let before = f64::from_bits(self.seconds.load(Ordering::Relaxed));
        let newest = took.as_secs_f64();
        let after = if before == 0.0 {
            newest
        } else {
            before + NEWEST_SHARE * (newest - before)
        };
        self.seconds.store(after.to_bits(), Ordering::Relaxed);
    }

    /// How long until a place in a queue is likely to be free: replies end one by one, `running` of them abreast.
    pub(crate) fn wait(&self, engines: &[EngineStatus]) -> Duration {
        let running: usize = engines.iter().map(|engine| engine.running).sum();
        let average = f64::from_bits(self.seconds.load(Ordering::Relaxed));
        let seconds = average / f64::from(u32::try_from(running.max(1)).unwrap_or(u32::MAX));
        Duration::from_secs_f64(seconds.ceil().clamp(1.0, WAIT_SECONDS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_follows_the_average_within_its_bounds() {
        let pace = Pace::default();
        assert_eq!(pace.wait(&[]), Duration::from_secs(1));
        pace.record(Duration::from_secs(20));
        assert_eq!(pace.wait(&[]), Duration::from_secs(20));
        pace.record(Duration::from_secs(10));
        assert_eq!(pace.wait(&[]), Duration::from_secs(19));
        pace.record(Duration::from_secs(1_000_000));
        assert_eq!(pace.wait(&[]), Duration::from_secs(60));
    }
}
