//! What a step costs, whatever computes it: the bytes and the elements of the matrices that it must touch.

use library::{Gguf, TensorInfo};

use crate::placement::Cost;
use crate::tensors::{EMBEDDING, OUTPUT};

/// The matrices of a model by when they are used.
///
/// The embedding table is not among them, since a token takes one row of it, unless it is the output matrix too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Of all layers: read once in a step, multiplied for every token of it.
    pub layers: Cost,
    /// The output matrix: multiplied for those tokens only whose successor is wanted.
    pub output: Cost,
}

impl Work {
    /// The work of the model in `gguf`, which [`crate::Config::from_gguf`] accepts.
    pub fn of(gguf: &Gguf) -> Work {
        Work::of_tensors(gguf.tensors())
    }

    fn of_tensors(tensors: &[TensorInfo]) -> Work {
        let has_output = tensors.iter().any(|tensor| tensor.name == OUTPUT);
        let output = if has_output { OUTPUT } else { EMBEDDING };
        let mut work = Work::default();
        for tensor in tensors {
            let matrices = match tensor.name.as_str() {
                name if name == output => &mut work.output,
                EMBEDDING => continue,
                _ if tensor.rows() > 1 => &mut work.layers,
                _ => continue,
            };
            matrices.bytes += tensor.bytes;
            matrices.elements += tensor.elements();
        }
        work
    }

    /// Bytes that one step reads when it wants at least one successor.
    pub fn step_bytes(&self) -> u64 {
        self.layers.bytes + self.output.bytes
    }

    /// Multiplications of `tokens` tokens of which `wanted` want their successor.
    pub fn multiply_adds(&self, tokens: u64, wanted: u64) -> u64 {
        tokens * self.layers.elements + wanted * self.output.elements
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, tiny};

    #[test]
    fn every_matrix_counts_once_and_the_embedding_only_where_it_is_the_output_matrix_too() {
        let gguf = Gguf::from_static(tiny::GGUF, "tiny").unwrap();
        let config = Config::from_gguf(&gguf).unwrap();
        let (hidden, ffn) = (config.hidden, config.ffn);
        let (queries, keys) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        let layer = 2 * hidden * queries + 2 * hidden * keys + 3 * hidden * ffn;
        let bytes_of = |name: &str| gguf.tensor(name).unwrap().bytes;
        let vectors = gguf.tensors().iter().filter(|tensor| tensor.rows() == 1);
        let all: u64 = gguf.tensors().iter().map(|tensor| tensor.bytes).sum();
        let matrix_bytes = all - vectors.map(|tensor| tensor.bytes).sum::<u64>();

        let untied = Work::of(&gguf);
        let without_output = gguf.tensors().iter().filter(|tensor| tensor.name != OUTPUT);
        let tied = Work::of_tensors(&without_output.cloned().collect::<Vec<_>>());
        assert_eq!(untied.step_bytes(), matrix_bytes - bytes_of(EMBEDDING));
        assert_eq!(tied.step_bytes(), matrix_bytes - bytes_of(OUTPUT));
        for work in [untied, tied] {
            assert_eq!(work.layers.elements, (config.layers * layer) as u64);
            assert_eq!(work.output.elements, (hidden * config.vocabulary) as u64);
            assert_eq!(
                work.multiply_adds(3, 1),
                3 * work.layers.elements + work.output.elements
            );
        }
    }
}
