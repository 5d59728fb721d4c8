//! The same on a card: which rows go through which kernel, and the room that the kernels need.
//!
//! A row of a segment (rows of one sequence that follow each other) of at least 16 goes through the prefill kernel if its
//! head has 64 or 128 elements: f16 queries and weights, f32 sums. All others go through the decode kernel, in f32. Either
//! way the order of a row's sums follows from its position alone. The two ways differ by f16's rounding: a chunking that
//! takes fewer than 16 rows of a prompt at once shows in a result's last digits.

mod plan;
#[cfg(test)]
mod tests;

use super::check_heads;
use crate::cuda::{Arg, Gpu, GpuBuffer, GpuError, GpuRows, Launch, expect_room, narrow};
use crate::error::{KernelError, expect_below};
use crate::kv_write::cuda::GpuKvLayer;
use crate::{KvFormat, KvShape};
use plan::{Batch, Limits, Plan};

/// Threads of a block of the decode and of the prefill kernel.
const THREADS: u32 = 128;
/// Ranges that are computed at a time, if there are so many: enough for any card.
const RANGES: usize = 512;
/// So many blocks side by side in y.
const HEADS_MAX: usize = 65535;

/// Attention over the layers of one model on one card: the room it needs, and how the present step is dealt out.
pub struct GpuAttention {
    heads: usize,
    shape: KvShape,
    limits: Limits,
    plan: Plan,
    positions: Vec<u32>,
    table_starts: Vec<u32>,
    packed: Vec<u32>,
    words: GpuBuffer<u32>,
    sums: GpuBuffer<f32>,    // [ranges, heads, head_dim]
    weights: GpuBuffer<f32>, // [ranges, heads, 2]
}

impl GpuAttention {
    /// Room for steps of up to `rows_max` rows at positions below `context_tokens`.
    ///
    /// # Errors
    /// `Refused` if the heads do not divide or are too large; `NoMemory`; `Driver`.
    pub fn new(
        gpu: &Gpu,
        heads: usize,
        shape: KvShape,
        rows_max: usize,
        context_tokens: usize,
    ) -> Result<GpuAttention, GpuError> {
        let group = check_heads(heads, shape)?;
        expect_below("head", heads - 1, HEADS_MAX)?;
        let mut limits = Limits {
            group,
            has_tiles: tiles_kernel(KvFormat::F16, shape.head_dim).is_some(),
            rows: rows_max,
            context_tokens,
            ranges: 0,
        };
        limits.ranges = (rows_max * limits.row_ranges()).min(RANGES).max(limits.row_ranges());
        let parts = limits.ranges * heads;
        Ok(GpuAttention {
            heads,
            shape,
            limits,
            plan: Plan::new(limits),
            positions: Vec::with_capacity(rows_max),
            table_starts: Vec::with_capacity(rows_max),
            packed: Vec::with_capacity(limits.words()),
            words: gpu.zeroed("the ranges of a step", limits.words())?,
            sums: gpu.zeroed("attention's sums", parts * shape.head_dim)?,
            weights: gpu.zeroed("attention's weights", parts * 2)?,
        })
    }

    /// Bytes on the card.
    pub fn bytes(&self) -> usize {
        self.words.bytes() + self.sums.bytes() + self.weights.bytes()
    }

    /// Deals out the rows of a step, for all its layers.
    ///
    /// # Errors
    /// `Refused` if there are more rows or later positions than room; `Driver`.
    pub fn set(&mut self, gpu: &Gpu, rows: &GpuRows) -> Result<(), GpuError> {
        self.positions.clear();
        self.table_starts.clear();
        expect_below(
            "the step's last row",
            rows.len().saturating_sub(1),
            self.limits.rows.max(1),
        )?;
        for position in rows.positions() {
            expect_below("position", *position as usize, self.limits.context_tokens)?;
        }
        self.plan.set(rows.positions(), rows.table_starts());
        self.plan.pack(&mut self.packed);
        gpu.upload(&mut self.words, 0, &self.packed)?;
        self.positions.extend_from_slice(rows.positions());
        self.table_starts.extend_from_slice(rows.table_starts());
        Ok(())
    }

    /// Mixes the cached values by how well each row's queries match the cached keys: see [`attention`](super::attention()).
    ///
    /// * `queries`  `[rows, heads, head_dim]`, turned, unscaled
    /// * `layer`  the cache, which already holds the rows' own keys and values
    /// * `rows`  those of the last [`GpuAttention::set`]
    /// * `output`  `[rows, heads, head_dim]`
    ///
    /// # Errors
    /// `Refused` if these are not the rows that were dealt out, the layer is of another shape or has fewer blocks than the
    /// rows' tables name, or a buffer is short; `Launch`.
    pub fn run(
        &mut self,
        gpu: &Gpu,
        queries: &GpuBuffer<f32>,
        layer: &GpuKvLayer,
        rows: &GpuRows,
        output: &mut GpuBuffer<f32>,
    ) -> Result<(), GpuError> {
        self.check(queries, layer, rows, output)?;
        if rows.is_empty() {
            return Ok(());
        }
        let [keys, key_scales, values, value_scales] = layer.args();
        let (positions, table_starts, tables) = (rows.positions_arg(), rows.table_starts_arg(), rows.tables_arg());
        let operands = [
            queries.arg(),
            keys,
            key_scales,
            values,
            value_scales,
            positions,
            table_starts,
            tables,
        ];
        self.run_tiles(gpu, layer.format(), operands, output)?;
        for batch in &self.plan.batches {
            self.run_ranges(gpu, layer.format(), operands, batch)?;
            self.run_merges(gpu, batch, output)?;
        }
        Ok(())
    }

    fn check(
        &self,
        queries: &GpuBuffer<f32>,
        layer: &GpuKvLayer,
        rows: &GpuRows,
        output: &GpuBuffer<f32>,
    ) -> Result<(), GpuError> {
        let elements = rows.len() * self.heads * self.shape.head_dim;
        expect_room("the queries", queries, elements)?;
        expect_room("the attention's output", output, elements)?;
        rows.expect_blocks(layer.blocks())?;
        if (rows.positions(), rows.table_starts()) != (&self.positions, &self.table_starts) {
            return Err(refused("rows", rows.len(), "those that were dealt out for this step"));
        }
        let (found, needed) = (layer.shape(), self.shape);
        if found.head_dim != needed.head_dim {
            return Err(refused(
                "the layer's head",
                found.head_dim,
                &format!("of {}", needed.head_dim),
            ));
        }
        if found.kv_heads != needed.kv_heads {
            return Err(refused(
                "the layer's key heads",
                found.kv_heads,
                &needed.kv_heads.to_string(),
            ));
        }
        Ok(())
    }

    fn run_tiles(
        &self,
        gpu: &Gpu,
        format: KvFormat,
        operands: [Arg; 8],
        output: &GpuBuffer<f32>,
    ) -> Result<(), GpuError> {
        let Some(function) = tiles_kernel(format, self.shape.head_dim) else {
            return Ok(());
        };
        let tiles = narrow("tiles", self.plan.tiles.len())?;
        let launch = Launch::plane(function, (tiles, narrow("key heads", self.shape.kv_heads)?), THREADS);
        let mut arguments = [Arg::NULL; 13];
        arguments[..8].copy_from_slice(&operands);
        arguments[8..].copy_from_slice(&[
            self.words.arg(),
            output.arg(),
            narrow("key heads", self.shape.kv_heads)?.into(),
            narrow("the group", self.limits.group)?.into(),
            self.scale().into(),
        ]);
        // SAFETY: `TILES_ARGUMENTS` of `kernel.cu`. `check` has found room for all rows in the queries and the output and
        // all blocks of the tables in the layer; the plan names rows of this step only, and the tiles are its first words.
        unsafe { gpu.launch(launch, arguments) }
    }

    fn run_ranges(&self, gpu: &Gpu, format: KvFormat, operands: [Arg; 8], batch: &Batch) -> Result<(), GpuError> {
        let (function, bundle) = ranges_kernel(format, self.shape.head_dim, self.limits.group)?;
        let bundles = self.limits.group.div_ceil(bundle);
        let launch = Launch {
            function,
            grid: (
                narrow("ranges", batch.ranges.len())?,
                narrow("key heads", self.shape.kv_heads)?,
                narrow("bundles of heads", bundles)?,
            ),
            block: (THREADS, 1, 1),
            shared_bytes: 0,
        };
        let mut arguments = [Arg::NULL; 15];
        arguments[..8].copy_from_slice(&operands);
        arguments[8..].copy_from_slice(&[
            self.words.arg_at(3 * self.plan.tiles.len() + 2 * batch.ranges.start),
            self.sums.arg(),
            self.weights.arg(),
            narrow("key heads", self.shape.kv_heads)?.into(),
            narrow("the group", self.limits.group)?.into(),
            narrow("the head's length", self.shape.head_dim)?.into(),
            self.scale().into(),
        ]);
        // SAFETY: `RANGES_ARGUMENTS` of `kernel.cu`. As for tiles; and a batch has no more ranges than `sums` and `weights`
        // have room for.
        unsafe { gpu.launch(launch, arguments) }
    }

    fn run_merges(&self, gpu: &Gpu, batch: &Batch, output: &GpuBuffer<f32>) -> Result<(), GpuError> {
        let (heads, head_dim) = (
            narrow("heads", self.heads)?,
            narrow("the head's length", self.shape.head_dim)?,
        );
        let launch = Launch::plane(
            "merge_ranges",
            (narrow("rows", batch.merges.len())?, heads),
            head_dim / 4,
        );
        let merges = 3 * self.plan.tiles.len() + 2 * self.plan.ranges.len() + 3 * batch.merges.start;
        let arguments = [
            self.sums.arg(),
            self.weights.arg(),
            self.words.arg_at(merges),
            output.arg(),
            heads.into(),
            head_dim.into(),
        ];
        // SAFETY: `merge_ranges(sums, weights, merges, output, heads, head_dim)`; the merges name ranges of this batch and
        // rows of this step, which `check` has found room for.
        unsafe { gpu.launch(launch, arguments) }
    }

    /// The kernels take powers of 2, not of e.
    fn scale(&self) -> f32 {
        std::f32::consts::LOG2_E / (self.shape.head_dim as f32).sqrt()
    }
}

fn refused(what: &'static str, found: usize, allowed: &str) -> GpuError {
    let allowed = allowed.to_owned();
    KernelError::Size { what, found, allowed }.into()
}

/// The prefill kernel for a head's length, if there is one.
fn tiles_kernel(format: KvFormat, head_dim: usize) -> Option<&'static str> {
    match (format, head_dim) {
        (KvFormat::F16, 64) => Some("attend_tiles_f16_64"),
        (KvFormat::F16, 128) => Some("attend_tiles_f16_128"),
        (KvFormat::Q8_0, 64) => Some("attend_tiles_q8_0_64"),
        (KvFormat::Q8_0, 128) => Some("attend_tiles_q8_0_128"),
        _ => None,
    }
}

/// A decode kernel: the longest head, the heads of a bundle, its name.
type RangesKernel = (usize, usize, &'static str);

macro_rules! ranges_kernels {
    ($format:literal: $($heads:literal x $head_dim:literal),*) => {
        [$(($head_dim, $heads, concat!("attend_ranges_", $format, "_", $heads, "x", $head_dim))),*]
    };
    ($format:literal) => {
        ranges_kernels!($format: 1 x 64, 2 x 64, 4 x 64, 5 x 64, 6 x 64, 8 x 64, 1 x 128, 2 x 128, 4 x 128, 5 x 128,
            6 x 128, 8 x 128, 1 x 256, 2 x 256, 4 x 256)
    };
}
const RANGES_F16: [RangesKernel; 15] = ranges_kernels!("f16");
const RANGES_Q8_0: [RangesKernel; 15] = ranges_kernels!("q8_0");

/// The decode kernel for these heads and the heads of its bundles: as few bundles as there can be, of one size.
fn ranges_kernel(format: KvFormat, head_dim: usize, group: usize) -> Result<(&'static str, usize), GpuError> {
    let kernels = match format {
        KvFormat::F16 => &RANGES_F16,
        KvFormat::Q8_0 => &RANGES_Q8_0,
    };
    let bundle_max = if head_dim > 128 { 4 } else { 8 };
    let bundle = group.div_ceil(group.div_ceil(bundle_max).max(1));
    let fits = |kernel: &&RangesKernel| kernel.0 >= head_dim && kernel.1 >= bundle;
    let kernel = kernels.iter().find(fits);
    kernel
        .map(|kernel| (kernel.2, kernel.1))
        .ok_or_else(|| refused("the head's length", head_dim, "at most 256"))
}
