//! Every index once, whatever the sizes, the callers and their timing; what helpers do between regions and at the end.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::sync::atomic::AtomicBool;
use std::thread::ThreadId;

use super::*;

/// The next of a fixed series of numbers below `limit`.
fn draw(state: &mut u64, limit: usize) -> usize {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize % limit
}

/// One region over `count` indexes, each with some work, whose calls are counted in memory that lives no longer than
/// it.
fn check_region(count: usize, work: usize) {
    let calls: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
    // An ordinary sum per index: plain memory written by helpers and read by the caller.
    let mut sums = vec![0; count];
    crate::parallel::for_each_chunk(&mut sums, 1, |index, sum| {
        calls[index].fetch_add(1, Ordering::Relaxed);
        sum[0] = (0..index % (work + 1)).sum::<usize>() + index;
    });
    for (index, (calls, sum)) in calls.iter().zip(sums).enumerate() {
        assert_eq!(calls.load(Ordering::Relaxed), 1, "calls of {index} of {count}");
        assert_eq!(
            sum,
            (0..index % (work + 1)).sum::<usize>() + index,
            "{index} of {count}"
        );
    }
}

/// Waits until all helpers sleep; a team that polls for ever would never come out of it.
fn until_parked(threads: &Threads) {
    while !threads.desks.iter().all(Desk::is_parked) {
        thread::yield_now();
    }
}

/// Spins until `condition` holds on another thread's account.
fn until(condition: impl Fn() -> bool) {
    while !condition() {
        thread::yield_now();
    }
}

#[test]
fn each_index_comes_once_for_any_size_and_team() {
    for count in [0, 1, 2, 3, 5, 9] {
        let threads = Threads::new(count).unwrap();
        assert_eq!(threads.count(), count.max(1));
        let mut state = count as u64;
        threads.run(|| {
            for region in 0..300 {
                check_region(draw(&mut state, 70), region % 50);
            }
            check_region(5000, 3);
        });
    }
}

#[test]
fn callers_that_come_and_go_share_a_team_without_losing_an_index() {
    let threads = Threads::new(6).unwrap();
    thread::scope(|scope| {
        for caller in 0..5 {
            let threads = &threads;
            scope.spawn(move || {
                let mut state = caller;
                for _ in 0..60 {
                    threads.run(|| {
                        for _ in 0..draw(&mut state, 20) {
                            let (count, work) = (draw(&mut state, 40), draw(&mut state, 400));
                            check_region(count, work);
                        }
                    });
                    (0..draw(&mut state, 30)).for_each(|_| thread::yield_now());
                }
            });
        }
    });
    assert_eq!(threads.callers.load(Ordering::Relaxed), 0);
}

#[test]
fn helpers_sleep_between_regions_and_are_woken_by_the_next() {
    let threads = Threads::new(3).unwrap();
    for _ in 0..50 {
        until_parked(&threads);
        // Each index waits until another thread has come too: without a helper this would not end.
        let arrived = AtomicUsize::new(0);
        threads.run(|| {
            for_each_index(3, |_| {
                arrived.fetch_add(1, Ordering::Relaxed);
                until(|| arrived.load(Ordering::Relaxed) == 3);
            });
        });
    }
}

#[test]
fn a_helper_that_does_not_come_is_not_waited_for() {
    let threads = Threads::new(2).unwrap();
    let (is_busy, may_end) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        // One caller holds the only helper (and itself) in a region that ends when the other caller has finished its
        // own.
        scope.spawn(|| {
            threads.run(|| {
                let inside = AtomicUsize::new(0);
                for_each_index(2, |_| {
                    is_busy.store(inside.fetch_add(1, Ordering::Relaxed) == 1, Ordering::Relaxed);
                    until(|| may_end.load(Ordering::Relaxed));
                });
            });
        });
        until(|| is_busy.load(Ordering::Relaxed));
        // Past `run`, which would grant this caller one thread only.
        let calls = AtomicUsize::new(0);
        threads.for_each_index(1, 100, &|_| {
            calls.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(calls.load(Ordering::Relaxed), 100);
        may_end.store(true, Ordering::Relaxed);
    });
}

#[test]
fn callers_inside_divide_the_team() {
    let team = Threads::new(6).unwrap();
    assert_eq!(threads(), 1);
    for (callers, share) in [(1, 6), (2, 3), (3, 2), (4, 1), (9, 1)] {
        let all_inside = Barrier::new(callers);
        thread::scope(|scope| {
            for _ in 0..callers {
                scope.spawn(|| {
                    team.run(|| {
                        all_inside.wait();
                        assert_eq!(threads(), share, "{callers} callers");
                        all_inside.wait();
                    });
                });
            }
        });
    }
}

#[test]
fn outside_a_run_work_stays_on_the_caller() {
    let team = Threads::new(4).unwrap();
    team.run(|| assert_eq!(threads(), 4));
    let here = thread::current().id();
    for_each_index(1000, |_| assert_eq!(thread::current().id(), here));
}

#[test]
fn a_region_within_a_region_runs_where_it_is_called() {
    let team = Threads::new(4).unwrap();
    let calls = AtomicUsize::new(0);
    team.run(|| {
        for_each_index(50, |_| {
            let here = thread::current().id();
            assert_eq!(threads(), 1);
            for_each_index(20, |_| {
                assert_eq!(thread::current().id(), here);
                calls.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(threads(), 4, "the team is back after the region");
    });
    assert_eq!(calls.load(Ordering::Relaxed), 1000);
}

#[test]
fn a_run_within_a_run_has_the_inner_team_until_it_ends() {
    let (outer, inner) = (Threads::new(4).unwrap(), Threads::new(2).unwrap());
    outer.run(|| {
        inner.run(|| assert_eq!(threads(), 2));
        assert_eq!(threads(), 4);
    });
    assert_eq!(threads(), 1);
}

#[test]
fn a_panic_reaches_the_caller_and_the_team_goes_on() {
    let team = Threads::new(3).unwrap();
    let caller = thread::current().id();
    for on_caller in [true, false] {
        let arrived = AtomicUsize::new(0);
        let thrown = catch_unwind(AssertUnwindSafe(|| {
            team.run(|| {
                for_each_index(100, |_| {
                    // The first three indexes go to three threads, so that the panic is where it is meant to be.
                    let order = arrived.fetch_add(1, Ordering::Relaxed);
                    until(|| arrived.load(Ordering::Relaxed) >= 3);
                    let is_here = (thread::current().id() == caller) == on_caller;
                    assert!(order >= 3 || !is_here, "thrown on purpose");
                });
            });
        }));
        let message = thrown.unwrap_err().downcast::<&str>().unwrap();
        assert_eq!(*message, "thrown on purpose");
        assert_eq!(threads(), 1, "the thread has left the team");
        assert_eq!(team.callers.load(Ordering::Relaxed), 0);
        team.run(|| check_region(1000, 10));
    }
}

#[test]
fn dropping_a_team_ends_its_helpers_asleep_or_awake() {
    for round in 0..40 {
        let team = Threads::new(4).unwrap();
        if round % 2 == 0 {
            until_parked(&team);
        } else {
            team.run(|| check_region(round, 10));
        }
        let desks = Arc::downgrade(&team.desks);
        drop(team);
        assert_eq!(desks.strong_count(), 0, "a helper still has its desk");
    }
}

#[test]
fn helpers_are_named_and_the_process_has_one_team() {
    let team = Threads::new(3).unwrap();
    let names: Vec<_> = team.helpers.iter().map(|helper| helper.thread().name()).collect();
    assert_eq!(names, [Some("cpu-1"), Some("cpu-2")]);
    let (one, other) = (Threads::of_machine().unwrap(), Threads::of_machine().unwrap());
    assert!(Arc::ptr_eq(&one, &other));
    assert_eq!(one.count(), thread::available_parallelism().unwrap().get());
}

#[test]
fn a_region_uses_no_more_threads_than_its_share() {
    let team = Threads::new(8).unwrap();
    let seen: Mutex<HashSet<ThreadId>> = Mutex::default();
    team.run(|| {
        team.run(|| {
            // Two are counted inside: each has a half.
            for _ in 0..200 {
                seen.lock().unwrap().clear();
                for_each_index(64, |_| {
                    seen.lock().unwrap().insert(thread::current().id());
                });
                assert!(seen.lock().unwrap().len() <= 4);
            }
        });
    });
}
