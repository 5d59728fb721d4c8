//! What others want of an engine, where its thread sleeps when there is nothing.
//!
//! Bounded by the dispatcher, which counts jobs before it puts them in; pokes melt into one flag.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::sequence::Sequence;

/// The engine's mail.
#[derive(Default)]
pub(crate) struct Inbox {
    mail: Mutex<Mail>,
    arrived: Condvar,
}

#[derive(Default)]
struct Mail {
    sequences: VecDeque<Sequence>,
    /// A client read or went away.
    poked: bool,
    /// The engine shall stop after its step.
    stop: bool,
    /// Nobody will read this any more.
    closed: bool,
}

impl Mail {
    fn has_mail(&self) -> bool {
        !self.sequences.is_empty() || self.poked || self.stop
    }
}

impl Inbox {
    /// Puts a sequence in; gives it back if the engine has ended.
    pub(crate) fn put(&self, sequence: Sequence) -> Option<Sequence> {
        let mut mail = self.lock();
        if mail.closed {
            return Some(sequence);
        }
        mail.sequences.push_back(sequence);
        drop(mail);
        self.arrived.notify_one();
        None
    }

    /// Wakes the engine to look at its sequences again.
    pub(crate) fn poke(&self) {
        self.lock().poked = true;
        self.arrived.notify_one();
    }

    /// Asks the engine to stop.
    pub(crate) fn stop(&self) {
        self.lock().stop = true;
        self.arrived.notify_one();
    }

    /// Whether [`Inbox::stop`] was called.
    pub(crate) fn is_asked_to_stop(&self) -> bool {
        self.lock().stop
    }

    /// Takes everything, without waiting.
    pub(crate) fn collect(&self, take: impl FnMut(Sequence)) {
        let mut mail = self.lock();
        mail.poked = false;
        let sequences = std::mem::take(&mut mail.sequences);
        drop(mail);
        sequences.into_iter().for_each(take);
    }

    /// Whether [`Inbox::wait`] would return at once.
    #[cfg(test)]
    pub(crate) fn has_mail(&self) -> bool {
        self.lock().has_mail()
    }

    /// Sleeps until there is something to collect or a poke came since the last [`Inbox::collect`].
    pub(crate) fn wait(&self) {
        let mail = self.arrived.wait_while(self.lock(), |mail| !mail.has_mail());
        drop(mail.unwrap_or_else(PoisonError::into_inner));
    }

    /// Takes no more, and gives out what is left.
    pub(crate) fn close(&self) -> VecDeque<Sequence> {
        let mut mail = self.lock();
        mail.closed = true;
        std::mem::take(&mut mail.sequences)
    }

    fn lock(&self) -> MutexGuard<'_, Mail> {
        // A panic elsewhere cannot leave half a letter: every change here is one assignment.
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
