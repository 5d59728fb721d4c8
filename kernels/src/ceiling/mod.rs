//! What this machine can do at most: bytes read from memory and 8-bit products, with all threads, measured.
//!
//! The two ends of every model's speed. A token decoded alone reads every matrix once, so memory is its limit; a prompt
//! multiplies what it has read by hundreds of tokens, so the multipliers are. Both are figures of the machine, not of our
//! kernels: a share of them says how much a better kernel could still give.

mod multiply;
mod read;

use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::{KernelError, Simd};

/// Bytes of the buffer that is read: many times the largest cache that a few cores share.
const READ_BYTES: usize = 512 << 20;
/// Rounds of 8-bit products in one pass: some milliseconds.
const MULTIPLY_GROUPS: u64 = 1 << 19;
/// Passes at least; the best one counts, since everything else that a machine does only makes a pass slower.
const PASSES_MIN: usize = 8;
/// Passes of a measurement go on for so long.
const MEASURE_TIME: Duration = Duration::from_millis(400);
/// Those of a glance.
const GLANCE_TIME: Duration = Duration::from_millis(80);

/// The limits of this machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ceiling {
    /// Threads that measured it.
    pub threads: usize,
    /// Bytes that all threads together read from memory in a second, each from one place onwards.
    pub read_bytes_per_second: f64,
    /// Operations on 8-bit integers of all threads together in a second; one multiplication and its addition are two.
    pub int8_operations_per_second: f64,
    /// The instructions that the products were made with.
    pub simd: Simd,
}

/// Measures both limits with `threads` threads, at least one, in about a second. Holds 512 MiB meanwhile.
///
/// # Errors
/// `NoMemory` for the buffer that is read.
pub fn measure(threads: usize) -> Result<Ceiling, KernelError> {
    within(threads, MEASURE_TIME)
}

/// The same in about half a second, for a figure that is only compared roughly.
///
/// # Errors
/// As [`measure`].
pub fn glance(threads: usize) -> Result<Ceiling, KernelError> {
    within(threads, GLANCE_TIME)
}

fn within(threads: usize, time: Duration) -> Result<Ceiling, KernelError> {
    let threads = threads.max(1);
    let buffer = read::Buffer::new(READ_BYTES, threads)?;
    let read_seconds = best(time, |pass| buffer.read(pass));
    let simd = Simd::in_use();
    let multiply_seconds = best(time, |_| {
        timed(threads, &|_| {
            multiply::run(simd, MULTIPLY_GROUPS);
        })
    });
    let products = multiply::products(simd, MULTIPLY_GROUPS) as f64 * threads as f64;
    Ok(Ceiling {
        threads,
        read_bytes_per_second: buffer.pass_bytes() as f64 / read_seconds,
        int8_operations_per_second: 2.0 * products / multiply_seconds,
        simd,
    })
}

/// The shortest of several passes, in seconds.
///
/// A pass is short, so that on a machine that does other things some passes fall between them.
fn best(time: Duration, seconds_of: impl Fn(usize) -> f64) -> f64 {
    let begin = Instant::now();
    let (mut shortest, mut passes) = (f64::INFINITY, 0);
    while passes < PASSES_MIN || begin.elapsed() < time {
        shortest = shortest.min(seconds_of(passes));
        passes += 1;
    }
    shortest
}

/// Runs `work(thread_index)` on `threads` threads at once. Returns the seconds from the first one's start to the last
/// one's end.
fn timed(threads: usize, work: &(dyn Fn(usize) + Sync)) -> f64 {
    let barrier = &Barrier::new(threads);
    let one = move |index: usize| {
        barrier.wait();
        let start = Instant::now();
        work(index);
        (start, Instant::now())
    };
    let spans: Vec<_> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|index| scope.spawn(move || one(index))).collect();
        let own = one(0);
        let others = others.into_iter().filter_map(|thread| thread.join().ok());
        others.chain([own]).collect()
    });
    let start = spans.iter().map(|(start, _)| *start).min();
    let end = spans.iter().map(|(_, end)| *end).max();
    match (start, end) {
        (Some(start), Some(end)) => end.duration_since(start).as_secs_f64().max(1e-9),
        _ => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn every_thread_works_once() {
        for threads in [1, 2, 5] {
            let seen = AtomicU64::new(0);
            let seconds = timed(threads, &|index| {
                seen.fetch_add(1 << (8 * index), Ordering::SeqCst);
            });
            let once_each = (0..threads).map(|index| 1 << (8 * index)).sum::<u64>();
            assert_eq!(seen.into_inner(), once_each);
            assert!(seconds > 0.0 && seconds.is_finite());
        }
    }

    #[test]
    fn the_machine_has_limits() {
        let ceiling = measure(2).unwrap();
        assert_eq!((ceiling.threads, ceiling.simd), (2, Simd::in_use()));
        for figure in [ceiling.read_bytes_per_second, ceiling.int8_operations_per_second] {
            assert!(figure > 0.0 && figure.is_finite(), "{ceiling:?}");
        }
    }
}
