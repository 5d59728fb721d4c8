//! What a layer feeds its matrices, on a card: f32 rows, and their 8-bit forms, made once and shared by the products.

use super::{MMVQ_ROWS_MAX, Scales, padded, quantised};
use crate::Format;
use crate::cuda::{Arg, Gpu, GpuBuffer, GpuError, Launch, expect_room, narrow};
use crate::error::expect_below;

/// Rows of activations `[rows, columns]` f32 with the room for their 8-bit forms.
///
/// As [`Activations`](crate::Activations): the 8-bit forms are computed when a product first asks for them, and kept until
/// the values are written again. The operations that write a few rows write the form for MMVQ with them.
pub struct GpuActivations {
    rows_max: usize,
    columns_max: usize,
    rows: usize,
    columns: usize,
    values: GpuBuffer<f32>,
    /// For MMVQ: `[rows, padded / 32]` blocks of 36 bytes.
    q8_1: Form,
    /// For MMQ: `[padded / 128, rows]` blocks of 144 bytes.
    for_mmq: [Form; 3],
    /// Where MMQ keeps parts of sums.
    parts: GpuBuffer<f32>,
}

/// An 8-bit form and whether it is that of the current values.
struct Form {
    is_fresh: bool,
    bytes: GpuBuffer<u8>,
}

/// Bytes of 32 activations, in every form.
const BYTES_OF_32: usize = 36;
/// MMQ reads so many blocks of 144 bytes past the last.
const BLOCKS_PAST: usize = 128;
/// Sums that MMQ keeps for each multiprocessor.
const PARTS: usize = 128 * 128;

impl GpuActivations {
    /// Room for `rows_max` rows of `columns_max` columns, and for what products with weights of `formats` need.
    ///
    /// # Errors
    /// `NoMemory`; `Driver`.
    pub fn new(gpu: &Gpu, rows_max: usize, columns_max: usize, formats: &[Format]) -> Result<GpuActivations, GpuError> {
        let sizes = Sizes::of(rows_max, columns_max, formats, gpu.card().multiprocessors);
        let form = |bytes| -> Result<Form, GpuError> {
            let bytes = gpu.zeroed("the 8-bit activations", bytes)?;
            Ok(Form { is_fresh: false, bytes })
        };
        Ok(GpuActivations {
            rows_max,
            columns_max,
            rows: 0,
            columns: 0,
            values: gpu.zeroed("the activations", sizes.values)?,
            q8_1: form(sizes.q8_1)?,
            for_mmq: [
                form(sizes.for_mmq[0])?,
                form(sizes.for_mmq[1])?,
                form(sizes.for_mmq[2])?,
            ],
            parts: gpu.zeroed("the parts of products", sizes.parts)?,
        })
    }

    /// Bytes that this takes on a card with so many multiprocessors.
    pub fn card_bytes(rows_max: usize, columns_max: usize, formats: &[Format], multiprocessors: usize) -> usize {
        let sizes = Sizes::of(rows_max, columns_max, formats, multiprocessors);
        4 * (sizes.values + sizes.parts) + sizes.q8_1 + sizes.for_mmq.iter().sum::<usize>()
    }

    /// Sets the shape; the values are whatever they were and are to be written through what this returns.
    ///
    /// # Errors
    /// `Refused` if there is no room for so many rows or columns.
    pub fn reshape(&mut self, rows: usize, columns: usize) -> Result<&mut GpuBuffer<f32>, GpuError> {
        expect_below("the activations' row", rows, self.rows_max + 1)?;
        expect_below("the activations' column", columns, self.columns_max + 1)?;
        (self.rows, self.columns) = (rows, columns);
        self.q8_1.is_fresh = false;
        self.for_mmq.iter_mut().for_each(|form| form.is_fresh = false);
        Ok(&mut self.values)
    }

    /// Rows held.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Elements of a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The rows, `[rows, columns]` and what is left of the room.
    pub fn values(&self) -> &GpuBuffer<f32> {
        &self.values
    }

    /// As [`GpuActivations::reshape`], for a kernel that writes the form for MMVQ together with the values: where both go
    /// (no place for what nobody wants) and the columns of the form's rows.
    pub(crate) fn write_with_q8_1(&mut self, rows: usize, columns: usize) -> Result<(Arg, Arg, u32), GpuError> {
        self.reshape(rows, columns)?;
        if rows > MMVQ_ROWS_MAX || self.q8_1.bytes.is_empty() || !columns.is_multiple_of(32) {
            return Ok((self.values.arg(), Arg::NULL, 0));
        }
        expect_room("the 8-bit activations", &self.q8_1.bytes, self.q8_1_bytes())?;
        self.q8_1.is_fresh = true;
        let padded = narrow("columns", padded(columns))?;
        Ok((self.values.arg(), self.q8_1.bytes.arg(), padded))
    }

    fn q8_1_bytes(&self) -> usize {
        self.rows * padded(self.columns) / 32 * BYTES_OF_32
    }

    /// Where the form for MMVQ is, which is computed if it is not there.
    pub(super) fn q8_1(&mut self, gpu: &Gpu) -> Result<u64, GpuError> {
        const THREADS: u32 = 256;
        if !self.q8_1.is_fresh {
            expect_room("the 8-bit activations", &self.q8_1.bytes, self.q8_1_bytes())?;
            let (columns, padded) = (
                narrow("columns", self.columns)?,
                narrow("columns", padded(self.columns))?,
            );
            let blocks = (padded.div_ceil(THREADS), narrow("rows", self.rows)?);
            let launch = Launch::plane("quantise_q8_1", blocks, THREADS);
            let arguments = [self.values.arg(), columns.into(), self.q8_1.bytes.arg(), padded.into()];
            // SAFETY: `quantise_q8_1(values, columns, blocks, padded)`; `reshape` has checked the values' room, and the
            // blocks' is checked above.
            unsafe { gpu.launch(launch, arguments) }?;
            self.q8_1.is_fresh = true;
        }
        Ok(self.q8_1.bytes.address())
    }

    /// Where the form for MMQ with these scales is, which is computed if it is not there.
    pub(super) fn for_mmq(&mut self, gpu: &Gpu, scales: Scales) -> Result<u64, GpuError> {
        let form = &mut self.for_mmq[scales as usize];
        if !form.is_fresh {
            let blocks = self.rows * padded(self.columns) / 128 + BLOCKS_PAST;
            expect_room("the 8-bit activations", &form.bytes, blocks * 4 * BYTES_OF_32)?;
            let (values, address) = (self.values.address(), form.bytes.address());
            quantised::quantise_for_mmq(gpu, scales, values, (self.rows, self.columns), address)?;
            form.is_fresh = true;
        }
        Ok(form.bytes.address())
    }

    pub(super) fn parts(&self) -> u64 {
        self.parts.address()
    }
}

/// Elements of each buffer.
struct Sizes {
    values: usize,
    q8_1: usize,
    for_mmq: [usize; 3],
    parts: usize,
}

impl Sizes {
    fn of(rows_max: usize, columns_max: usize, formats: &[Format], multiprocessors: usize) -> Sizes {
        let is_wanted = |scales| formats.iter().any(|format| Scales::of(*format) == Some(scales));
        let is_any = Scales::ALL.into_iter().any(is_wanted);
        let is_many = rows_max > MMVQ_ROWS_MAX;
        let row = padded(columns_max) / 32 * BYTES_OF_32;
        let all = rows_max * row + BLOCKS_PAST * 4 * BYTES_OF_32;
        let for_mmq = |scales| if is_many && is_wanted(scales) { all } else { 0 };
        Sizes {
            values: rows_max * columns_max,
            q8_1: if is_any { rows_max.min(MMVQ_ROWS_MAX) * row } else { 0 },
            for_mmq: Scales::ALL.map(for_mmq),
            parts: if is_many && is_any { multiprocessors * PARTS } else { 0 },
        }
    }
}
