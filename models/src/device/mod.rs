//! What a decoder asks of a device: memory for weights, and the operations of a layer on registers that the device keeps.

pub(crate) mod card;
mod cpu;

use std::ops::Range;

use kernels::rope::Pairing;
use kernels::{KvFormat, KvShape};
use library::{Gguf, TensorInfo};

use crate::batch::Batch;
use crate::config::{Architecture, Config};
use crate::error::ModelsError;
use crate::run::Seat;
use crate::slice::Slice;
use crate::weights::Meter;

pub(crate) use cpu::{Cpu, HostMemory};

/// Why a step failed, in the device's words.
pub(crate) type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Some rows of a tensor, to be loaded.
pub(crate) struct Piece<'a> {
    pub(crate) tensor: &'a TensorInfo,
    pub(crate) rows: Range<u64>,
}

impl<'a> Piece<'a> {
    /// All rows of the tensor.
    pub(crate) fn whole(tensor: &'a TensorInfo) -> Piece<'a> {
        Piece {
            tensor,
            rows: 0..tensor.rows(),
        }
    }

    /// Bytes of one row in the file; a tensor's rows are whole blocks, which the reader has checked.
    fn row_bytes(&self) -> u64 {
        self.tensor.bytes / self.tensor.rows().max(1)
    }

    /// Where its bytes begin in the tensor.
    pub(crate) fn first_byte(&self) -> u64 {
        self.rows.start * self.row_bytes()
    }

    /// Its bytes in the file.
    pub(crate) fn bytes(&self) -> u64 {
        (self.rows.end - self.rows.start) * self.row_bytes()
    }
}

/// A matrix and its bias.
pub(crate) struct Linear<M: Memory> {
    pub(crate) weight: M::Matrix,
    pub(crate) bias: Option<M::Vector>,
}

/// Where a device keeps weights.
pub(crate) trait Memory {
    /// Weights as the device multiplies them.
    type Matrix;
    /// A norm or a bias.
    type Vector;

    /// Reads the pieces, in their order; `meter` is told what is read.
    fn matrices(&self, gguf: &Gguf, pieces: &[Piece<'_>], meter: &Meter<'_>) -> Result<Vec<Self::Matrix>, ModelsError>;

    /// Takes numbers.
    fn vector(&self, values: Vec<f32>) -> Result<Self::Vector, ModelsError>;
}

/// Rows of f32 that a device keeps during a step, as many as the step has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Register {
    /// The residual stream.
    Hidden,
    /// What the next matrix takes.
    Input,
    Queries,
    Keys,
    Values,
    Gate,
    Up,
    /// What is added to the residual stream.
    Sum,
    Logits,
}

/// The plain registers of a device, each a `T`: all but `Input`, which has rounded forms too.
#[derive(Default)]
pub(crate) struct Registers<T> {
    pub(crate) hidden: T,  // [rows, hidden]
    pub(crate) queries: T, // [rows, heads * head_dim]
    pub(crate) keys: T,    // [rows, kv_heads * head_dim]
    pub(crate) values: T,  // [rows, kv_heads * head_dim]
    pub(crate) gate: T,    // [rows, ffn]
    pub(crate) up: T,      // [rows, ffn]
    pub(crate) sum: T,     // [rows, hidden]
    pub(crate) logits: T,  // [wanted, vocabulary]
}

impl<T> Registers<T> {
    pub(crate) fn get(&mut self, register: Register) -> Result<&mut T, Fault> {
        Ok(match register {
            Register::Hidden => &mut self.hidden,
            Register::Queries => &mut self.queries,
            Register::Keys => &mut self.keys,
            Register::Values => &mut self.values,
            Register::Gate => &mut self.gate,
            Register::Up => &mut self.up,
            Register::Sum => &mut self.sum,
            Register::Logits => &mut self.logits,
            Register::Input => return Err("the input is not a plain register".into()),
        })
    }
}

/// The operations of a decoder's layer. A row's results depend on its own sequence only.
pub(crate) trait Device {
    /// Where the weights lie.
    type Memory: Memory;
    /// The KV cache of one layer.
    type Cache;

    /// An empty cache.
    fn cache(&self, shape: KvShape, format: KvFormat, blocks: usize) -> Result<Self::Cache, ModelsError>;

    /// Begins a step: `hidden` `[rows, hidden]` becomes the residual stream.
    fn begin(&mut self, batch: &Batch, hidden: &[f32]) -> Result<(), Fault>;

    /// Copies a register out, as it is: `[rows, columns]`.
    fn read(&mut self, register: Register, into: &mut Vec<f32>) -> Result<(), Fault>;

    /// Sets `Input` or `Sum` to `values`, rows of `columns` elements.
    fn write(&mut self, register: Register, columns: usize, values: &[f32]) -> Result<(), Fault>;

    /// Makes whole rows of what this part and the others have in `Input` or `Sum`; `next` multiplies them, if anything does.
    ///
    /// * `columns`  of every part
    fn join(
        &mut self,
        register: Register,
        _next: Option<&Linear<Self::Memory>>,
        columns: &[usize],
        seat: &mut Seat,
    ) -> Result<(), Fault> {
        join_values(self, register, columns, seat)
    }

    /// `Input` = the normalised `Hidden`.
    fn norm(&mut self, weight: &Vector<Self>) -> Result<(), Fault>;

    /// `Input` = the normalised rows `wanted` of `Hidden`.
    fn norm_wanted(&mut self, wanted: &[usize], weight: &Vector<Self>) -> Result<(), Fault>;

    /// Each register = `Input` times its matrix, bias added.
    fn project<const N: usize>(&mut self, products: [(&Linear<Self::Memory>, Register); N]) -> Result<(), Fault>;

    /// Normalises every head of `Queries` or `Keys`.
    fn norm_heads(&mut self, register: Register, weight: &Vector<Self>) -> Result<(), Fault>;

    /// Turns `Queries` and `Keys` by their rows' positions and stores `Keys` and `Values` in the cache.
    fn rotate_and_store(&mut self, batch: &Batch, cache: &mut Self::Cache) -> Result<(), Fault>;

    /// `Input` = what the cached values give for `Queries`.
    fn attend(&mut self, batch: &Batch, cache: &Self::Cache) -> Result<(), Fault>;

    /// `Input` = silu(`Gate`) times `Up`.
    fn gate(&mut self) -> Result<(), Fault>;

    /// `Hidden` += `Sum`.
    fn add(&mut self) -> Result<(), Fault>;
}

/// Joins the parts of rows as they are, in f32.
pub(crate) fn join_values<D: Device + ?Sized>(
    device: &mut D,
    register: Register,
    columns: &[usize],
    seat: &mut Seat,
) -> Result<(), Fault> {
    let mut values = Vec::new();
    device.read(register, &mut values)?;
    seat.own.clear();
    seat.own.extend(values.iter().map(|value| value.to_bits()));
    seat.join(columns)?;
    values.clear();
    values.extend(seat.whole.iter().map(|bits| f32::from_bits(*bits)));
    device.write(register, columns.iter().sum(), &values)
}

/// A norm or bias of a device.
pub(crate) type Vector<D> = <<D as Device>::Memory as Memory>::Vector;

/// What a device must know of the model to run its part of a layer.
#[derive(Debug, Clone)]
pub(crate) struct Sizes {
    pub(crate) hidden: usize,
    /// Query heads of this part.
    pub(crate) heads: usize,
    /// Key and value heads of this part.
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) epsilon: f32,
    pub(crate) pairing: Pairing,
    pub(crate) frequencies: Vec<f32>, // [head_dim / 2]
    pub(crate) magnitude: f32,
}

impl Sizes {
    pub(crate) fn new(config: &Config, slice: &Slice) -> Sizes {
        let kv_heads = slice.kv_heads(config).len();
        Sizes {
            hidden: config.hidden,
            heads: kv_heads * (config.heads / config.kv_heads),
            kv_heads,
            head_dim: config.head_dim,
            epsilon: config.rms_epsilon,
            pairing: match config.architecture {
                Architecture::Llama => Pairing::Neighbours,
                Architecture::Qwen2 | Architecture::Qwen3 => Pairing::Halves,
            },
            frequencies: config.rope.frequencies.clone(),
            magnitude: config.rope.magnitude,
        }
    }

    pub(crate) fn kv_shape(&self) -> KvShape {
        KvShape {
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
        }
    }
}
