//! Bytes that can be read into from a file and used as blocks where they lie: no second copy.

use std::alloc::{Layout, alloc_zeroed};

use candle_core::quantized::k_quants::{
    BlockQ2K, BlockQ3K, BlockQ4_0, BlockQ4K, BlockQ5_0, BlockQ5K, BlockQ6K, BlockQ8_0, BlockQ8K,
};
use half::{bf16, f16};

use crate::KernelError;
use crate::activations::{CandleQ8_0, CandleQ8K, Q8_0, Q8K};
use crate::matrix::tile::{TileQ4K, TileQ6K, TileQ8_0};

/// A type that bytes may be reinterpreted as.
///
/// # Safety
/// The type has no padding, every bit pattern is a valid value, it holds no pointer, and its alignment is at most [`LINE`].
pub(crate) unsafe trait Plain: Send + Sync {}

macro_rules! plain {
    ($($block:ty),*) => {$(
        // SAFETY: `repr(C)` arrays of integers and f16 (or a bare number) whose sizes sum to the size of the whole, which
        // candle and `no_padding` below assert at compile time; any bits are valid.
        unsafe impl Plain for $block {}
        const _: () = assert!(align_of::<$block>() <= LINE);
    )*};
}
plain!(
    i8, u16, u64, f32, f16, bf16, BlockQ4_0, BlockQ5_0, BlockQ8_0, BlockQ2K, BlockQ3K, BlockQ4K, BlockQ5K, BlockQ6K,
    BlockQ8K, CandleQ8_0, CandleQ8K, Q8_0, Q8K, TileQ4K, TileQ6K, TileQ8_0
);
/// No padding: the fields' sizes sum to the whole.
const _: () = {
    assert!(size_of::<Q8_0>() == 4 + 4 + 32 && size_of::<CandleQ8_0>() == 2 + 32);
    assert!(size_of::<Q8K>() == 4 + 256 + 32 + 16);
    assert!(size_of::<CandleQ8K>() == 4 + 256 + 32);
    assert!(size_of::<TileQ4K>() == 2048 + 128 + 128 + 32 + 32);
    assert!(size_of::<TileQ6K>() == 2048 + 1024 + 256 + 32 + 32);
    assert!(size_of::<TileQ8_0>() == 512 + 32);
};

/// The bytes of `values`.
pub(crate) fn bytes_of<T: Plain>(values: &[T]) -> &[u8] {
    let bytes = std::mem::size_of_val(values);
    // SAFETY: `Plain` types have no padding, so all their bytes are initialised; the length is that of the slice.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), bytes) }
}

/// The bytes of `values`, to be written.
pub(crate) fn bytes_of_mut<T: Plain>(values: &mut [T]) -> &mut [u8] {
    let bytes = std::mem::size_of_val(values);
    // SAFETY: as in `bytes_of`; and any bytes written are valid values of a `Plain` type.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast::<u8>(), bytes) }
}

/// `count` zeroed values, on pages that are only touched when written; `NoMemory` where there is no such room.
///
/// Not through `vec!`, which ends the process then; and not by asking with `try_reserve` first, because a compiler may
/// leave out a question whose answer is given back.
pub(crate) fn zeroed<T: Plain>(count: usize) -> Result<Vec<T>, KernelError> {
    let bytes = count.saturating_mul(size_of::<T>());
    let layout = Layout::array::<T>(count).map_err(|_| KernelError::NoMemory { bytes })?;
    if layout.size() == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the layout's size is not 0, as just checked.
    let start = unsafe { alloc_zeroed(layout) }.cast::<T>();
    if start.is_null() {
        return Err(KernelError::NoMemory { bytes });
    }
    // SAFETY: the global allocator gave `start` for exactly this layout, and zero bytes are valid values of `Plain` types.
    Ok(unsafe { Vec::from_raw_parts(start, count, count) })
}

/// `bytes` seen as blocks; a tail shorter than one block is left out.
///
/// # Panics
/// If the bytes do not start at a block's alignment: they are a storage's, or other blocks of that alignment.
pub(crate) fn blocks_of<T: Plain>(bytes: &[u8]) -> &[T] {
    assert!(bytes.as_ptr().cast::<T>().is_aligned());
    let count = bytes.len() / size_of::<T>();
    // SAFETY: `count * size_of::<T>()` bytes are within the slice, the start is aligned as just checked, and any bits are
    // valid values of a `Plain` type.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast::<T>(), count) }
}

/// Bytes of a [`Storage`] seen as blocks, to be written; a tail shorter than one block is left out.
///
/// # Panics
/// If the bytes do not start at a block's alignment: they come from a storage's start, a whole number of blocks in.
pub(crate) fn blocks_mut<T: Plain>(bytes: &mut [u8]) -> &mut [T] {
    assert!(bytes.as_ptr().cast::<T>().is_aligned());
    let count = bytes.len() / size_of::<T>();
    // SAFETY: `count * size_of::<T>()` bytes are within the slice, the start is aligned as just checked, and any bits are
    // valid values of a `Plain` type, both ways.
    unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast::<T>(), count) }
}

/// Bytes of a cache line, and the largest alignment of a [`Plain`] type.
const LINE: usize = 64;

/// Zeroed bytes that start on a cache line. Pages are only touched when written.
pub(crate) struct Storage {
    words: Vec<u64>,
    start: usize,
    bytes: usize,
}

impl Storage {
    /// Asks for `bytes` zeroed bytes.
    pub(crate) fn zeroed(bytes: usize) -> Result<Storage, KernelError> {
        // Words, and a line more than needed: memory of a larger alignment would be zeroed by writing it.
        let words: Vec<u64> = zeroed(bytes.saturating_add(LINE).div_ceil(size_of::<u64>()))?;
        ask_for_huge_pages(&words);
        let start = words.as_ptr().align_offset(LINE) * size_of::<u64>();
        Ok(Storage { words, start, bytes })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &bytes_of(&self.words)[self.start..self.start + self.bytes]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytes_of_mut(&mut self.words)[self.start..self.start + self.bytes]
    }

    /// The storage seen as blocks; a tail shorter than one block is left out.
    pub(crate) fn blocks<T: Plain>(&self) -> &[T] {
        blocks_of(self.bytes())
    }
}

/// Asks the system to back `words` with pages of 2 MB where it can: fewer faults while they are filled, and fewer
/// interruptions of the processor's reading ahead, which ends at a page.
///
/// The pages that the words begin and end in are asked for too: neighbouring matrices then lie in one stretch, without
/// small pages between them.
#[cfg(target_os = "linux")]
fn ask_for_huge_pages(words: &[u64]) {
    const PAGE: usize = 4096;
    let start = words.as_ptr().addr();
    let (first, end) = (start / PAGE * PAGE, (start + size_of_val(words)).next_multiple_of(PAGE));
    if end - first < 64 * PAGE {
        return; // A vector, in a heap that it shares with others.
    }
    let begin = words.as_ptr().wrapping_byte_sub(start - first).cast_mut();
    // SAFETY: the advice changes no byte of the pages, whoever owns them. Whether it is taken does not matter.
    unsafe { libc::madvise(begin.cast(), end - first, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn ask_for_huge_pages(_words: &[u64]) {}
