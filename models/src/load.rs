//! Reading tensors: several threads, each piece straight into the memory that the kernels will use.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use kernels::{KernelError, PackedMatrix};
use library::{Gguf, GgufError, TensorInfo};

use crate::error::ModelsError;
use crate::tensors::format;

/// Bytes of one read: large enough for any disk's throughput, small enough that threads end together.
const PIECE_BYTES: usize = 4 << 20;

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
    let pieces = places.iter_mut().flat_map(|(tensor, matrix)| {
        let offsets = (0u64..).step_by(PIECE_BYTES);
        offsets
            .zip(matrix.bytes_mut().chunks_mut(PIECE_BYTES))
            .map(|(offset, piece)| (&**tensor, offset, piece))
    });
    let (pieces, failure, done) = (Mutex::new(pieces), Mutex::new(None), AtomicU64::new(0));
    let work = || {
        while let Some((tensor, offset, piece)) = take(&pieces) {
            if let Err(error) = gguf.read(tensor, offset, piece) {
                keep_first(&failure, error);
                return;
            }
            let bytes = piece.len() as u64;
            progress(done.fetch_add(bytes, Ordering::Relaxed) + bytes);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..readers() {
            scope.spawn(work);
        }
    });
    match failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        Some(error) => Err(ModelsError::File(error)),
        None => Ok(()),
    }
}

/// The next piece; a thread that panicked has left the iterator whole.
fn take<T>(pieces: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    pieces.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next()
}

fn keep_first(failure: &Mutex<Option<GgufError>>, error: GgufError) {
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
    gguf.read(tensor, 0, matrix.bytes_mut())?;
    numbers(tensor, &matrix)
}

/// The values of a matrix of one row.
pub(crate) fn numbers(tensor: &TensorInfo, matrix: &PackedMatrix) -> Result<Vec<f32>, ModelsError> {
    let mut values = vec![0.0; matrix.columns()];
    kernels::embedding::embedding(matrix, &[0], &mut values).map_err(|source| refuse(tensor, source))?;
    Ok(values)
}
