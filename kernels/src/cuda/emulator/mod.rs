//! A card that is none: memory of the host, kernels compiled by the C++ compiler, threads run one after another.
//!
//! What it shows: that kernels compute the right thing, reach their barriers, and stay within their buffers and their shared
//! memory. What it does not: how fast they are, and races that only appear when threads really run at once.

mod memory;

use std::ffi::{CStr, CString, c_char, c_void};

use super::{Card, GpuError, Launch};

// SAFETY: as `emulator.cpp` defines it.
unsafe extern "C" {
    /// Runs a kernel to its end. Returns null, or why it could not.
    fn emulator_launch(
        function: *const c_char,
        grid: *const u32,
        block: *const u32,
        shared_bytes: u32,
        arguments: *mut *mut c_void,
        argument_count: u32,
    ) -> *const c_char;
}

/// What a T4 has, so that nothing asks for more.
const SHARED_BYTES_MAX: usize = 64 << 10;
const MEMORY_BYTES: usize = 4 << 30;

/// Kernels run while `launch` is called: nothing is ever under way.
pub(crate) struct Device;

/// Memory of the host.
pub(super) struct Pinned(Vec<u8>);

/// A place in the stream, which is always reached.
pub(super) struct Mark;

impl Device {
    pub(super) fn cards() -> Result<Vec<Card>, GpuError> {
        let card = |index| Card {
            index,
            name: "emulator".to_owned(),
            memory_bytes: MEMORY_BYTES,
            compute_capability: (7, 5),
            multiprocessors: 2,
            memory_bytes_per_second: 0,
            shared_bytes_max: SHARED_BYTES_MAX,
        };
        Ok(vec![card(0), card(1)])
    }

    pub(super) fn open(_index: usize) -> Result<Device, String> {
        Ok(Device)
    }

    pub(super) fn free_bytes(&self) -> Result<usize, String> {
        Ok(MEMORY_BYTES)
    }

    pub(super) fn allocate(&self, bytes: usize) -> Result<Option<u64>, String> {
        if bytes == 0 {
            return Ok(Some(0));
        }
        Ok(if bytes > MEMORY_BYTES {
            None
        } else {
            memory::allocate(bytes)
        })
    }

    pub(super) fn free(&self, address: u64, bytes: usize) {
        if bytes > 0 {
            memory::free(address, bytes);
        }
    }

    /// Memory is given zeroed.
    pub(super) fn clear(&self, _address: u64, _bytes: usize) -> Result<(), String> {
        Ok(())
    }

    pub(super) fn copy_within(&self, from: u64, to: u64, bytes: usize) -> Result<(), String> {
        // SAFETY: both are `bytes` long, which `GpuBuffer::place` has checked.
        unsafe { std::ptr::copy(pointer(from), pointer(to), bytes) };
        Ok(())
    }

    pub(super) fn copy_in(&self, from: &Pinned, at: usize, bytes: usize, place: u64) -> Result<(), String> {
        let from = &from.0[at..at + bytes];
        // SAFETY: the place has this room, which `GpuBuffer::place` has checked.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), pointer(place), bytes) };
        Ok(())
    }

    pub(super) fn copy_out(&self, place: u64, to: &mut Pinned, bytes: usize) -> Result<(), String> {
        let to = &mut to.0[..bytes];
        // SAFETY: the place has these bytes, which `GpuBuffer::place` has checked.
        unsafe { std::ptr::copy_nonoverlapping(pointer(place), to.as_mut_ptr(), bytes) };
        Ok(())
    }

    pub(super) fn pinned(&self, bytes: usize) -> Result<Pinned, String> {
        Ok(Pinned(vec![0; bytes]))
    }

    pub(super) fn free_pinned(&self, memory: &mut Pinned) {
        memory.0 = Vec::new();
    }

    pub(super) fn mark(&self) -> Result<Mark, String> {
        Ok(Mark)
    }

    pub(super) fn set_mark(&self, _mark: &mut Mark) -> Result<(), String> {
        Ok(())
    }

    pub(super) fn wait_for(&self, _mark: &Mark) -> Result<(), String> {
        Ok(())
    }

    pub(super) fn free_mark(&self, _mark: &mut Mark) {}

    pub(super) fn finish(&self) -> Result<(), String> {
        Ok(())
    }

    /// Runs a kernel.
    ///
    /// # Safety
    /// As `Gpu::launch`.
    pub(super) unsafe fn launch(&self, launch: &Launch, arguments: &mut [u64]) -> Result<(), String> {
        if launch.shared_bytes as usize > SHARED_BYTES_MAX {
            return Err(format!("{} bytes of shared memory are too many", launch.shared_bytes));
        }
        let function = CString::new(launch.function).map_err(|error| error.to_string())?;
        let (grid, block): ([u32; 3], [u32; 3]) = (launch.grid.into(), launch.block.into());
        let mut places: Vec<*mut c_void> = arguments
            .iter_mut()
            .map(|argument| std::ptr::from_mut(argument).cast())
            .collect();
        // SAFETY: the caller's promise about the arguments; the name ends in 0, grid and block have three numbers.
        let refusal = unsafe {
            emulator_launch(
                function.as_ptr(),
                grid.as_ptr(),
                block.as_ptr(),
                launch.shared_bytes,
                places.as_mut_ptr(),
                places.len() as u32,
            )
        };
        if refusal.is_null() {
            return Ok(());
        }
        // SAFETY: a text that lives as long as the program.
        let refusal = unsafe { CStr::from_ptr(refusal) };
        Err(refusal.to_string_lossy().into_owned())
    }
}

/// Device memory is memory of the host, whose provenance `allocate` has exposed.
pub(crate) fn pointer(address: u64) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut(address as usize)
}

impl Pinned {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}
