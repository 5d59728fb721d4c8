//! The threads that kernels spread their work over, made for short regions: a decode step has some 150 of them, of 20
//! to 500 microseconds each.
//!
//! A caller enters a team with [`Threads::run`]; from then on the kernels it calls offer their regions to the team's
//! helpers, one desk each ([`desk`]). Whoever takes part in a region draws indexes from one counter ([`region`]), so
//! that a slow or busy core draws fewer. Callers never wait for each other, nor for a helper that has not begun.

mod desk;
mod patience;
mod region;

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::KernelError;
use desk::Desk;
use region::Region;

/// A team of helper threads, which any number of callers share.
///
/// Helpers poll for some time after a region and then sleep: a team without callers uses no CPU. They end when the last
/// owner lets go of the team.
pub struct Threads {
    desks: Arc<[Desk]>, // One per helper.
    helpers: Vec<JoinHandle<()>>,
    /// How many callers are inside `run`.
    callers: AtomicUsize,
}

impl Threads {
    /// A team of `count` threads, at least one: the caller itself and `count - 1` helpers.
    ///
    /// # Errors
    /// `Threads` if the system starts no more threads.
    pub fn new(count: usize) -> Result<Arc<Threads>, KernelError> {
        let mut threads = Threads {
            desks: (1..count).map(|_| Desk::default()).collect(),
            helpers: Vec::with_capacity(count.saturating_sub(1)),
            callers: AtomicUsize::new(0),
        };
        for index in 1..count {
            let desks = Arc::clone(&threads.desks);
            let helper = thread::Builder::new()
                .name(format!("cpu-{index}"))
                .spawn(move || desks[index - 1].serve());
            threads.helpers.push(helper.map_err(|error| KernelError::Threads {
                threads: count,
                reason: error.to_string(),
            })?);
        }
        Ok(Arc::new(threads))
    }

    /// The process's own team, made when first asked for: as many threads as the process may use cores.
    ///
    /// That number is [`thread::available_parallelism`], which on Linux is the smaller of the cores in the affinity
    /// mask and the cgroup's CPU quota (v1 or v2), as of the first call. Its documentation names as exceptions a
    /// sandbox that hides either and a caller that is itself pinned to fewer cores.
    ///
    /// # Errors
    /// As [`Threads::new`]; the next call tries again.
    pub fn of_machine() -> Result<Arc<Threads>, KernelError> {
        static OF_MACHINE: Mutex<Option<Arc<Threads>>> = Mutex::new(None);
        let mut made = OF_MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(threads) = &*made {
            return Ok(Arc::clone(threads));
        }
        let threads = Threads::new(thread::available_parallelism().map_or(1, usize::from))?;
        Ok(Arc::clone(made.insert(threads)))
    }

    /// Threads of the team, a caller included.
    pub fn count(&self) -> usize {
        self.desks.len() + 1
    }

    /// Runs `step` on this thread; the kernels it calls spread their work over the team.
    ///
    /// While `k` callers are inside, each uses at most `count / k` threads, itself included, and at least itself:
    /// engines that are all busy run side by side without waiting for one another, and one that is alone has the whole
    /// team.
    pub fn run<R>(self: &Arc<Self>, step: impl FnOnce() -> R) -> R {
        let _present = Present::enter(Some(Arc::clone(self)));
        let _caller = Caller::enter(self);
        step()
    }

    /// The most threads that a caller's next region may use.
    pub(crate) fn share(&self) -> usize {
        // Relaxed: a number that is a moment old makes a region wider or narrower, never wrong.
        (self.count() / self.callers.load(Ordering::Relaxed).max(1)).max(1)
    }

    /// Calls `each` once with every index below `count`, on this thread and up to `helpers` others; returns when all
    /// are done and no helper knows of `each` any more.
    fn for_each_index(&self, helpers: usize, count: usize, each: &(dyn Fn(usize) + Sync)) {
        let region = Region::new(count, each);
        let (mut wanted, mut reached) = (helpers, 0);
        for (index, (desk, helper)) in self.desks.iter().zip(&self.helpers).enumerate() {
            if wanted == 0 {
                break;
            }
            // SAFETY: all desks up to the last that took the offer are reclaimed below, while `region` lives; nothing
            // between unwinds, since `work` catches what `each` throws.
            if unsafe { desk.offer(&region, helper.thread()) } {
                (wanted, reached) = (wanted - 1, index + 1);
            }
        }
        region.work();
        for desk in &self.desks[..reached] {
            desk.reclaim(&region);
        }
        region.rethrow();
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Nobody is inside `run`, whose caller owns the team, so that no desk has a region.
        self.desks.iter().for_each(Desk::close);
        for helper in self.helpers.drain(..) {
            helper.thread().unpark();
            // A helper catches every panic of a region: there is no other to hear of.
            let _ = helper.join();
        }
    }
}

/// One caller inside `run`, counted until it is dropped.
struct Caller<'a>(&'a AtomicUsize);

impl<'a> Caller<'a> {
    fn enter(threads: &'a Threads) -> Caller<'a> {
        threads.callers.fetch_add(1, Ordering::Relaxed);
        Caller(&threads.callers)
    }
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

thread_local! {
    /// The team that this thread's kernels spread their work over.
    static PRESENT: Cell<Option<Arc<Threads>>> = const { Cell::new(None) };
}

/// Sets this thread's team and brings the one before back when it is dropped.
struct Present {
    before: Option<Arc<Threads>>,
}

impl Present {
    fn enter(threads: Option<Arc<Threads>>) -> Present {
        let before = PRESENT.replace(threads);
        Present { before }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        PRESENT.set(self.before.take());
    }
}

/// The most threads that a region begun now would use: one outside [`Threads::run`] and within another region.
pub(crate) fn threads() -> usize {
    let outside = Present::enter(None);
    outside.before.as_ref().map_or(1, |threads| threads.share())
}

/// Calls `each` once with every index below `count`, in any order, spread over this thread's team; returns when all are
/// done. A region within a region runs on the thread that comes to it.
///
/// A panic of `each` ends the region early and goes on here.
pub(crate) fn for_each_index(count: usize, each: impl Fn(usize) + Sync) {
    // For the time of the region this thread has no team, as its helpers have none.
    let outside = Present::enter(None);
    match &outside.before {
        Some(threads) if count > 1 && threads.share() > 1 => {
            threads.for_each_index(threads.share().min(count) - 1, count, &each);
        }
        _ => (0..count).for_each(each),
    }
}

#[cfg(test)]
mod tests;
