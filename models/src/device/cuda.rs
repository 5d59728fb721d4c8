//! A CUDA card as a device: registers and workspaces made once for the largest step, nothing allocated afterwards.

use std::rc::Rc;

use kernels::add::cuda::{add, add_bias};
use kernels::attention::cuda::GpuAttention;
use kernels::cuda::{Gpu, GpuBuffer, GpuError, GpuRows, Upload};
use kernels::kv_write::cuda::GpuKvLayer;
use kernels::matmul::cuda::{GpuActivations, GpuMatrix, matmul};
use kernels::rms_norm::cuda::{add_rms_norm, rms_norm, rms_norm_in_place};
use kernels::rope::cuda::{Biases, GpuRotation, Projections, turn_and_store};
use kernels::swiglu::cuda::swiglu;
use kernels::{Format, KvFormat, KvShape};
use library::Gguf;

use crate::batch::Batch;
use crate::device::{Device, Fault, Linear, Memory, Piece, Register, Registers, Sizes, join_values};
use crate::error::ModelsError;
use crate::run::Seat;
use crate::tensors::format;
use crate::weights::Meter;

/// Bytes of one read: while the card copies it the next is read.
const READ_BYTES: usize = 16 << 20;

/// Words of 32 activations in 8-bit form.
const WORDS_OF_32: usize = 9;

/// A card's memory.
pub(super) struct CardMemory(pub(super) Rc<Gpu>);

impl CardMemory {
    fn refuse(&self, error: GpuError) -> ModelsError {
        refuse(&self.0, error)
    }

    /// Reads the piece through the pinned buffers.
    fn load(
        &self,
        gguf: &Gguf,
        piece: &Piece<'_>,
        upload: &mut Upload<'_>,
        meter: &Meter<'_>,
    ) -> Result<GpuMatrix, ModelsError> {
        let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let (rows, columns) = (size(piece.rows.end - piece.rows.start), size(piece.tensor.columns()));
        let matrix = GpuMatrix::zeroed(&self.0, format(piece.tensor.kind), rows, columns);
        let mut matrix = matrix.map_err(|error| self.refuse(error))?;
        let (bytes, mut done) = (matrix.file_bytes(), 0);
        while done < bytes {
            let room = upload.room().map_err(|error| self.refuse(error))?;
            let count = room.len().min(bytes - done);
            gguf.read(piece.tensor, piece.first_byte() + done as u64, &mut room[..count])?;
            let sent = upload.send(count, matrix.bytes_mut(), done);
            sent.map_err(|error| self.refuse(error))?;
            meter.add(count as u64);
            done += count;
        }
        Ok(matrix)
    }
}

/// A card's words, as an error of the model.
pub(super) fn refuse(gpu: &Gpu, error: GpuError) -> ModelsError {
    ModelsError::Device {
        device: format!("cuda:{}", gpu.card().index),
        reason: error.to_string(),
    }
}

impl Memory for CardMemory {
    type Matrix = Rc<GpuMatrix>;
    type Vector = Rc<GpuBuffer<f32>>;

    fn matrices(
        &self,
        gguf: &Gguf,
        pieces: &[Piece<'_>],
        meter: &Meter<'_>,
    ) -> Result<Vec<Rc<GpuMatrix>>, ModelsError> {
        let mut upload = Upload::new(&self.0, READ_BYTES).map_err(|error| self.refuse(error))?;
        let load = |piece| self.load(gguf, piece, &mut upload, meter).map(Rc::new);
        pieces.iter().map(load).collect()
    }

    fn vector(&self, values: Vec<f32>) -> Result<Rc<GpuBuffer<f32>>, ModelsError> {
        let buffer = self.0.uploaded("a norm or bias", &values);
        buffer.map(Rc::new).map_err(|error| self.refuse(error))
    }
}

/// The largest step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) rows: usize,
    pub(super) sequences: usize,
    pub(super) context_tokens: usize,
}

/// The widths of a slice's rows, beside those of [`Sizes`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Widths {
    /// Of the feed-forward layer as this part computes it.
    pub(super) ffn: usize,
    /// Of the logits as this part computes them; 0 without the output matrix.
    pub(super) logits: usize,
    /// Of the widest row that a matrix takes.
    pub(super) input: usize,
}

/// One worker's registers on its card.
pub(super) struct Cuda {
    gpu: Rc<Gpu>,
    sizes: Sizes,
    widths: Widths,
    rows: GpuRows,
    rotation: GpuRotation,
    attention: GpuAttention,
    input: GpuActivations,
    registers: Registers<GpuBuffer<f32>>,
    /// Columns of `sum`: of a part, fewer until the parts are joined.
    sum_columns: usize,
    /// Whether `sum` is still to be added to `hidden`: the next norm does it on the way.
    is_sum_due: bool,
    /// Biases that are still to be added to queries, keys and values: turning them does it on the way.
    biases: [Option<Rc<GpuBuffer<f32>>>; 3],
}

/// The place of the bias that is added later, if it is one of those.
fn late_bias(register: Register) -> Option<usize> {
    match register {
        Register::Queries => Some(0),
        Register::Keys => Some(1),
        Register::Values => Some(2),
        _ => None,
    }
}

impl Cuda {
    /// Makes room on the card for the largest step.
    pub(super) fn new(
        gpu: Rc<Gpu>,
        sizes: Sizes,
        widths: Widths,
        formats: &[Format],
        limits: Limits,
    ) -> Result<Cuda, GpuError> {
        let (query, key) = (sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim);
        let register = |columns: usize| gpu.zeroed::<f32>("the largest step", limits.rows * columns.max(1));
        let blocks = limits.context_tokens.div_ceil(engine::BLOCK_TOKENS);
        Ok(Cuda {
            rows: GpuRows::new(&gpu, limits.rows, limits.sequences * blocks)?,
            rotation: GpuRotation::new(&gpu, limits.rows, &sizes.frequencies, sizes.magnitude, sizes.pairing)?,
            attention: GpuAttention::new(&gpu, sizes.heads, sizes.kv_shape(), limits.rows, limits.context_tokens)?,
            input: GpuActivations::new(&gpu, limits.rows, widths.input, formats)?,
            registers: Registers {
                hidden: register(sizes.hidden)?,
                queries: register(query)?,
                keys: register(key)?,
                values: register(key)?,
                gate: register(widths.ffn)?,
                up: register(widths.ffn)?,
                sum: register(sizes.hidden)?,
                logits: gpu.zeroed("the logits", limits.sequences * widths.logits.max(1))?,
            },
            sum_columns: sizes.hidden,
            is_sum_due: false,
            biases: [None, None, None],
            gpu,
            sizes,
            widths,
        })
    }

    /// Adds what is still to be added to the residual stream.
    fn settle_sum(&mut self) -> Result<(), GpuError> {
        if std::mem::take(&mut self.is_sum_due) {
            let Registers { hidden, sum, .. } = &mut self.registers;
            add(&self.gpu, hidden, sum, self.rows.len() * self.sizes.hidden)?;
        }
        Ok(())
    }

    /// Adds the bias of a projection now.
    fn settle_bias(&mut self, register: Register) -> Result<(), Fault> {
        let late = late_bias(register).and_then(|place| self.biases[place].take());
        if let Some(bias) = late {
            add_bias(&self.gpu, self.registers.get(register)?, self.rows.len(), &bias)?;
        }
        Ok(())
    }

    /// Columns of a register's rows.
    fn columns(&self, register: Register) -> usize {
        match register {
            Register::Hidden => self.sizes.hidden,
            Register::Input => self.input.columns(),
            Register::Queries => self.sizes.heads * self.sizes.head_dim,
            Register::Keys | Register::Values => self.sizes.kv_heads * self.sizes.head_dim,
            Register::Gate | Register::Up => self.widths.ffn,
            Register::Sum => self.sum_columns,
            Register::Logits => self.widths.logits,
        }
    }
}

impl Device for Cuda {
    type Memory = CardMemory;
    type Cache = GpuKvLayer;

    fn cache(&self, shape: KvShape, format: KvFormat, blocks: usize) -> Result<GpuKvLayer, ModelsError> {
        GpuKvLayer::zeroed(&self.gpu, shape, format, blocks).map_err(|error| refuse(&self.gpu, error))
    }

    fn begin(&mut self, batch: &Batch, hidden: &[f32]) -> Result<(), Fault> {
        self.is_sum_due = false;
        self.rows.set(&self.gpu, &batch.table_rows())?;
        self.rotation.prepare(&self.gpu, &self.rows)?;
        self.attention.set(&self.gpu, &self.rows)?;
        Ok(self.gpu.upload(&mut self.registers.hidden, 0, hidden)?)
    }

    fn read(&mut self, register: Register, into: &mut Vec<f32>) -> Result<(), Fault> {
        self.settle_sum()?;
        // Products have the rows of their input; the residual stream has the step's.
        let rows = match register {
            Register::Hidden => self.rows.len(),
            _ => self.input.rows(),
        };
        into.resize(rows * self.columns(register), 0.0);
        let from = match register {
            Register::Input => self.input.values(),
            plain => self.registers.get(plain)?,
        };
        Ok(self.gpu.download(from, 0, into)?)
    }

    fn write(&mut self, register: Register, columns: usize, values: &[f32]) -> Result<(), Fault> {
        let place = match register {
            Register::Input => self.input.reshape(values.len() / columns.max(1), columns)?,
            plain => self.registers.get(plain)?,
        };
        if register == Register::Sum {
            self.sum_columns = columns;
        }
        Ok(self.gpu.upload(place, 0, values)?)
    }

    fn join(
        &mut self,
        register: Register,
        next: Option<&Linear<CardMemory>>,
        columns: &[usize],
        seat: &mut Seat,
    ) -> Result<(), Fault> {
        let rows = self.input.rows();
        let form = next
            .map(|linear| linear.weight.format())
            .filter(|_| register == Register::Input);
        let step = form.and_then(|format| GpuActivations::form_step(format, rows));
        let step = step.filter(|step| columns.iter().all(|columns| columns.is_multiple_of(*step)));
        let (Some(format), Some(step)) = (form, step) else {
            return join_values(self, register, columns, seat);
        };
        // Rounded to 8 bits as the product would have rounded them: a quarter of the bytes, and the same result.
        self.input.read_form(&self.gpu, format, &mut seat.own)?;
        let words = |columns: &usize| columns / 32 * WORDS_OF_32;
        if step == 32 {
            seat.join(&columns.iter().map(words).collect::<Vec<_>>())?;
        } else {
            // All rows of 128 columns lie together, so that the parts lie one after another.
            seat.join(&columns.iter().map(|columns| rows * words(columns)).collect::<Vec<_>>())?;
        }
        let shape = (rows, columns.iter().sum());
        Ok(self.input.write_form(&self.gpu, format, shape, &seat.whole)?)
    }

    fn norm(&mut self, weight: &Rc<GpuBuffer<f32>>) -> Result<(), Fault> {
        let (rows, norm) = (self.rows.len(), (&**weight, self.sizes.epsilon));
        if std::mem::take(&mut self.is_sum_due) {
            let Registers { hidden, sum, .. } = &mut self.registers;
            let stream = (hidden, &*sum);
            return Ok(add_rms_norm(&self.gpu, stream, norm, rows, &mut self.input)?);
        }
        Ok(rms_norm(
            &self.gpu,
            &self.registers.hidden,
            norm,
            rows,
            &mut self.input,
        )?)
    }

    fn norm_wanted(&mut self, wanted: &[usize], weight: &Rc<GpuBuffer<f32>>) -> Result<(), Fault> {
        self.settle_sum()?;
        let (columns, norm) = (self.sizes.hidden, (&**weight, self.sizes.epsilon));
        let Registers { hidden, sum, .. } = &mut self.registers;
        if wanted.iter().copied().eq(0..self.rows.len()) {
            return Ok(rms_norm(&self.gpu, hidden, norm, wanted.len(), &mut self.input)?);
        }
        // Side by side in the register that nobody needs any more.
        for (place, row) in wanted.iter().enumerate() {
            self.gpu
                .copy((hidden, row * columns), (sum, place * columns), columns)?;
        }
        Ok(rms_norm(&self.gpu, sum, norm, wanted.len(), &mut self.input)?)
    }

    fn project<const N: usize>(&mut self, products: [(&Linear<CardMemory>, Register); N]) -> Result<(), Fault> {
        for (linear, register) in products {
            let output = self.registers.get(register)?;
            matmul(&self.gpu, &linear.weight, &mut self.input, output)?;
            if register == Register::Sum {
                self.sum_columns = linear.weight.rows();
            }
            match (late_bias(register), &linear.bias) {
                (Some(place), bias) => self.biases[place] = bias.clone(),
                (None, Some(bias)) => add_bias(&self.gpu, output, self.input.rows(), bias)?,
                (None, None) => {}
            }
        }
        Ok(())
    }

    fn norm_heads(&mut self, register: Register, weight: &Rc<GpuBuffer<f32>>) -> Result<(), Fault> {
        self.settle_bias(register)?;
        let heads = self.rows.len() * self.columns(register) / weight.len().max(1);
        let values = self.registers.get(register)?;
        Ok(rms_norm_in_place(&self.gpu, values, weight, self.sizes.epsilon, heads)?)
    }

    fn rotate_and_store(&mut self, _batch: &Batch, cache: &mut GpuKvLayer) -> Result<(), Fault> {
        let biases = match self.biases.each_mut().map(Option::take) {
            [Some(queries), Some(keys), Some(values)] => Some([queries, keys, values]),
            some => {
                self.biases = some;
                for register in [Register::Queries, Register::Keys, Register::Values] {
                    self.settle_bias(register)?;
                }
                None
            }
        };
        let biases = biases
            .as_ref()
            .map(|[queries, keys, values]| Biases { queries, keys, values });
        let projections = Projections {
            queries: &mut self.registers.queries,
            keys: &self.registers.keys,
            values: &self.registers.values,
            biases,
            heads: self.sizes.heads,
        };
        Ok(turn_and_store(
            &self.gpu,
            projections,
            &self.rotation,
            &self.rows,
            cache,
        )?)
    }

    fn attend(&mut self, _batch: &Batch, cache: &GpuKvLayer) -> Result<(), Fault> {
        let columns = self.sizes.heads * self.sizes.head_dim;
        let mixed = self.input.reshape(self.rows.len(), columns)?; // [rows, heads * head_dim]
        Ok(self
            .attention
            .run(&self.gpu, &self.registers.queries, cache, &self.rows, mixed)?)
    }

    fn gate(&mut self) -> Result<(), Fault> {
        let (rows, products) = (self.rows.len(), (&self.registers.gate, &self.registers.up));
        Ok(swiglu(&self.gpu, products, rows, self.widths.ffn, &mut self.input)?)
    }

    fn add(&mut self) -> Result<(), Fault> {
        self.is_sum_due = true;
        Ok(())
    }
}
