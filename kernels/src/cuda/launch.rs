//! What a kernel is started with.

/// Which kernel, over how many blocks of how many threads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Launch {
    /// The name of an `extern "C" __global__` function of one of our `kernel.cu`.
    pub(crate) function: &'static str,
    /// Blocks: x up to 2^31 - 1, y and z up to 65535.
    pub(crate) grid: (u32, u32, u32),
    /// Threads of a block, at most 1024 together.
    pub(crate) block: (u32, u32, u32),
    /// Bytes of `DYNAMIC_SHARED`; above 48 KiB the kernel is allowed them first.
    pub(crate) shared_bytes: u32,
}

impl Launch {
    /// `blocks` blocks of `threads` threads.
    pub(crate) fn line(function: &'static str, blocks: u32, threads: u32) -> Launch {
        Launch::plane(function, (blocks, 1), threads)
    }

    /// `blocks` (x, y) blocks of `threads` threads.
    pub(crate) fn plane(function: &'static str, blocks: (u32, u32), threads: u32) -> Launch {
        Launch {
            function,
            grid: (blocks.0, blocks.1, 1),
            block: (threads, 1, 1),
            shared_bytes: 0,
        }
    }

    /// Whether there is nothing to do; the driver refuses empty grids.
    pub(crate) fn is_empty(&self) -> bool {
        self.grid.0 == 0 || self.grid.1 == 0 || self.grid.2 == 0
    }
}

/// One argument of a kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Arg {
    /// A place on the card; 0 is no place.
    Address(u64),
    U32(u32),
    F32(f32),
}

impl Arg {
    /// No place: a null pointer.
    pub(crate) const NULL: Arg = Arg::Address(0);

    /// The argument's bytes from the lowest on: kernels read as many as the type has.
    pub(crate) fn bits(self) -> u64 {
        match self {
            Arg::Address(address) => address,
            Arg::U32(value) => u64::from(value),
            Arg::F32(value) => u64::from(value.to_bits()),
        }
    }
}

impl From<u32> for Arg {
    fn from(value: u32) -> Arg {
        Arg::U32(value)
    }
}

impl From<f32> for Arg {
    fn from(value: f32) -> Arg {
        Arg::F32(value)
    }
}
