//! Reading memory from end to end: each thread its own part, in order, as a decode step reads the weights.

use std::hint::black_box;

use super::timed;
use crate::KernelError;
#[cfg(target_arch = "x86_64")]
use crate::simd;
use crate::storage::zeroed;

/// Numbers of one stride: two cache lines.
const STRIDE: usize = 16;

/// Memory to read.
pub(super) struct Buffer {
    numbers: Vec<u64>,
    threads: usize,
}

impl Buffer {
    /// About `bytes` bytes for `threads` threads, written once by the thread that will read them: pages that nobody has
    /// written are all the same page of zeros, which lies in the cache.
    pub(super) fn new(bytes: usize, threads: usize) -> Result<Buffer, KernelError> {
        let part = (bytes / size_of::<u64>() / threads).next_multiple_of(STRIDE);
        let mut numbers: Vec<u64> = zeroed(part * threads)?;
        std::thread::scope(|scope| {
            for part in numbers.chunks_exact_mut(part) {
                scope.spawn(|| part.fill(1));
            }
        });
        Ok(Buffer { numbers, threads })
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.numbers.as_slice())
    }

    /// Reads everything once. Returns the seconds that it took.
    pub(super) fn read(&self) -> f64 {
        let part = self.numbers.len() / self.threads;
        timed(self.threads, &|index| {
            black_box(sum(&self.numbers[index * part..(index + 1) * part]));
        })
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
    fn the_threads_parts_make_the_whole_and_every_page_was_written() {
        for threads in [1, 2, 3, 7] {
            let buffer = Buffer::new(100_000, threads).unwrap();
            assert!(buffer.bytes() >= 100_000 - 8 * threads, "{} bytes", buffer.bytes());
            assert!(buffer.numbers.iter().all(|number| *number == 1));
            assert!(buffer.read() > 0.0);
        }
    }
}
