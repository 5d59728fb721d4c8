//! CUDA cards. The one file that knows whether the program was built for them.

use library::Gguf;

use crate::config::Config;
use crate::decoder::{Caches, Stage};
use crate::error::ModelsError;
use crate::run::Seat;
use crate::slice::Slice;
use crate::weights::Meter;

/// A card of this machine, as its driver describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardStatus {
    /// Its number: `cuda:0` has 0.
    pub index: usize,
    /// As the driver names it: `Tesla T4`.
    pub name: String,
    /// Bytes of its memory.
    pub memory_bytes: u64,
    /// Bytes of it that nobody uses now; none where the card could not be opened.
    pub free_bytes: Option<u64>,
    /// Major and minor number.
    pub compute_capability: (u32, u32),
    /// Streaming multiprocessors.
    pub multiprocessors: usize,
    /// Bytes a second that its memory moves at most; 0 if the driver does not say.
    pub memory_bytes_per_second: u64,
    /// Why it cannot be used, in the driver's words or ours.
    pub refusal: Option<String>,
}

/// The cards of this machine.
///
/// # Errors
/// The program was built without CUDA, or there is no driver that it can use.
#[cfg(not(any(feature = "cuda", feature = "cuda-emulator")))]
pub fn cards() -> Result<Vec<CardStatus>, ModelsError> {
    Err(ModelsError::NoCuda)
}

#[cfg(any(feature = "cuda", feature = "cuda-emulator"))]
pub use with_cuda::cards;

/// A card's part of a model.
#[cfg_attr(not(any(feature = "cuda", feature = "cuda-emulator")), expect(dead_code))]
pub(crate) struct Work<'a> {
    pub(crate) gguf: &'a Gguf,
    pub(crate) config: &'a Config,
    pub(crate) slice: &'a Slice,
    pub(crate) caches: Caches,
    /// Token rows of the largest step.
    pub(crate) rows: usize,
    /// Sequences of the largest step.
    pub(crate) sequences: usize,
    pub(crate) context_tokens: usize,
}

/// Opens card `index` on this thread and loads its part.
///
/// # Errors
/// There is no such card, it is too small, or the program was built without CUDA.
#[cfg(not(any(feature = "cuda", feature = "cuda-emulator")))]
pub(crate) fn open(
    index: usize,
    _work: &Work<'_>,
    _seat: Option<Seat>,
    _meter: &Meter<'_>,
) -> Result<Box<dyn Stage>, ModelsError> {
    Err(ModelsError::Device {
        device: format!("cuda:{index}"),
        reason: ModelsError::NoCuda.to_string(),
    })
}

#[cfg(any(feature = "cuda", feature = "cuda-emulator"))]
pub(crate) use with_cuda::open;

#[cfg(any(feature = "cuda", feature = "cuda-emulator"))]
#[path = "cuda.rs"]
mod cuda;

#[cfg(any(feature = "cuda", feature = "cuda-emulator"))]
mod with_cuda {
    use std::rc::Rc;
    use std::sync::Arc;

    use kernels::cuda::Gpu;

    use super::cuda::{CardMemory, Cuda, Limits, Widths, refuse};
    use super::{CardStatus, Meter, ModelsError, Seat, Stage, Work};
    use crate::decoder::Decoder;
    use crate::device::Sizes;
    use crate::tensors::format;
    use crate::weights::Shard;

    /// The cards of this machine.
    ///
    /// # Errors
    /// There is no driver that the program can use.
    pub fn cards() -> Result<Vec<CardStatus>, ModelsError> {
        let cards = Gpu::cards().map_err(|error| ModelsError::Device {
            device: "CUDA".to_owned(),
            reason: error.to_string(),
        })?;
        let status = |card: kernels::cuda::Card| {
            let free = Gpu::open(card.index).and_then(|gpu| gpu.free_bytes());
            CardStatus {
                index: card.index,
                name: card.name,
                memory_bytes: card.memory_bytes as u64,
                free_bytes: free.as_ref().ok().map(|bytes| *bytes as u64),
                compute_capability: card.compute_capability,
                multiprocessors: card.multiprocessors,
                memory_bytes_per_second: card.memory_bytes_per_second,
                refusal: free.err().map(|error| error.to_string()),
            }
        };
        Ok(cards.into_iter().map(status).collect())
    }

    pub(crate) fn open(
        index: usize,
        work: &Work<'_>,
        seat: Option<Seat>,
        meter: &Meter<'_>,
    ) -> Result<Box<dyn Stage>, ModelsError> {
        let (config, slice) = (work.config, work.slice);
        let gpu = Gpu::open(index).map_err(|error| ModelsError::Device {
            device: format!("cuda:{index}"),
            reason: error.to_string(),
        })?;
        let gpu = Rc::new(gpu);
        let shard = Shard::load(&CardMemory(Rc::clone(&gpu)), work.gguf, config, slice, None, meter)?;
        let mut formats: Vec<_> = work.gguf.tensors().iter().map(|tensor| format(tensor.kind)).collect();
        formats.sort_unstable_by_key(|format| *format as usize);
        formats.dedup();
        let widths = Widths {
            ffn: slice.rows(config.ffn).len(),
            logits: if slice.has_output(config) {
                slice.rows(config.vocabulary).len()
            } else {
                0
            },
            input: config.hidden.max(config.ffn).max(config.heads * config.head_dim),
        };
        let limits = Limits {
            rows: work.rows,
            sequences: work.sequences,
            context_tokens: work.context_tokens,
        };
        let device = Cuda::new(Rc::clone(&gpu), Sizes::new(config, slice), widths, &formats, limits);
        let device = device.map_err(|error| refuse(&gpu, error))?;
        #[expect(
            clippy::arc_with_non_send_sync,
            reason = "decoders share the processor's weights; a card's stay on its thread"
        )]
        let decoder = Decoder::new(device, Arc::new(shard), config, slice, work.caches, seat)?;
        gpu.finish().map_err(|error| refuse(&gpu, error))?;
        Ok(Box::new(decoder))
    }
}
