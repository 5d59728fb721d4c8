//! The card through NVIDIA's driver, which is opened at run time: the program starts without one.
//!
//! Failures are the driver's words; the callers in `mod.rs` say what was tried on which card.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CString, c_char, c_int, c_void};

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute};

use super::{Card, GpuError, Launch};

/// Machine code for compute capability 7.5, and PTX that the driver compiles for newer cards, made by `build.rs`.
static KERNELS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kernels.fatbin"));

/// The CUDA version that kernels and libraries are of, as the driver counts.
const VERSION: c_int = 13_000;
/// Dynamic shared memory that a kernel has without asking.
const SHARED_BYTES_USUAL: u32 = 48 << 10;

// SAFETY: the runtime library's own signatures; candle's launchers bring the library along.
unsafe extern "C" {
    safe fn cudaGetLastError() -> c_int;
    safe fn cudaGetErrorString(error: c_int) -> *const c_char;
}

/// The context, the stream and the kernels of one card.
pub(crate) struct Device {
    card: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    module: sys::CUmodule,
    functions: RefCell<HashMap<&'static str, Function>>,
}

#[derive(Clone, Copy)]
struct Function {
    handle: sys::CUfunction,
    /// Dynamic shared memory that it may have.
    shared_bytes: u32,
}

/// Memory of the host that the card reads and writes by itself.
pub(super) struct Pinned {
    start: *mut u8,
    bytes: usize,
}

/// A place in the stream.
pub(super) struct Mark(sys::CUevent);

fn words(error: DriverError) -> String {
    let text = error.error_string().map(|text| text.to_string_lossy().into_owned());
    text.unwrap_or_else(|_| format!("{:?}", error.0))
}

/// The driver, started.
fn start_driver() -> Result<(), GpuError> {
    // SAFETY: opening libcuda runs its initialisers, which every CUDA program does.
    if !unsafe { sys::is_culib_present() } {
        return Err(GpuError::NoDriver);
    }
    let broken = |error| GpuError::BrokenDriver { reason: words(error) };
    let mut version = 0;
    // SAFETY: a place for an int is given.
    unsafe { sys::cuDriverGetVersion(&mut version) }
        .result()
        .map_err(broken)?;
    if version < VERSION {
        return Err(GpuError::OldDriver {
            found: format!("{}.{}", version / 1000, version % 1000 / 10),
            needed: "13.0",
        });
    }
    match result::init() {
        Err(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => Err(GpuError::NoDevice { index: 0, count: 0 }),
        started => started.map_err(broken),
    }
}

fn card(index: usize) -> Result<Card, DriverError> {
    let device = result::device::get(index as c_int)?;
    // SAFETY: the device was just got.
    let attribute = |attribute| unsafe { result::device::get_attribute(device, attribute) };
    let count = |value: i32| usize::try_from(value).unwrap_or(0);
    let capability = |value: i32| u32::try_from(value).unwrap_or(0);
    let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    let khz = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE).unwrap_or(0);
    let bits = attribute(Attribute::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH).unwrap_or(0);
    Ok(Card {
        index,
        name: result::device::get_name(device)?,
        // SAFETY: the device was just got.
        memory_bytes: unsafe { result::device::total_mem(device) }?,
        compute_capability: (capability(major), capability(minor)),
        multiprocessors: count(attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?),
        // Two transfers a clock.
        memory_bytes_per_second: 2 * 1000 * count(khz) as u64 * count(bits) as u64 / 8,
        shared_bytes_max: count(attribute(
            Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
        )?),
    })
}

impl Device {
    pub(super) fn cards() -> Result<Vec<Card>, GpuError> {
        match start_driver() {
            Err(GpuError::NoDevice { .. }) => return Ok(Vec::new()),
            started => started?,
        }
        let broken = |error| GpuError::BrokenDriver { reason: words(error) };
        let count = result::device::get_count().map_err(broken)?;
        let cards = 0..usize::try_from(count).unwrap_or(0);
        cards.map(card).collect::<Result<_, _>>().map_err(broken)
    }

    pub(super) fn open(index: usize) -> Result<Device, String> {
        let card = result::device::get(index as c_int).map_err(words)?;
        // SAFETY: the card was just got. Candle's launchers run in this context too, the runtime library's own.
        let context = unsafe { result::primary_ctx::retain(card) }.map_err(words)?;
        // From here on, what was got is given back by `drop`.
        let mut device = Device {
            card,
            context,
            stream: std::ptr::null_mut(),
            module: std::ptr::null_mut(),
            functions: RefCell::default(),
        };
        device.enter()?;
        device.stream = result::stream::create(result::stream::StreamKind::NonBlocking).map_err(words)?;
        // SAFETY: a fatbin, as nvcc wrote it, which carries its own length.
        device.module = unsafe { result::module::load_data(KERNELS.as_ptr().cast()) }.map_err(words)?;
        Ok(device)
    }

    /// Makes the card's context this thread's: a thread may have opened two cards.
    fn enter(&self) -> Result<(), String> {
        // SAFETY: the context is retained until the device's drop.
        unsafe { result::ctx::set_current(self.context) }.map_err(words)
    }

    pub(super) fn free_bytes(&self) -> Result<usize, String> {
        self.enter()?;
        Ok(result::mem_get_info().map_err(words)?.0)
    }

    /// `None` where there is no room.
    pub(super) fn allocate(&self, bytes: usize) -> Result<Option<u64>, String> {
        self.enter()?;
        if bytes == 0 {
            return Ok(Some(0));
        }
        // SAFETY: the context is current.
        match unsafe { result::malloc_sync(bytes) } {
            Err(DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => Ok(None),
            allocated => allocated.map(Some).map_err(words),
        }
    }

    /// Gives memory back when the card is done with it.
    pub(super) fn free(&self, address: u64, bytes: usize) {
        if bytes > 0 && self.enter().is_ok() {
            // SAFETY: a buffer's drop gives the address that `allocate` gave it, once; the driver waits for its kernels.
            // It only fails where everything fails, which the next wait reports.
            let _ = unsafe { result::free_sync(address) };
        }
    }

    pub(super) fn clear(&self, address: u64, bytes: usize) -> Result<(), String> {
        self.enter()?;
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: the caller has just allocated these bytes.
        unsafe { result::memset_d8_async(address, 0, bytes, self.stream) }.map_err(words)
    }

    pub(super) fn copy_within(&self, from: u64, to: u64, bytes: usize) -> Result<(), String> {
        self.enter()?;
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: both are `bytes` long, which `GpuBuffer::place` has checked.
        unsafe { result::memcpy_dtod_async(to, from, bytes, self.stream) }.map_err(words)
    }

    pub(super) fn copy_in(&self, from: &Pinned, at: usize, bytes: usize, place: u64) -> Result<(), String> {
        self.enter()?;
        if bytes == 0 {
            return Ok(());
        }
        let bytes = &from.bytes()[at..at + bytes];
        // SAFETY: the place has this room, which `GpuBuffer::place` has checked; who fills pinned memory again waits for
        // its copies first.
        unsafe { result::memcpy_htod_async(place, bytes, self.stream) }.map_err(words)
    }

    pub(super) fn copy_out(&self, place: u64, to: &mut Pinned, bytes: usize) -> Result<(), String> {
        self.enter()?;
        if bytes == 0 {
            return Ok(());
        }
        let bytes = &mut to.bytes_mut()[..bytes];
        // SAFETY: the place has these bytes, which `GpuBuffer::place` has checked; the caller waits before it reads them.
        unsafe { result::memcpy_dtoh_async(bytes, place, self.stream) }.map_err(words)
    }

    pub(super) fn pinned(&self, bytes: usize) -> Result<Pinned, String> {
        self.enter()?;
        // SAFETY: the context is current.
        let start = unsafe { result::malloc_host(bytes, 0) }.map_err(words)?.cast::<u8>();
        // SAFETY: `bytes` bytes were just given; written so that they may be read as a slice.
        unsafe { start.write_bytes(0, bytes) };
        Ok(Pinned { start, bytes })
    }

    pub(super) fn free_pinned(&self, memory: &mut Pinned) {
        if memory.bytes > 0 && self.finish().is_ok() {
            // SAFETY: the driver gave it, the card is done with it, and its length is 0 from now on.
            let _ = unsafe { result::free_host(memory.start.cast()) };
        }
        memory.bytes = 0;
    }

    pub(super) fn mark(&self) -> Result<Mark, String> {
        self.enter()?;
        let flags = sys::CUevent_flags::CU_EVENT_DISABLE_TIMING;
        Ok(Mark(result::event::create(flags).map_err(words)?))
    }

    pub(super) fn set_mark(&self, mark: &mut Mark) -> Result<(), String> {
        self.enter()?;
        // SAFETY: both live.
        unsafe { result::event::record(mark.0, self.stream) }.map_err(words)
    }

    /// Returns at once for a mark that was never set.
    pub(super) fn wait_for(&self, mark: &Mark) -> Result<(), String> {
        self.enter()?;
        // SAFETY: the mark lives until `free_mark`.
        unsafe { result::event::synchronize(mark.0) }.map_err(words)
    }

    pub(super) fn free_mark(&self, mark: &mut Mark) {
        if self.enter().is_ok() && !mark.0.is_null() {
            // SAFETY: made by `mark`, and not used again: it is null from now on.
            let _ = unsafe { result::event::destroy(mark.0) };
        }
        mark.0 = std::ptr::null_mut();
    }

    pub(super) fn finish(&self) -> Result<(), String> {
        self.enter()?;
        // SAFETY: the stream lives as long as the device.
        unsafe { result::stream::synchronize(self.stream) }.map_err(words)
    }

    /// What candle's launchers left behind.
    pub(super) fn last_launch(&self) -> Result<(), String> {
        self.enter()?;
        match cudaGetLastError() {
            0 => Ok(()),
            error => {
                let text = cudaGetErrorString(error);
                // SAFETY: the library gives a text that lives as long as the program.
                let text = unsafe { std::ffi::CStr::from_ptr(text) };
                Err(text.to_string_lossy().into_owned())
            }
        }
    }

    /// The stream, for launchers that are not ours: they use the context that is current.
    pub(super) fn stream(&self) -> Result<*mut c_void, String> {
        self.enter()?;
        Ok(self.stream.cast())
    }

    /// Starts a kernel.
    ///
    /// # Safety
    /// As `Gpu::launch`.
    pub(super) unsafe fn launch(&self, launch: &Launch, arguments: &mut [u64]) -> Result<(), String> {
        self.enter()?;
        let function = self.function(launch)?;
        let mut places: [*mut c_void; ARGUMENTS_MAX] = [std::ptr::null_mut(); ARGUMENTS_MAX];
        let places = places.get_mut(..arguments.len()).ok_or("too many arguments")?;
        for (place, argument) in places.iter_mut().zip(arguments) {
            *place = std::ptr::from_mut(argument).cast();
        }
        let (grid, block) = (launch.grid, launch.block);
        // SAFETY: the caller's promise about the arguments; the function is of the module that lives as long as this.
        unsafe { result::launch_kernel(function, grid, block, launch.shared_bytes, self.stream, places) }.map_err(words)
    }

    fn function(&self, launch: &Launch) -> Result<sys::CUfunction, String> {
        let mut functions = self.functions.borrow_mut();
        let function = match functions.entry(launch.function) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let name = CString::new(launch.function).map_err(|error| error.to_string())?;
                // SAFETY: the module is loaded.
                let handle = unsafe { result::module::get_function(self.module, name) }.map_err(words)?;
                let shared_bytes = SHARED_BYTES_USUAL;
                entry.insert(Function { handle, shared_bytes })
            }
        };
        if launch.shared_bytes > function.shared_bytes {
            let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let bytes = c_int::try_from(launch.shared_bytes).map_err(|error| error.to_string())?;
            // SAFETY: the function is of the loaded module.
            unsafe { result::function::set_function_attribute(function.handle, attribute, bytes) }.map_err(words)?;
            function.shared_bytes = launch.shared_bytes;
        }
        Ok(function.handle)
    }
}

/// More than any kernel of ours has.
const ARGUMENTS_MAX: usize = 32;

impl Drop for Device {
    fn drop(&mut self) {
        if self.enter().is_err() {
            return;
        }
        if !self.stream.is_null() {
            // SAFETY: made by `open`, not used again.
            let _ = unsafe { result::stream::destroy(self.stream) };
        }
        if !self.module.is_null() {
            // SAFETY: loaded by `open`, its functions are not used again.
            let _ = unsafe { result::module::unload(self.module) };
        }
        // SAFETY: retained by `open`, once.
        let _ = unsafe { result::primary_ctx::release(self.card) };
    }
}

impl Pinned {
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the driver gave so many bytes, which were written since; none after `free_pinned`.
        unsafe { std::slice::from_raw_parts(self.start, self.bytes) }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.bytes) }
    }
}
