//! What the reader promises whatever bytes it is given, checked by arithmetic that shares nothing with its own.

use crate::gguf::limits::ERROR_BYTES_MAX;
use crate::gguf::{Gguf, GgufError, TensorType};

/// Opens `bytes` and asks for everything in them. Returns whether they were accepted.
///
/// # Panics
/// A promise is broken: a refusal is long or has control characters, an accepted tensor is not in the file, or a
/// vocabulary has an id out of range.
pub fn check_promises(bytes: Vec<u8>) -> bool {
    let file_bytes = bytes.len() as u128;
    let gguf = match Gguf::from_bytes(bytes, "any bytes") {
        Ok(gguf) => gguf,
        Err(error) => {
            check_refusal(&error);
            return false;
        }
    };
    assert!(
        padded_bytes(&gguf) <= file_bytes,
        "accepted tensors that the file has no room for"
    );
    for tensor in gguf.tensors() {
        assert!(
            u128::from(tensor.bytes) <= file_bytes,
            "`{}` is larger than the file",
            tensor.name
        );
        let mut bytes = vec![0; usize::try_from(tensor.bytes).unwrap_or(usize::MAX)];
        assert!(
            gguf.read(tensor, 0, &mut bytes).is_ok(),
            "`{}` is not in the file",
            tensor.name
        );
    }
    match gguf.vocabulary() {
        Ok(vocabulary) => {
            let ids = [Some(vocabulary.eos), vocabulary.bos]
                .into_iter()
                .flatten()
                .chain(vocabulary.end_tokens);
            assert!(
                ids.into_iter().all(|id| (id as usize) < vocabulary.tokens.len()),
                "a special id is out of range"
            );
            assert_eq!(vocabulary.tokens.len(), vocabulary.types.len());
        }
        Err(error) => check_refusal(&error),
    }
    true
}

/// Asserts that a refusal is fit for a log line.
fn check_refusal(error: &GgufError) {
    let text = error.to_string();
    assert!(
        text.len() <= ERROR_BYTES_MAX,
        "{} bytes of error text: {text}",
        text.len()
    );
    assert!(!text.chars().any(char::is_control), "control characters in {text:?}");
}

/// The bytes of all tensors, each padded to the alignment, from the shapes alone and in 128 bits.
fn padded_bytes(gguf: &Gguf) -> u128 {
    let alignment = u128::from(gguf.metadata().unsigned_or("general.alignment", 32).unwrap_or(0));
    let padded = gguf.tensors().iter().map(|tensor| {
        // Accepted dimensions multiply to less than 2^64, so neither product overflows.
        let elements: u128 = tensor.dims.iter().map(|dim| u128::from(*dim)).product();
        (elements * bits_per_256(tensor.kind) / 256 / 8).next_multiple_of(alignment)
    });
    padded.sum()
}

/// Bits that 256 numbers take, from the bits per weight that people quote (Q4_K: 4.5).
fn bits_per_256(kind: TensorType) -> u128 {
    match kind {
        TensorType::F32 => 8192,
        TensorType::F16 | TensorType::Bf16 => 4096,
        TensorType::Q8_0 => 2176,
        TensorType::Q6K => 1680,
        TensorType::Q5K | TensorType::Q5_0 => 1408,
        TensorType::Q4K | TensorType::Q4_0 => 1152,
        TensorType::Q3K => 880,
        TensorType::Q2K => 672,
    }
}
