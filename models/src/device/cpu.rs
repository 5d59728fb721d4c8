//! The processor as a device: weights packed in memory that all its engines share, registers that keep their size.

use std::mem::take;
use std::sync::Arc;

use kernels::add::{add, add_bias};
use kernels::attention::attention;
use kernels::matmul::matmul_each;
use kernels::rms_norm::{rms_norm, rms_norm_in_place};
use kernels::rope::Rotation;
use kernels::swiglu::swiglu;
use kernels::{Activations, KvFormat, KvLayer, KvShape, PackedMatrix};
use library::Gguf;

use super::{Device, Fault, Linear, Memory, Piece, Register, Sizes};
use crate::batch::Batch;
use crate::error::ModelsError;
use crate::load;
use crate::weights::Meter;

/// This machine's memory.
pub(crate) struct HostMemory;

impl Memory for HostMemory {
    type Matrix = Arc<PackedMatrix>;
    type Vector = Vec<f32>;

    fn matrices(
        &self,
        gguf: &Gguf,
        pieces: &[Piece<'_>],
        meter: &Meter<'_>,
    ) -> Result<Vec<Arc<PackedMatrix>>, ModelsError> {
        let mut places = Vec::with_capacity(pieces.len());
        for piece in pieces {
            places.push((piece, load::place(piece)?));
        }
        load::fill(gguf, &mut places, meter)?;
        Ok(places.into_iter().map(|(_, matrix)| Arc::new(matrix)).collect())
    }

    fn vector(&self, values: Vec<f32>) -> Result<Vec<f32>, ModelsError> {
        Ok(values)
    }
}

/// One engine's or one worker's registers; the matrices are shared.
pub(crate) struct Cpu {
    sizes: Sizes,
    hidden: Vec<f32>,   // [rows, hidden]
    input: Activations, // [rows, columns of the next matrix]
    queries: Vec<f32>,  // [rows, heads * head_dim]
    keys: Vec<f32>,     // [rows, kv_heads * head_dim]
    values: Vec<f32>,   // [rows, kv_heads * head_dim]
    gate: Vec<f32>,     // [rows, ffn]
    up: Vec<f32>,       // [rows, ffn]
    sum: Vec<f32>,      // [rows, hidden]
    logits: Vec<f32>,   // [wanted, vocabulary]
    rotation: Rotation, // [rows, head_dim / 2]
}

impl Cpu {
    pub(crate) fn new(sizes: Sizes) -> Cpu {
        Cpu {
            sizes,
            hidden: Vec::new(),
            input: Activations::new(),
            queries: Vec::new(),
            keys: Vec::new(),
            values: Vec::new(),
            gate: Vec::new(),
            up: Vec::new(),
            sum: Vec::new(),
            logits: Vec::new(),
            rotation: Rotation::default(),
        }
    }

    /// A register's numbers. `Input` is apart, as it has a rounded form too.
    fn register(&mut self, register: Register) -> Result<&mut Vec<f32>, Fault> {
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

    fn rows(&self) -> usize {
        self.hidden.len() / self.sizes.hidden.max(1)
    }
}

impl Device for Cpu {
    type Memory = HostMemory;
    type Cache = KvLayer;

    fn cache(&self, shape: KvShape, format: KvFormat, blocks: usize) -> Result<KvLayer, ModelsError> {
        KvLayer::zeroed(shape, format, blocks).map_err(|source| ModelsError::Kernel {
            what: "the KV pool".to_owned(),
            source,
        })
    }

    fn begin(&mut self, batch: &Batch, hidden: &[f32]) -> Result<(), Fault> {
        self.hidden.clear();
        self.hidden.extend_from_slice(hidden);
        self.rotation
            .prepare(&batch.positions, &self.sizes.frequencies, self.sizes.magnitude);
        Ok(())
    }

    fn read(&mut self, register: Register, into: &mut Vec<f32>) -> Result<(), Fault> {
        into.clear();
        match register {
            Register::Input => into.extend_from_slice(self.input.values()),
            other => into.extend_from_slice(self.register(other)?),
        }
        Ok(())
    }

    fn write(&mut self, register: Register, columns: usize, values: &[f32]) -> Result<(), Fault> {
        match register {
            Register::Input => {
                let rows = values.len() / columns.max(1);
                self.input.reshape(rows, columns).copy_from_slice(values);
            }
            other => {
                let place = self.register(other)?;
                place.clear();
                place.extend_from_slice(values);
            }
        }
        Ok(())
    }

    fn norm(&mut self, weight: &Vec<f32>) -> Result<(), Fault> {
        let normed = self.input.reshape(self.rows(), self.sizes.hidden); // [rows, hidden]
        Ok(rms_norm(&self.hidden, weight, self.sizes.epsilon, normed)?)
    }

    fn norm_wanted(&mut self, wanted: &[usize], weight: &Vec<f32>) -> Result<(), Fault> {
        let columns = self.sizes.hidden;
        let normed = self.input.reshape(wanted.len(), columns); // [wanted, hidden]
        for (row, normed) in wanted.iter().zip(normed.chunks_exact_mut(columns)) {
            let hidden = &self.hidden[row * columns..(row + 1) * columns];
            rms_norm(hidden, weight, self.sizes.epsilon, normed)?;
        }
        Ok(())
    }

    fn project<const N: usize>(&mut self, products: [(&Linear<HostMemory>, Register); N]) -> Result<(), Fault> {
        let mut outputs = [const { Vec::new() }; N];
        for (output, (linear, register)) in outputs.iter_mut().zip(&products) {
            *output = take(self.register(*register)?);
            output.resize(self.input.rows() * linear.weight.rows(), 0.0);
        }
        let mut places = outputs.iter_mut();
        // As many outputs as products: `next` gives one for each.
        let pairs = products.map(|(linear, _)| (&*linear.weight, places.next().map_or(&mut [][..], |place| place)));
        let multiplied = matmul_each(pairs, &mut self.input);
        for ((linear, register), mut output) in products.into_iter().zip(outputs) {
            if let (Some(bias), Ok(())) = (&linear.bias, &multiplied) {
                add_bias(&mut output, bias)?;
            }
            *self.register(register)? = output;
        }
        Ok(multiplied?)
    }

    fn norm_heads(&mut self, register: Register, weight: &Vec<f32>) -> Result<(), Fault> {
        let epsilon = self.sizes.epsilon;
        Ok(rms_norm_in_place(self.register(register)?, weight, epsilon)?)
    }

    fn rotate_and_store(&mut self, batch: &Batch, cache: &mut KvLayer) -> Result<(), Fault> {
        let (heads, kv_heads, pairing) = (self.sizes.heads, self.sizes.kv_heads, self.sizes.pairing);
        self.rotation.apply(&mut self.queries, heads, pairing)?;
        self.rotation.apply(&mut self.keys, kv_heads, pairing)?;
        // Every row's keys and values are in the cache before any row attends: a row of a chunk sees those before it.
        let width = kv_heads * self.sizes.head_dim;
        let pairs = self.keys.chunks_exact(width).zip(self.values.chunks_exact(width));
        for (row, (keys, values)) in batch.table_rows().iter().zip(pairs) {
            cache.write(row.block_table, row.position, keys, values)?;
        }
        Ok(())
    }

    fn attend(&mut self, batch: &Batch, cache: &KvLayer) -> Result<(), Fault> {
        let heads = self.sizes.heads;
        let mixed = self.input.reshape(batch.rows(), heads * self.sizes.head_dim); // [rows, heads * head_dim]
        Ok(attention(&self.queries, heads, cache, &batch.table_rows(), mixed)?)
    }

    fn gate(&mut self) -> Result<(), Fault> {
        let columns = self.gate.len() / self.rows().max(1);
        let gated = self.input.reshape(self.rows(), columns); // [rows, ffn]
        Ok(swiglu(&self.gate, &self.up, columns, gated)?)
    }

    fn add(&mut self) -> Result<(), Fault> {
        Ok(add(&mut self.hidden, &self.sum)?)
    }
}
