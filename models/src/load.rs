//! Reading tensors: several threads, each packing what it has read for the kernels; the file's bytes are not kept.

use std::sync::Mutex;

use kernels::{KernelError, PackedMatrix, Part};
use library::{Gguf, TensorInfo};

use crate::device::Piece;
use crate::error::ModelsError;
use crate::tensors::format;
use crate::weights::Meter;

/// Bytes of one read: large enough for any disk's throughput, small enough to be packed out of the second-level cache and
/// that threads end together.
const PART_BYTES: usize = 256 << 10;

/// An empty matrix for `piece`, whose tensor's shape was checked.
pub(crate) fn place(piece: &Piece<'_>) -> Result<PackedMatrix, ModelsError> {
    let size = |elements: u64| usize::try_from(elements).unwrap_or(usize::MAX);
    let rows = size(piece.rows.end - piece.rows.start);
    PackedMatrix::zeroed(format(piece.tensor.kind), rows, size(piece.tensor.columns()))
        .map_err(|source| refuse(piece.tensor, source))
}

fn refuse(tensor: &TensorInfo, source: KernelError) -> ModelsError {
    ModelsError::Kernel {
        what: format!("tensor {}", tensor.name),
        source,
    }
}

/// Fills every matrix from its piece; `meter` is told what is read, from any thread.
pub(crate) fn fill(
    gguf: &Gguf,
    places: &mut [(&Piece<'_>, PackedMatrix)],
    meter: &Meter<'_>,
) -> Result<(), ModelsError> {
    let parts = places
        .iter_mut()
        .flat_map(|(piece, matrix)| matrix.parts(PART_BYTES).map(|part| (&**piece, part)));
    let (parts, failure) = (Mutex::new(parts), Mutex::new(None));
    let work = || {
        let mut bytes = Vec::new();
        while let Some((piece, part)) = take(&parts) {
            let read = part.source().len() as u64;
            if let Err(error) = fill_part(gguf, piece, part, &mut bytes) {
                keep_first(&failure, error);
                return;
            }
            meter.add(read);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..readers() {
            scope.spawn(work);
        }
    });
    match failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Reads the part's bytes to `bytes` and packs them.
fn fill_part(gguf: &Gguf, piece: &Piece<'_>, part: Part<'_>, bytes: &mut Vec<u8>) -> Result<(), ModelsError> {
    let source = part.source();
    bytes.resize(source.len(), 0);
    gguf.read(piece.tensor, piece.first_byte() + source.start as u64, bytes)?;
    part.fill(bytes).map_err(|source| refuse(piece.tensor, source))
}

/// The next part; a thread that panicked has left the iterator whole.
fn take<T>(pieces: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    pieces.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next()
}

fn keep_first(failure: &Mutex<Option<ModelsError>>, error: ModelsError) {
    failure
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .get_or_insert(error);
}

/// Threads that read: two per core hide a disk's latency, eight saturate any.
fn readers() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (2 * cores).clamp(2, 8)
}

/// The numbers of a norm, bias or table of factors.
pub(crate) fn vector(gguf: &Gguf, tensor: &TensorInfo) -> Result<Vec<f32>, ModelsError> {
    let piece = Piece::whole(tensor);
    let mut matrix = place(&piece)?;
    let mut bytes = Vec::new();
    for part in matrix.parts(usize::MAX) {
        fill_part(gguf, &piece, part, &mut bytes)?;
    }
    let mut values = vec![0.0; matrix.columns()];
    kernels::embedding::embedding(&matrix, &[0], &mut values).map_err(|source| refuse(tensor, source))?;
    Ok(values)
}
