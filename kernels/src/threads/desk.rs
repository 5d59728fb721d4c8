//! One helper's desk: a single word through which callers offer it regions and it sleeps, wakes and ends.
//!
//! ```text
//!              offer                 take                 done
//!   FREE    ----------->  region  ---------->  region|1  ------>  FREE
//!   FREE    <-----------  region     (reclaim: the caller was done first)
//!   FREE    -> PARKED  -- offer, and wake -->  region
//!   FREE, PARKED  -- close -->  CLOSED
//! ```
//!
//! The helper makes the steps `take`, `done` and FREE -> PARKED, callers the others. Every step but `done` is a
//! read-modify-write, and every `done` a release store of the same helper. So whatever value a caller reads after its
//! `region|1` is that `done`, a later one, or stands in the release sequence of either: an acquire load of it sees all
//! that the helper did in the region.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::thread::{self, Thread};

use super::patience::Patience;
use super::region::Region;

/// Alone on its cache lines (two, since they are fetched in pairs): its helper polls it.
#[repr(align(128))]
#[derive(Default)]
pub(super) struct Desk {
    state: AtomicPtr<Region<'static>>,
}

/// What `AtomicPtr` does not ask for: helpers use a region that a caller made.
const _: () = {
    const fn is_shared<T: Sync>() {}
    is_shared::<Region<'static>>();
};

/// The helper has no work and polls, or is on its way to.
const FREE: *mut Region<'static> = ptr::null_mut();
/// The helper sleeps, or is about to. Regions are aligned to far more than these small addresses, and to more than one.
const PARKED: *mut Region<'static> = ptr::without_provenance_mut(2);
/// The helper is to end.
const CLOSED: *mut Region<'static> = ptr::without_provenance_mut(4);

/// The state while `region` is offered. Regions that exist at one time differ in it.
fn offered(region: &Region<'_>) -> *mut Region<'static> {
    ptr::from_ref(region).cast_mut().cast()
}

/// The state while the helper works on an offered region.
fn taken(offered: *mut Region<'static>) -> *mut Region<'static> {
    offered.map_addr(|address| address | 1)
}

impl Desk {
    /// Offers `region` to the helper, whose thread is woken if it sleeps; false if it has another one.
    ///
    /// # Safety
    /// `region` stays where it is until [`Desk::reclaim`] has returned.
    pub(super) unsafe fn offer(&self, region: &Region<'_>, helper: &Thread) -> bool {
        let offer = offered(region);
        let mut seen = self.state.load(Ordering::Relaxed);
        while seen == FREE || seen == PARKED {
            // Release: who takes the offer sees the region as it was made.
            match self
                .state
                .compare_exchange_weak(seen, offer, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => {
                    // Whoever ends PARKED wakes, and does so before it can reclaim: no other caller finds the desk FREE
                    // with its helper asleep for good.
                    if seen == PARKED {
                        helper.unpark();
                    }
                    return true;
                }
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Takes the offer of `region` back or, if the helper has taken it, waits until it is done.
    pub(super) fn reclaim(&self, region: &Region<'_>) {
        let offer = offered(region);
        let reclaimed = self
            .state
            .compare_exchange(offer, FREE, Ordering::Relaxed, Ordering::Relaxed);
        if reclaimed.is_ok() {
            return;
        }
        let mut patience = Patience::of_caller();
        // Acquire: see the head of this file.
        while self.state.load(Ordering::Acquire) == taken(offer) {
            patience.pause();
        }
    }

    /// Tells the helper to end; it may have to be woken to hear it. No region is offered or taken.
    pub(super) fn close(&self) {
        self.state.swap(CLOSED, Ordering::Relaxed);
    }

    /// The helper's life.
    pub(super) fn serve(&self) {
        while let Some(region) = self.take() {
            // SAFETY: `take` changed the state from offered to taken, so that the caller of `offer` waits in `reclaim`
            // for the store below; until then it keeps the region where it is. The region is not used after the store.
            unsafe { &*region }.work();
            // Release: the caller that reads this sees what `work` wrote.
            self.state.store(FREE, Ordering::Release);
        }
    }

    /// The next offered region, now taken; none once the desk is closed.
    fn take(&self) -> Option<*const Region<'static>> {
        let mut patience = Patience::of_helper();
        loop {
            let seen = self.state.load(Ordering::Relaxed);
            if seen == CLOSED {
                return None;
            }
            if seen != FREE {
                // Acquire: the region is seen as it was when offered. An offer that was reclaimed meanwhile is missed.
                let took = self
                    .state
                    .compare_exchange(seen, taken(seen), Ordering::Acquire, Ordering::Relaxed);
                if took.is_ok() {
                    return Some(seen);
                }
            } else if !patience.pause() {
                self.park();
                patience = Patience::of_helper();
            }
        }
    }

    /// Sleeps until a caller has ended PARKED.
    fn park(&self) {
        let parked = self
            .state
            .compare_exchange(FREE, PARKED, Ordering::Relaxed, Ordering::Relaxed);
        if parked.is_ok() {
            // A wake-up may be one that came late for an earlier sleep.
            while self.state.load(Ordering::Relaxed) == PARKED {
                thread::park();
            }
        }
    }

    /// Whether the helper sleeps or is about to.
    #[cfg(test)]
    pub(super) fn is_parked(&self) -> bool {
        self.state.load(Ordering::Relaxed) == PARKED
    }
}
