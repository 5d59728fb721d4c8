//! One NVIDIA card: its memory, its stream, the start of kernels. Under the feature `cuda-emulator` the same operations
//! and the same `.cu` files run on the processor, so that tests need no card.
//!
//! Everything is put on one stream in order and returns at once; [`Gpu::download`] and [`Gpu::finish`] wait. What fails
//! on the card is reported by them. Every operation's `cuda.rs` is a door: it checks every length before it starts
//! anything, because a kernel checks nothing.
//!
//! To build with the feature `cuda`: CUDA 13.0's nvcc, `CUDA_HOME` (the folder that holds `bin/nvcc`), that `bin` in `PATH`,
//! and `CUDA_COMPUTE_CAP=75` for candle's kernels, which are then machine code for a T4 and nothing else; with
//! `NVCC_APPEND_FLAGS=-gencode=arch=compute_75,code=compute_75` they carry PTX as ours do, and run on newer cards too. The
//! program is linked with the static runtime library where it is at hand: it then needs no CUDA library to start, and opens
//! the driver when a card is asked for.

pub(crate) mod buffer;
#[cfg(feature = "cuda")]
#[path = "driver.rs"]
mod device;
#[cfg(feature = "cuda-emulator")]
#[path = "emulator/mod.rs"]
mod device;
mod error;
mod launch;
mod rows;
mod staging;
#[cfg(test)]
pub(crate) mod tests;
mod upload;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

pub use buffer::{GpuBuffer, GpuElement};
#[cfg(feature = "cuda-emulator")]
pub(crate) use device::pointer;
pub use error::GpuError;
pub(crate) use launch::{Arg, Launch};
pub use rows::GpuRows;
pub(crate) use rows::narrow;
pub use upload::Upload;

use crate::error::expect_length;
use device::Device;
use staging::Staging;

/// Rows that a step may have: a grid has no more blocks along y.
pub const ROWS_MAX: usize = 65_535;

/// What is known about a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Its number, counted from 0.
    pub index: usize,
    /// As the driver names it.
    pub name: String,
    /// Bytes of memory.
    pub memory_bytes: usize,
    /// Major and minor number: a T4 has (7, 5).
    pub compute_capability: (u32, u32),
    /// Streaming multiprocessors.
    pub multiprocessors: usize,
    /// Bytes a second that its memory moves at most, by its clock and its bus; 0 if the driver does not say.
    pub memory_bytes_per_second: u64,
    /// Shared memory that one block may ask for.
    pub shared_bytes_max: usize,
}

impl Card {
    /// `cuda:0 (Tesla T4)`, for messages.
    pub fn label(&self) -> String {
        format!("cuda:{} ({})", self.index, self.name)
    }
}

/// An opened card with its stream. It stays on the thread that opened it.
pub struct Gpu {
    device: Rc<Device>,
    card: Card,
    /// The last kernel started, for messages.
    operation: Cell<&'static str>,
    staging: RefCell<Staging>,
}

impl Gpu {
    /// The cards of this machine, without opening any.
    ///
    /// # Errors
    /// `NoDriver`, `OldDriver`, `BrokenDriver`.
    pub fn cards() -> Result<Vec<Card>, GpuError> {
        Device::cards()
    }

    /// Opens card `index` for this thread and loads the kernels.
    ///
    /// # Errors
    /// `NoDriver`, `OldDriver`, `BrokenDriver`, `NoDevice`, `OldCard`; `Driver` where the driver refuses.
    pub fn open(index: usize) -> Result<Gpu, GpuError> {
        let cards = Device::cards()?;
        let count = cards.len();
        let card = cards
            .into_iter()
            .nth(index)
            .ok_or(GpuError::NoDevice { index, count })?;
        let (major, minor) = card.compute_capability;
        if (major, minor) < (7, 5) {
            let found = format!("{major}.{minor}");
            return Err(GpuError::OldCard {
                device: card.label(),
                found,
            });
        }
        let failed = |action| {
            let device = card.label();
            move |reason| GpuError::Driver { device, action, reason }
        };
        let device = Rc::new(Device::open(index).map_err(failed("load the kernels"))?);
        let staging = Staging::new(&device).map_err(failed("get memory for copies"))?;
        Ok(Gpu {
            device,
            card,
            operation: Cell::new("nothing"),
            staging: RefCell::new(staging),
        })
    }

    /// What is known about the card.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// Bytes of memory that nobody uses now.
    ///
    /// # Errors
    /// `Driver`.
    pub fn free_bytes(&self) -> Result<usize, GpuError> {
        self.device.free_bytes().map_err(self.refused("count its memory"))
    }

    /// `elements` zeros on the card; `what` names them where there is no room.
    ///
    /// # Errors
    /// `NoMemory`; `Driver`.
    pub fn zeroed<T: GpuElement>(&self, what: &str, elements: usize) -> Result<GpuBuffer<T>, GpuError> {
        let wanted = elements.saturating_mul(size_of::<T>());
        let address = match self.device.allocate(wanted) {
            Ok(Some(address)) => address,
            Ok(None) => {
                return Err(GpuError::NoMemory {
                    device: self.card.label(),
                    what: what.to_owned(),
                    wanted,
                    free: self.device.free_bytes().unwrap_or(0),
                });
            }
            Err(reason) => return Err(self.refused("get memory")(reason)),
        };
        let buffer = GpuBuffer::own(self.device.clone(), address, elements);
        self.device
            .clear(address, wanted)
            .map_err(self.refused("clear memory"))?;
        Ok(buffer)
    }

    /// A buffer that holds `values`.
    ///
    /// # Errors
    /// As [`Gpu::zeroed`].
    pub fn uploaded<T: GpuElement>(&self, what: &str, values: &[T]) -> Result<GpuBuffer<T>, GpuError> {
        let mut buffer = self.zeroed(what, values.len())?;
        self.upload(&mut buffer, 0, values)?;
        Ok(buffer)
    }

    /// Puts `values` into the buffer from element `at` on. They are copied before this returns, the card gets them in its
    /// turn.
    ///
    /// # Errors
    /// `Refused` if they do not fit; `Driver`.
    pub fn upload<T: GpuElement>(&self, buffer: &mut GpuBuffer<T>, at: usize, values: &[T]) -> Result<(), GpuError> {
        let place = buffer.place(at, values.len())?;
        let copied = self
            .staging
            .borrow_mut()
            .upload(&self.device, place, buffer::bytes_of(values));
        copied.map_err(self.failed())
    }

    /// Waits for everything before and reads the buffer from element `at` on.
    ///
    /// # Errors
    /// `Refused` if there are not so many; `Failed` if something before failed.
    pub fn download<T: GpuElement>(&self, buffer: &GpuBuffer<T>, at: usize, values: &mut [T]) -> Result<(), GpuError> {
        let place = buffer.place(at, values.len())?;
        let bytes = buffer::bytes_of_mut(values);
        let copied = self.staging.borrow_mut().download(&self.device, place, bytes);
        copied.map_err(self.failed())
    }

    /// Everything in the buffer: see [`Gpu::download`].
    ///
    /// # Errors
    /// `Failed` if something before failed.
    pub fn downloaded<T: GpuElement>(&self, buffer: &GpuBuffer<T>) -> Result<Vec<T>, GpuError> {
        let mut values = vec![T::ZERO; buffer.len()];
        self.download(buffer, 0, &mut values)?;
        Ok(values)
    }

    /// Copies `elements` from an element of one buffer on over those from an element of another on, on the card.
    ///
    /// # Errors
    /// `Refused` if either has fewer; `Driver`.
    pub fn copy<T: GpuElement>(
        &self,
        (from, from_at): (&GpuBuffer<T>, usize),
        (to, to_at): (&mut GpuBuffer<T>, usize),
        elements: usize,
    ) -> Result<(), GpuError> {
        let (from, to) = (from.place(from_at, elements)?, to.place(to_at, elements)?);
        let copied = self.device.copy_within(from, to, elements * size_of::<T>());
        copied.map_err(self.refused("copy"))
    }

    /// Waits for everything that was started and says whether it went well.
    ///
    /// # Errors
    /// `Failed`, with the last kernel that was started.
    pub fn finish(&self) -> Result<(), GpuError> {
        self.device.finish().map_err(self.failed())
    }

    /// Starts one of our kernels.
    ///
    /// # Safety
    /// The arguments are those of the kernel, in its order; every place that it reads or writes lies in buffers of this
    /// card that live until the next wait, which [`GpuBuffer`]'s drop sees to.
    pub(crate) unsafe fn launch<const N: usize>(&self, launch: Launch, arguments: [Arg; N]) -> Result<(), GpuError> {
        if launch.is_empty() {
            return Ok(());
        }
        self.operation.set(launch.function);
        // SAFETY: the caller's promise.
        let started = unsafe { self.device.launch(&launch, &mut arguments.map(Arg::bits)) };
        started.map_err(|reason| self.not_started(reason))
    }

    /// Names what other launchers than ours are about to start, and gives the stream that they are to use.
    #[cfg(feature = "cuda")]
    pub(crate) fn begin(&self, operation: &'static str) -> Result<*mut std::ffi::c_void, GpuError> {
        self.operation.set(operation);
        self.device.stream().map_err(self.refused("start kernels"))
    }

    /// Launchers that are not ours report nothing: what they left behind is asked for here, after each.
    #[cfg(feature = "cuda")]
    pub(crate) fn check_launches(&self) -> Result<(), GpuError> {
        self.device.last_launch().map_err(|reason| self.not_started(reason))
    }

    fn device(&self) -> &Rc<Device> {
        &self.device
    }

    fn not_started(&self, reason: String) -> GpuError {
        GpuError::Launch {
            device: self.card.label(),
            operation: self.operation.get().to_owned(),
            reason,
        }
    }

    fn failed(&self) -> impl FnOnce(String) -> GpuError {
        let (device, operation) = (self.card.label(), self.operation.get().to_owned());
        move |reason| GpuError::Failed {
            device,
            operation,
            reason,
        }
    }

    /// The error of a call to the driver that failed.
    fn refused(&self, action: &'static str) -> impl FnOnce(String) -> GpuError {
        let device = self.card.label();
        move |reason| GpuError::Driver { device, action, reason }
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        self.staging.borrow_mut().free(&self.device);
    }
}

/// Passes if the buffer has at least the elements that a step needs of it.
pub(crate) fn expect_room<T: GpuElement>(
    what: &'static str,
    buffer: &GpuBuffer<T>,
    needed: usize,
) -> Result<(), GpuError> {
    Ok(expect_length(what, buffer.len().min(needed), needed)?)
}
