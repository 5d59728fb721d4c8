//! Reading memory from end to end: each thread its own part, in order, as a decode step reads the weights.

use std::hint::black_box;

use super::timed;
use crate::KernelError;
#[cfg(target_arch = "x86_64")]
use crate::simd;
use crate::storage::zeroed;

/// Numbers of one stride: two cache lines.
const STRIDE: usize = 16;
/// Passes that read everything once: by the time that a pass comes to the same memory again, the others have driven it out
/// of every cache.
const PASSES: usize = 4;

/// Memory to read.
pub(super) struct Buffer {
    numbers: Vec<u64>,
    threads: usize,
}

impl Buffer {
    /// About `bytes` bytes for `threads` threads, written once by the thread that will read them: pages that nobody has
    /// written are all the same page of zeros, which lies in the cache.
    pub(super) fn new(bytes: usize, threads: usize) -> Result<Buffer, KernelError> {
        let part = (bytes / size_of::<u64>() / threads).next_multiple_of(STRIDE * PASSES);
        let mut numbers: Vec<u64> = zeroed(part * threads)?;
        std::thread::scope(|scope| {
            for part in numbers.chunks_exact_mut(part) {
                scope.spawn(|| part.fill(1));
            }
        });
        Ok(Buffer { numbers, threads })
    }

    /// Bytes that one pass reads.
    pub(super) fn pass_bytes(&self) -> usize {
        size_of_val(self.numbers.as_slice()) / PASSES
    }

    /// Reads a quarter of each thread's part, another one in the next pass. Returns the seconds that it took.
    pub(super) fn read(&self, pass: usize) -> f64 {
        timed(self.threads, &|thread| {
            black_box(sum(self.piece(thread, pass)));
        })
    }

    fn piece(&self, thread: usize, pass: usize) -> &[u64] {
        let length = self.numbers.len() / self.threads / PASSES;
        let start = (thread * PASSES + pass % PASSES) * length;
        &self.numbers[start..start + length]
    }
}

/// The sum of `numbers`, wrapping; their count is a multiple of the stride.
fn sum(numbers: &[u64]) -> u64 {
    let strides = numbers.as_chunks::<STRIDE>().0;
    #[cfg(target_arch = "x86_64")]
    if simd::has_avx2() {
        // SAFETY: AVX2 was just found.
        return unsafe { sum_avx2(strides) };
    }
    sum_scalar(strides)
}

/// The same in registers of 32 bytes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_avx2(strides: &[[u64; STRIDE]]) -> u64 {
    sum_scalar(strides)
}

#[inline(always)]
fn sum_scalar(strides: &[[u64; STRIDE]]) -> u64 {
    let mut lanes = [0u64; STRIDE];
    for stride in strides {
        for (lane, number) in lanes.iter_mut().zip(stride) {
            *lane = lane.wrapping_add(*number);
        }
    }
    lanes.into_iter().fold(0, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_read_once_in_any_registers() {
        let numbers: Vec<u64> = (0..1600)
            .map(|index: u64| index.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .collect();
        let truth = numbers.iter().fold(0u64, |sum, number| sum.wrapping_add(*number));
        assert_eq!(sum(&numbers), truth);
        assert_eq!(sum_scalar(numbers.as_chunks().0), truth);
    }

    #[test]
    fn four_passes_of_all_threads_read_every_number_once_and_every_page_was_written() {
        for threads in [1, 2, 3, 7] {
            let mut buffer = Buffer::new(100_000, threads).unwrap();
            assert!(buffer.numbers.iter().all(|number| *number == 1));
            assert!(buffer.read(5) > 0.0);
            (0u64..)
                .zip(&mut buffer.numbers)
                .for_each(|(index, number)| *number = index);
            let pieces = |pass| (0..threads).map(move |thread| (thread, pass));
            let places = (0..PASSES).flat_map(pieces);
            let mut read: Vec<u64> = places
                .flat_map(|(thread, pass)| buffer.piece(thread, pass))
                .copied()
                .collect();
            read.sort_unstable();
            assert_eq!(read, buffer.numbers);
            assert_eq!(buffer.pass_bytes() * PASSES, 8 * buffer.numbers.len());
            assert!(buffer.piece(0, 0).len().is_multiple_of(STRIDE));
        }
    }
}
