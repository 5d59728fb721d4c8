//! One parallel region: a closure, and the counter that deals its indexes out.

use std::any::Any;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Calls of `each` with the indexes below `count`, by all threads that come to [`Region::work`].
pub(super) struct Region<'a> {
    each: &'a (dyn Fn(usize) + Sync),
    count: usize,
    /// What the first call that panicked threw.
    thrown: Mutex<Option<Box<dyn Any + Send>>>,
    next: Counter,
}

/// Alone on its cache lines: all threads write it, and read the rest.
#[repr(align(128))]
struct Counter(AtomicUsize);

impl<'a> Region<'a> {
    pub(super) fn new(count: usize, each: &'a (dyn Fn(usize) + Sync)) -> Region<'a> {
        Region {
            each,
            count,
            thrown: Mutex::new(None),
            next: Counter(AtomicUsize::new(0)),
        }
    }

    /// Takes part until no index is left. Never unwinds.
    pub(super) fn work(&self) {
        // Relaxed: no two threads draw the same index, and nothing else is told by it. The counter ends above `count`
        // by at most the number of threads.
        let draw = || self.next.0.fetch_add(1, Ordering::Relaxed);
        let work = || {
            let mut index = draw();
            while index < self.count {
                (self.each)(index);
                index = draw();
            }
        };
        // Unwind safe: what a panic leaves broken is seen by nobody but the caller, whom it reaches too.
        if let Err(thrown) = panic::catch_unwind(AssertUnwindSafe(work)) {
            // No further index is drawn.
            self.next.0.store(self.count, Ordering::Relaxed);
            let mut first = self.thrown.lock().unwrap_or_else(PoisonError::into_inner);
            match *first {
                None => *first = Some(thrown),
                // Its drop could panic again, here of all places.
                Some(_) => mem::forget(thrown),
            }
        }
    }

    /// Goes on with the panic of a call, if one panicked.
    pub(super) fn rethrow(self) {
        if let Some(thrown) = self.thrown.into_inner().unwrap_or_else(PoisonError::into_inner) {
            panic::resume_unwind(thrown);
        }
    }
}
