//! The cards of this machine, as far as this program can use them.

/// What a program finds that looks for cards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cards {
    /// It was built without CUDA and cannot look.
    NotBuilt,
    /// The driver is missing, too old, or does not start: why, and what to do.
    Refused(String),
    /// These, which may be none.
    Found(Vec<FoundCard>),
}

/// A graphics card of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundCard {
    /// Its number in `cuda:0`.
    pub index: usize,
    /// As the driver names it.
    pub name: String,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Major and minor number.
    pub compute_capability: (u32, u32),
    /// Bytes a second that its memory moves at most; none if the driver does not say.
    pub read_bytes_per_s: Option<u64>,
    /// Bytes of memory that nobody uses now, seen by opening it with this program's kernels; or why it cannot be opened.
    pub free_bytes: Result<u64, String>,
}

impl Cards {
    /// Looks for cards, and opens each for a moment.
    #[cfg(not(any(feature = "cuda", feature = "cuda-emulator")))]
    pub fn of_machine() -> Cards {
        Cards::NotBuilt
    }

    /// Looks for cards, and opens each for a moment.
    #[cfg(any(feature = "cuda", feature = "cuda-emulator"))]
    pub fn of_machine() -> Cards {
        use kernels::cuda::Gpu;
        let found = |card: kernels::cuda::Card| FoundCard {
            index: card.index,
            name: card.name,
            memory_bytes: card.memory_bytes as u64,
            compute_capability: card.compute_capability,
            read_bytes_per_s: Some(card.memory_bytes_per_second).filter(|bytes| *bytes > 0),
            free_bytes: Gpu::open(card.index)
                .and_then(|gpu| gpu.free_bytes())
                .map(|bytes| bytes as u64)
                .map_err(|error| error.to_string()),
        };
        match Gpu::cards() {
            Ok(cards) => Cards::Found(cards.into_iter().map(found).collect()),
            Err(error) => Cards::Refused(error.to_string()),
        }
    }
}
