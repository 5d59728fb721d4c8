//! CUDA cards. The one file that knows whether the program was built for them.

use library::Gguf;

use crate::config::Config;
use crate::decoder::{Caches, Stage};
use crate::error::ModelsError;
use crate::run::Seat;
use crate::slice::Slice;
use crate::weights::Meter;

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
        reason: "this program was built without CUDA: use the CUDA build, or `--devices cpu`".to_owned(),
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
    use super::{Meter, ModelsError, Seat, Stage, Work};
    use crate::decoder::Decoder;
    use crate::device::Sizes;
    use crate::tensors::format;
    use crate::weights::Shard;

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
        let decoder = Decoder::new(device, Arc::new(shard), config, slice, work.caches, seat)?;
        gpu.finish().map_err(|error| refuse(&gpu, error))?;
        Ok(Box::new(decoder))
    }
}
