//! Reading tensors: several threads, each packing what it has read for the kernels; the file's bytes are not kept.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use kernels::{KernelError, PackedMatrix, Part};
use library::{Gguf, TensorInfo};

use crate::error::ModelsError;
use crate::tensors::format;

/// Bytes of one read: large enough for any disk's throughput, small enough to be packed out of the second-level cache and
/// that threads end together.
const PART_BYTES: usize = 256 << 10;

/// An empty matrix for `tensor`, whose shape was checked.
pub(crate) fn place(tensor: &TensorInfo) -> Result<PackedMatrix, ModelsError> {
    let size = |elements: u64| usize::try_from(elements).unwrap_or(usize::MAX);
    PackedMatrix::zeroed(format(tensor.kind), size(tensor.rows()), size(tensor.columns()))
        .map_err(|source| refuse(tensor, source))
}

fn refuse(tensor: &TensorInfo, source: KernelError) -> ModelsError {
    ModelsError::Kernel {
        what: format!("tensor {}", tensor.name),
        source,
    }
}

/// Fills every matrix from its tensor; `progress` is told the bytes read so far, from any thread.
pub(crate) fn fill(
    gguf: &Gguf,
    places: &mut [(&TensorInfo, PackedMatrix)],
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(), ModelsError> {
    let parts = places
        .iter_mut()
        .flat_map(|(tensor, matrix)| matrix.parts(PART_BYTES).map(|part| (&**tensor, part)));
    let (parts, failure, done) = (Mutex::new(parts), Mutex::new(None), AtomicU64::new(0));
    let work = || {
        let mut bytes = Vec::new();
        while let Some((tensor, part)) = take(&parts) {
            let read = part.source().len() as u64;
            if let Err(error) = fill_part(gguf, tensor, part, &mut bytes) {
                keep_first(&failure, error);
                return;
            }
            progress(done.fetch_add(read, Ordering::Relaxed) + read);
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
fn fill_part(gguf: &Gguf, tensor: &TensorInfo, part: Part<'_>, bytes: &mut Vec<u8>) -> Result<(), ModelsError> {
    let source = part.source();
    bytes.resize(source.len(), 0);
    gguf.read(tensor, source.start as u64, bytes)?;
    part.fill(bytes).map_err(|source| refuse(tensor, source))
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
    let mut matrix = place(tensor)?;
    let mut bytes = Vec::new();
    for part in matrix.parts(usize::MAX) {
        fill_part(gguf, tensor, part, &mut bytes)?;
    }
    numbers(tensor, &matrix)
}

/// The values of a matrix of one row.
pub(crate) fn numbers(tensor: &TensorInfo, matrix: &PackedMatrix) -> Result<Vec<f32>, ModelsError> {
    let mut values = vec![0.0; matrix.columns()];
    kernels::embedding::embedding(matrix, &[0], &mut values).map_err(|source| refuse(tensor, source))?;
    Ok(values)
}
