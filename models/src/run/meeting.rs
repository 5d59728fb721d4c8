//! Where devices that compute parts of the same rows exchange them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use crate::device::Fault;

/// Looks at the round's number before a device sleeps: some tens of microseconds, as long as the devices are apart when
/// they compute equal parts.
const LOOKS: usize = 4_000;

/// The table at which the devices of a model in parts meet, some times in every layer.
pub(crate) struct Meeting {
    /// What each part has laid out, by turns: the others read one while the next is written.
    places: Vec<[RwLock<Vec<u32>>; 2]>,
    present: Mutex<Present>,
    woken: Condvar,
    round: AtomicU64,
}

#[derive(Default)]
struct Present {
    arrived: usize,
    failure: Option<String>,
}

/// One part's place at the meeting, and what is laid out and picked up there.
pub(crate) struct Seat {
    meeting: Arc<Meeting>,
    part: usize,
    round: u64,
    /// `[rows, words of this part]`, to be laid out.
    pub(crate) own: Vec<u32>,
    /// `[rows, words of all parts]`, the parts in their order.
    pub(crate) whole: Vec<u32>,
}

impl Meeting {
    /// A meeting of `parts` devices, and their seats.
    pub(crate) fn new(parts: usize) -> (Arc<Meeting>, Vec<Seat>) {
        let meeting = Arc::new(Meeting {
            places: (0..parts).map(|_| Default::default()).collect(),
            present: Mutex::default(),
            woken: Condvar::new(),
            round: AtomicU64::new(0),
        });
        let seat = |part| Seat {
            meeting: Arc::clone(&meeting),
            part,
            round: 0,
            own: Vec::new(),
            whole: Vec::new(),
        };
        let seats = (0..parts).map(seat).collect();
        (meeting, seats)
    }

    /// Ends the meeting: whoever waits, now or later, is told `reason`.
    pub(crate) fn fail(&self, reason: &str) {
        self.lock().failure.get_or_insert_with(|| reason.to_owned());
        self.woken.notify_all();
    }

    /// Returns when all parts have come to round `round`.
    fn wait(&self, round: u64) -> Result<(), Fault> {
        let mut present = self.lock();
        present.arrived += 1;
        if present.arrived == self.places.len() {
            present.arrived = 0;
            // Release: who sees the new round sees what was laid out before.
            self.round.store(round + 1, Ordering::Release);
            self.woken.notify_all();
        }
        drop(present);
        for _ in 0..LOOKS {
            if self.round.load(Ordering::Acquire) > round {
                return Ok(());
            }
            std::hint::spin_loop();
        }
        let mut present = self.lock();
        while self.round.load(Ordering::Acquire) <= round {
            if let Some(failure) = &present.failure {
                return Err(failure.clone().into());
            }
            present = self.woken.wait(present).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    /// Nothing is half done while the lock is held, so a panic elsewhere has left it whole.
    fn lock(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Lays out `own` and returns when `whole` has the whole rows.
    ///
    /// * `widths`  of every part's rows, in words
    ///
    /// # Errors
    /// Another part failed.
    pub(crate) fn join(&mut self, widths: &[usize]) -> Result<(), Fault> {
        let side = usize::from(!self.round.is_multiple_of(2));
        let places = &self.meeting.places;
        let own_width = widths.get(self.part).copied().unwrap_or(0).max(1);
        if let Some(place) = places.get(self.part) {
            let mut place = place[side].write().unwrap_or_else(PoisonError::into_inner);
            place.clear();
            place.extend_from_slice(&self.own);
        }
        self.meeting.wait(self.round)?;
        self.round += 1;
        let (rows, total) = (self.own.len() / own_width, widths.iter().sum::<usize>());
        self.whole.clear();
        self.whole.resize(rows * total, 0);
        let mut first = 0;
        for (place, width) in places.iter().zip(widths) {
            let part = place[side].read().unwrap_or_else(PoisonError::into_inner);
            for (row, part) in self
                .whole
                .chunks_exact_mut(total)
                .zip(part.chunks_exact((*width).max(1)))
            {
                row[first..first + width].copy_from_slice(part);
            }
            first += width;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_gets_the_whole_rows_round_after_round() {
        let columns = [3, 1, 2];
        let (_, seats) = Meeting::new(columns.len());
        let all = |round: usize, row: usize, column: usize| u32::try_from(1000 * round + 10 * row + column).unwrap();
        std::thread::scope(|scope| {
            for (part, mut seat) in seats.into_iter().enumerate() {
                scope.spawn(move || {
                    let first: usize = columns[..part].iter().sum();
                    for round in 0..200 {
                        let rows = 1 + round % 4;
                        seat.own = (0..rows)
                            .flat_map(|row| (first..first + columns[part]).map(move |column| all(round, row, column)))
                            .collect();
                        seat.join(&columns).unwrap();
                        let expected: Vec<u32> = (0..rows)
                            .flat_map(|row| (0..6).map(move |column| all(round, row, column)))
                            .collect();
                        assert_eq!(seat.whole, expected, "round {round}");
                    }
                });
            }
        });
    }

    #[test]
    fn who_waits_for_a_part_that_failed_is_told_why() {
        let (meeting, mut seats) = Meeting::new(2);
        let mut first = seats.remove(0);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(move || first.join(&[1, 1]));
            meeting.fail("the card fell off the bus");
            let error = waiting.join().unwrap().unwrap_err().to_string();
            assert_eq!(error, "the card fell off the bus");
        });
    }
}
