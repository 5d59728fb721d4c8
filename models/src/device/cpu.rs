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

use super::{Device, Fault, Linear, Memory, Piece, Register, Registers, Sizes};
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
    registers: Registers<Vec<f32>>,
    input: Activations, // [rows, columns of the next matrix]
    rotation: Rotation, // [rows, head_dim / 2]
}

impl Cpu {
    pub(crate) fn new(sizes: Sizes) -> Cpu {
        Cpu {
            sizes,
            registers: Registers::default(),
            input: Activations::new(),
            rotation: Rotation::default(),
        }
    }

    fn rows(&self) -> usize {
        self.registers.hidden.len() / self.sizes.hidden.max(1)
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
        self.registers.hidden.clear();
        self.registers.hidden.extend_from_slice(hidden);
        self.rotation
            .prepare(&batch.positions, &self.sizes.frequencies, self.sizes.magnitude);
        Ok(())
    }

    fn read(&mut self, register: Register, into: &mut Vec<f32>) -> Result<(), Fault> {
        into.clear();
        match register {
            Register::Input => into.extend_from_slice(self.input.values()),
            other => into.extend_from_slice(self.registers.get(other)?),
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
                let place = self.registers.get(other)?;
                place.clear();
                place.extend_from_slice(values);
            }
        }
        Ok(())
    }

    fn norm(&mut self, weight: &Vec<f32>) -> Result<(), Fault> {
        let normed = self.input.reshape(self.rows(), self.sizes.hidden); // [rows, hidden]
        Ok(rms_norm(&self.registers.hidden, weight, self.sizes.epsilon, normed)?)
    }

    fn norm_wanted(&mut self, wanted: &[usize], weight: &Vec<f32>) -> Result<(), Fault> {
        let columns = self.sizes.hidden;
        let normed = self.input.reshape(wanted.len(), columns); // [wanted, hidden]
        for (row, normed) in wanted.iter().zip(normed.chunks_exact_mut(columns)) {
            let hidden = &self.registers.hidden[row * columns..(row + 1) * columns];
            rms_norm(hidden, weight, self.sizes.epsilon, normed)?;
        }
        Ok(())
    }

    fn project<const N: usize>(&mut self, products: [(&Linear<HostMemory>, Register); N]) -> Result<(), Fault> {
        let mut outputs = [const { Vec::new() }; N];
        for (output, (linear, register)) in outputs.iter_mut().zip(&products) {
            *output = take(self.registers.get(*register)?);
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
            *self.registers.get(register)? = output;
        }
        Ok(multiplied?)
    }

    fn norm_heads(&mut self, register: Register, weight: &Vec<f32>) -> Result<(), Fault> {
        let epsilon = self.sizes.epsilon;
        Ok(rms_norm_in_place(self.registers.get(register)?, weight, epsilon)?)
    }

    fn rotate_and_store(&mut self, batch: &Batch, cache: &mut KvLayer) -> Result<(), Fault> {
        let (heads, kv_heads, pairing) = (self.sizes.heads, self.sizes.kv_heads, self.sizes.pairing);
        self.rotation.apply(&mut self.registers.queries, heads, pairing)?;
        self.rotation.apply(&mut self.registers.keys, kv_heads, pairing)?;
        // Every row's keys and values are in the cache before any row attends: a row of a chunk sees those before it.
        let width = kv_heads * self.sizes.head_dim;
        let pairs = self
            .registers
            .keys
            .chunks_exact(width)
            .zip(self.registers.values.chunks_exact(width));
        for (row, (keys, values)) in batch.table_rows().iter().zip(pairs) {
            cache.write(row.block_table, row.position, keys, values)?;
        }
        Ok(())
    }

    fn attend(&mut self, batch: &Batch, cache: &KvLayer) -> Result<(), Fault> {
        let heads = self.sizes.heads;
        let mixed = self.input.reshape(batch.rows(), heads * self.sizes.head_dim); // [rows, heads * head_dim]
        Ok(attention(
            &self.registers.queries,
            heads,
            cache,
            &batch.table_rows(),
            mixed,
        )?)
    }

    fn gate(&mut self) -> Result<(), Fault> {
        let columns = self.registers.gate.len() / self.rows().max(1);
        let gated = self.input.reshape(self.rows(), columns); // [rows, ffn]
        Ok(swiglu(&self.registers.gate, &self.registers.up, columns, gated)?)
    }

    fn add(&mut self) -> Result<(), Fault> {
        Ok(add(&mut self.registers.hidden, &self.registers.sum)?)
    }
}
