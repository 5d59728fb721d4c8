//! What a model costs wherever it lies: the bytes and weights of its matrices, and what a token leaves in the cache.

use library::{Gguf, TensorInfo};

use super::parts::{heads_of, rows_of};
use crate::config::Config;
use crate::tensors::{EMBEDDING, OUTPUT};
use kernels::KvFormat;

/// How the rows of a matrix are dealt to several devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// With the key and value heads.
    Heads,
    /// In tiles of rows.
    Rows,
}

/// One matrix, or what lies beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Matrix {
    rows: usize,
    bytes: u64,
    elements: u64,
    cut: Cut,
}

/// Bytes in memory, and the weights among them that every token meets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Bytes, as the file has them.
    pub bytes: u64,
    /// Weights; each is one multiplication and one addition for each token.
    pub elements: u64,
}

impl Cost {
    pub(super) fn plus(self, other: Cost) -> Cost {
        Cost {
            bytes: self.bytes.saturating_add(other.bytes),
            elements: self.elements.saturating_add(other.elements),
        }
    }
}

/// The costs of one model, from the shapes in its file's header: no weight is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Costs {
    /// Matrices, norms and biases of each layer.
    layers: Vec<Vec<Matrix>>,
    output: Matrix,
    /// Of the embedding table. The machine's own memory holds it for every placement: a token takes one row.
    pub embedding_bytes: u64,
    /// Whether the embedding table is the output matrix too.
    pub is_tied: bool,
    /// The model's sizes.
    pub config: Config,
}

impl Costs {
    /// The costs of the model in `gguf`, whose sizes are `config`.
    pub fn of(gguf: &Gguf, config: &Config) -> Costs {
        Costs::of_tensors(gguf.tensors(), config)
    }

    /// The same from a list of tensors.
    pub fn of_tensors(tensors: &[TensorInfo], config: &Config) -> Costs {
        let named = |name: &str| tensors.iter().find(|tensor| tensor.name == name);
        let embedding_bytes = named(EMBEDDING).map_or(0, |tensor| tensor.bytes);
        let output = named(OUTPUT);
        let mut layers = vec![Vec::new(); config.layers];
        for tensor in tensors {
            let layer = layer_of(&tensor.name).and_then(|(layer, _)| layers.get_mut(layer));
            if let Some(layer) = layer {
                layer.push(Matrix::of(tensor));
            }
        }
        let nothing = Matrix {
            rows: 0,
            bytes: 0,
            elements: 0,
            cut: Cut::Rows,
        };
        Costs {
            layers,
            output: output.or_else(|| named(EMBEDDING)).map_or(nothing, Matrix::of),
            embedding_bytes,
            is_tied: output.is_none(),
            config: config.clone(),
        }
    }

    /// Layers of the model.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// All of one layer; nothing past the last.
    pub fn layer(&self, layer: usize) -> Cost {
        self.layer_part(layer, 0, 1)
    }

    /// Part `part` of `parts` of a layer. Norms and biases are in every part.
    pub fn layer_part(&self, layer: usize, part: usize, parts: usize) -> Cost {
        let matrices = self.layers.get(layer).map_or(&[][..], Vec::as_slice);
        let costs = matrices.iter().map(|matrix| self.matrix_part(matrix, part, parts));
        costs.fold(Cost::default(), Cost::plus)
    }

    /// Part `part` of `parts` of the output matrix.
    pub fn output_part(&self, part: usize, parts: usize) -> Cost {
        self.matrix_part(&self.output, part, parts)
    }

    /// All that one step reads: every layer and the output matrix.
    pub fn step(&self) -> Cost {
        let layers = (0..self.layers()).map(|layer| self.layer(layer));
        layers.fold(self.output_part(0, 1), Cost::plus)
    }

    /// Bytes that one token leaves in the cache of one layer, in part `part` of `parts` of the heads.
    pub fn kv_bytes_per_layer(&self, format: KvFormat, part: usize, parts: usize) -> u64 {
        let heads = heads_of(self.config.kv_heads, part, parts).len() as u64;
        heads.saturating_mul(2 * format.head_bytes(self.config.head_dim) as u64)
    }

    /// Bytes of one token in one layer that the devices of [`super::Placement::Tensor`] hand each other, all parts
    /// together: two rows are rounded to 8 bits anyway, two are sums in f32.
    pub fn exchanged_bytes_per_layer(&self) -> u64 {
        let config = &self.config;
        let rounded = (config.heads * config.head_dim + config.ffn) as u64;
        let sums = 2 * config.hidden as u64;
        rounded * ROUNDED_BYTES / ROUNDED_ELEMENTS + sums * 4
    }

    fn matrix_part(&self, matrix: &Matrix, part: usize, parts: usize) -> Cost {
        if matrix.elements == 0 {
            return Cost {
                bytes: matrix.bytes,
                elements: 0,
            };
        }
        let (mine, all) = match matrix.cut {
            Cut::Heads => {
                let heads = self.config.kv_heads;
                (heads_of(heads, part, parts).len(), heads)
            }
            Cut::Rows => (rows_of(matrix.rows, part, parts).len(), matrix.rows),
        };
        Cost {
            bytes: share(matrix.bytes, mine, all),
            elements: share(matrix.elements, mine, all),
        }
    }
}

/// A block of 8-bit activations: a scale, 256 integers, and their sums by sixteens.
const ROUNDED_BYTES: u64 = 4 + 256 + 2 * 16;
const ROUNDED_ELEMENTS: u64 = 256;

impl Matrix {
    fn of(tensor: &TensorInfo) -> Matrix {
        let is_headed = layer_of(&tensor.name)
            .is_some_and(|(_, name)| matches!(name, "attn_q.weight" | "attn_k.weight" | "attn_v.weight"));
        let is_matrix = tensor.rows() > 1;
        Matrix {
            rows: usize::try_from(tensor.rows()).unwrap_or(usize::MAX),
            bytes: tensor.bytes,
            // A norm or a bias is no product.
            elements: if is_matrix { tensor.elements() } else { 0 },
            cut: if is_headed { Cut::Heads } else { Cut::Rows },
        }
    }
}

/// `blk.3.attn_q.weight` is (3, `attn_q.weight`).
fn layer_of(name: &str) -> Option<(usize, &str)> {
    let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    Some((layer.parse().ok()?, rest))
}

/// `amount * part / whole`, rounded up.
fn share(amount: u64, part: usize, whole: usize) -> u64 {
    let product = u128::from(amount) * part as u128;
    u64::try_from(product.div_ceil((whole as u128).max(1))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Work, tiny};

    #[test]
    fn the_costs_of_a_step_are_its_matrices_and_the_norms_beside_them() {
        let gguf = Gguf::from_static(tiny::GGUF, "tiny").unwrap();
        let config = Config::from_gguf(&gguf).unwrap();
        let (costs, work) = (Costs::of(&gguf, &config), Work::of(&gguf));
        assert_eq!(costs.step().elements, work.multiply_adds(1, 1));
        let all: u64 = gguf.tensors().iter().map(|tensor| tensor.bytes).sum();
        let last_norm = 4 * config.hidden as u64;
        assert_eq!(costs.step().bytes + costs.embedding_bytes + last_norm, all);
        for format in KvFormat::ALL {
            let layers = costs.layers() as u64 * costs.kv_bytes_per_layer(format, 0, 1);
            assert_eq!(layers, config.kv_bytes_per_token(format));
        }
    }

    #[test]
    fn the_parts_of_a_layer_are_the_layer_with_its_vectors_in_each() {
        let gguf = Gguf::from_static(tiny::GGUF, "tiny").unwrap();
        let config = Config::from_gguf(&gguf).unwrap();
        let costs = Costs::of(&gguf, &config);
        let parts = [0, 1].map(|part| costs.layer_part(0, part, 2));
        let together = parts[0].plus(parts[1]);
        assert_eq!(together.elements, costs.layer(0).elements);
        let vectors: u64 = costs.layers[0]
            .iter()
            .filter(|matrix| matrix.elements == 0)
            .map(|matrix| matrix.bytes)
            .sum();
        assert_eq!(together.bytes, costs.layer(0).bytes + vectors);
        assert_eq!(costs.layer(costs.layers()), Cost::default());
    }

    #[test]
    fn a_share_of_the_largest_number_does_not_overflow() {
        assert_eq!(share(u64::MAX, 2, 3), u64::MAX / 3 * 2);
        assert_eq!(share(10, 1, 3), 4);
        assert_eq!(share(10, 1, 0), 10);
    }
}
