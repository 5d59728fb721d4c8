//! CUDA cards. The one file that knows whether the program was built for them.

use library::Gguf;

use crate::config::Config;
use crate::decoder::{Caches, Stage};
use crate::error::ModelsError;
use crate::run::Seat;
use crate::slice::Slice;
use crate::weights::Meter;

/// A card's part of a model.
#[expect(dead_code, reason = "cards need the CUDA build")]
pub(crate) struct Work<'a> {
    pub(crate) gguf: &'a Gguf,
    pub(crate) config: &'a Config,
    pub(crate) slice: &'a Slice,
    pub(crate) caches: Caches,
    /// Token rows of the largest step.
    pub(crate) rows_max: usize,
}

/// Opens card `index` on this thread and loads its part.
///
/// # Errors
/// There is no such card, it is too small, or the program was built without CUDA.
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
