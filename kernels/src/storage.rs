//! Bytes that can be read into from a file and used as blocks where they lie: no second copy.

use std::alloc::{Layout, alloc_zeroed};

use candle_core::quantized::k_quants::{
    BlockQ2K, BlockQ3K, BlockQ4_0, BlockQ4K, BlockQ5_0, BlockQ5K, BlockQ6K, BlockQ8_0, BlockQ8K,
};
use half::{bf16, f16};

use crate::KernelError;

/// A type that bytes may be reinterpreted as.
///
/// # Safety
/// The type has no padding, every bit pattern is a valid value, it holds no pointer, and its alignment is at most 8.
pub(crate) unsafe trait Plain: Send + Sync {}

macro_rules! plain {
    ($($block:ty),*) => {$(
        // SAFETY: `repr(C)` arrays of integers and f16 (or a bare number) whose sizes sum to the size of the whole, which
        // candle asserts at compile time; no padding, any bits are valid, alignment 4 at most.
        unsafe impl Plain for $block {}
        const _: () = assert!(std::mem::align_of::<$block>() <= 8);
    )*};
}
plain!(
    i8, u16, u64, f32, f16, bf16, BlockQ4_0, BlockQ5_0, BlockQ8_0, BlockQ2K, BlockQ3K, BlockQ4K, BlockQ5K, BlockQ6K,
    BlockQ8K
);

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

/// Zeroed bytes, aligned for every [`Plain`] type. Pages are only touched when written.
pub(crate) struct Storage {
    words: Vec<u64>,
    bytes: usize,
}

impl Storage {
    /// Asks for `bytes` zeroed bytes.
    pub(crate) fn zeroed(bytes: usize) -> Result<Storage, KernelError> {
        let words = zeroed(bytes.div_ceil(8))?;
        Ok(Storage { words, bytes })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        let words = self.words.as_slice();
        // SAFETY: `bytes <= 8 * words.len()` by construction, and u64 has no padding.
        unsafe { std::slice::from_raw_parts(words.as_ptr().cast::<u8>(), self.bytes) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        let words = self.words.as_mut_slice();
        // SAFETY: as in `bytes`; any bytes are a valid u64.
        unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast::<u8>(), self.bytes) }
    }

    /// The storage seen as blocks; a tail shorter than one block is left out.
    pub(crate) fn blocks<T: Plain>(&self) -> &[T] {
        let count = self.bytes / std::mem::size_of::<T>();
        let start = self.words.as_ptr().cast::<T>();
        // SAFETY: `count * size_of::<T>() <= bytes <= 8 * words.len()`; `Plain` allows any bits and its alignment is at most
        // that of u64.
        unsafe { std::slice::from_raw_parts(start, count) }
    }
}
