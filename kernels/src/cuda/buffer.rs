//! Memory on the card.

use std::marker::PhantomData;
use std::rc::Rc;

use half::f16;

use super::device::Device;
use super::{Arg, GpuError};
use crate::KernelError;

mod sealed {
    pub trait Sealed {}
}

/// A number that buffers hold: no padding, any bits are a value.
pub trait GpuElement: Copy + sealed::Sealed {
    /// All bits 0.
    const ZERO: Self;
}

macro_rules! elements {
    ($($element:ty = $zero:expr),*) => {$(
        impl sealed::Sealed for $element {}
        impl GpuElement for $element {
            const ZERO: $element = $zero;
        }
    )*};
}
elements!(u8 = 0, i8 = 0, u16 = 0, u32 = 0, i32 = 0, f32 = 0.0, f16 = f16::ZERO);

/// Numbers on the card, given back on drop once the card is done with them.
pub struct GpuBuffer<T: GpuElement> {
    device: Rc<Device>,
    address: u64,
    elements: usize,
    kind: PhantomData<T>,
}

impl<T: GpuElement> GpuBuffer<T> {
    /// Takes what was allocated on `device`.
    pub(super) fn own(device: Rc<Device>, address: u64, elements: usize) -> GpuBuffer<T> {
        GpuBuffer {
            device,
            address,
            elements,
            kind: PhantomData,
        }
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.elements
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.elements == 0
    }

    /// Bytes on the card.
    pub fn bytes(&self) -> usize {
        self.elements * size_of::<T>()
    }

    /// The start, as a kernel's argument.
    pub(crate) fn arg(&self) -> Arg {
        Arg::Address(self.address)
    }

    /// Element `at`, as a kernel's argument.
    pub(crate) fn arg_at(&self, at: usize) -> Arg {
        debug_assert!(at <= self.elements);
        Arg::Address(self.address + (at * size_of::<T>()) as u64)
    }

    /// The address of element `at`, of which `count` are there.
    pub(super) fn place(&self, at: usize, count: usize) -> Result<u64, GpuError> {
        let end = at.checked_add(count).filter(|end| *end <= self.elements);
        end.ok_or(KernelError::Range {
            what: "the buffer's element",
            found: at.saturating_add(count),
            limit: self.elements,
        })?;
        Ok(self.address + (at * size_of::<T>()) as u64)
    }

    /// The start, for launchers that are not ours.
    pub(crate) fn address(&self) -> u64 {
        self.address
    }
}

impl<T: GpuElement> Drop for GpuBuffer<T> {
    fn drop(&mut self) {
        self.device.free(self.address, self.bytes());
    }
}

/// The bytes of `values`.
pub(crate) fn bytes_of<T: GpuElement>(values: &[T]) -> &[u8] {
    // SAFETY: elements are bare numbers: all their bytes are initialised; the length is that of the slice.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) }
}

/// The bytes of `values`, to be written.
pub(crate) fn bytes_of_mut<T: GpuElement>(values: &mut [T]) -> &mut [u8] {
    let bytes = size_of_val(values);
    // SAFETY: as in `bytes_of`; and any bits are a value of an element.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast::<u8>(), bytes) }
}
