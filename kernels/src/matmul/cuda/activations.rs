//! What a layer feeds its matrices, on a card: f32 rows, and their 8-bit forms, made once and shared by the products.

use super::{MMVQ_ROWS_MAX, Scales, padded, quantised};
use crate::cuda::{Arg, Gpu, GpuBuffer, GpuError, Launch, buffer, expect_room, narrow};
use crate::error::{expect_below, expect_length};
use crate::{Format, KernelError};

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
    /// Whether the values are those of the forms: rows that came in a form have no values.
    has_values: bool,
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
/// The same in words.
const WORDS_OF_32: usize = BYTES_OF_32 / 4;
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
            has_values: true,
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
        self.has_values = true;
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
            self.expect_values()?;
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
        if !self.for_mmq[scales as usize].is_fresh {
            self.expect_values()?;
        }
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

    /// Passes if the rows came as values.
    pub(super) fn expect_values(&self) -> Result<(), GpuError> {
        if self.has_values {
            return Ok(());
        }
        let allowed = "rows of values: these came in the 8-bit form of other weights".to_owned();
        let (what, found) = ("the activations' rows", self.rows);
        Err(KernelError::Size { what, found, allowed }.into())
    }

    /// Columns at whose multiples the form of `rows` rows for weights of `format` can be cut; none if it has none.
    pub fn form_step(format: Format, rows: usize) -> Option<usize> {
        Scales::of(format)?;
        Some(if rows <= MMVQ_ROWS_MAX { 32 } else { 128 })
    }

    /// Reads the 8-bit form for weights of `format`, as words of 4 bytes, without what it is padded with.
    ///
    /// A few rows: `[rows, columns / 32, 9]`; many: `[columns / 128, rows, 36]`. The columns are a multiple of
    /// [`GpuActivations::form_step`].
    ///
    /// # Errors
    /// `Refused` if there is no such form; `Failed` if something before failed.
    pub fn read_form(&mut self, gpu: &Gpu, format: Format, words: &mut Vec<u32>) -> Result<(), GpuError> {
        let step = self.expect_form(format, self.rows, self.columns)?;
        words.clear();
        words.resize(self.rows * self.columns / 32 * WORDS_OF_32, 0);
        if step == 32 {
            self.q8_1(gpu)?;
            let (row, padded_row) = (self.columns / 32 * BYTES_OF_32, padded(self.columns) / 32 * BYTES_OF_32);
            let rows = buffer::bytes_of_mut(words).chunks_exact_mut(row.max(1));
            for (index, bytes) in rows.enumerate() {
                gpu.download(&self.q8_1.bytes, index * padded_row, bytes)?;
            }
            return Ok(());
        }
        // Its padding comes last.
        let scales = self.scales(format)?;
        self.for_mmq(gpu, scales)?;
        gpu.download(&self.for_mmq[scales as usize].bytes, 0, buffer::bytes_of_mut(words))
    }

    /// Takes whole rows in the form for weights of `format`, as [`GpuActivations::read_form`] gives them.
    ///
    /// # Errors
    /// `Refused` if there is no such form, or no room; `Driver`.
    pub fn write_form(
        &mut self,
        gpu: &Gpu,
        format: Format,
        (rows, columns): (usize, usize),
        words: &[u32],
    ) -> Result<(), GpuError> {
        let step = self.expect_form(format, rows, columns)?;
        expect_length("the words of the form", words.len(), rows * columns / 32 * WORDS_OF_32)?;
        self.reshape(rows, columns)?;
        self.has_values = false;
        let padding = (padded(columns) - columns) / 32 * WORDS_OF_32;
        let mut padded = Vec::with_capacity(words.len() + rows * padding);
        let form = if step == 32 {
            for row in words.chunks_exact((columns / 32 * WORDS_OF_32).max(1)) {
                padded.extend_from_slice(row);
                padded.resize(padded.len() + padding, 0);
            }
            &mut self.q8_1
        } else {
            padded.extend_from_slice(words);
            padded.resize(words.len() + rows * padding, 0);
            let scales = self.scales(format)?;
            &mut self.for_mmq[scales as usize]
        };
        gpu.upload(&mut form.bytes, 0, buffer::bytes_of(&padded))?;
        form.is_fresh = true;
        Ok(())
    }

    fn scales(&self, format: Format) -> Result<Scales, GpuError> {
        Scales::of(format).ok_or_else(|| no_form(format, self.columns))
    }

    fn expect_form(&self, format: Format, rows: usize, columns: usize) -> Result<usize, GpuError> {
        let step = GpuActivations::form_step(format, rows).filter(|step| columns.is_multiple_of(*step));
        step.ok_or_else(|| no_form(format, columns))
    }

    pub(super) fn parts(&self) -> u64 {
        self.parts.address()
    }
}

fn no_form(format: Format, columns: usize) -> GpuError {
    let allowed = format!("whole groups of the 8-bit form, if {format:?} weights have one");
    let (what, found) = ("the activations' columns", columns);
    KernelError::Size { what, found, allowed }.into()
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
