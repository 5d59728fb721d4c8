//! The dense decoder, as one straight line over a device's operations: qwen2, llama and qwen3 differ by which biases and
//! norms their layers have and by the pairing of their rotary elements.

use std::sync::Arc;

use kernels::KvFormat;

use crate::batch::Batch;
use crate::config::Config;
use crate::device::{Device, Fault, Linear, Register, Sizes};
use crate::error::ModelsError;
use crate::run::Seat;
use crate::slice::Slice;
use crate::weights::{Layer, Output, Shard};

/// Part of a step, as a worker sees it: what kind of device computes it does not show.
pub(crate) trait Stage {
    /// Computes the slice's layers for the rows of `batch` on the caches of `lane`.
    ///
    /// * `hidden`  `[rows, hidden]`, the residual stream before the slice
    /// * `output`  becomes the residual stream after the slice; where the slice has the output matrix,
    ///   `[wanted, vocabulary]` logits, of a part its own columns, and then `[states, hidden]`
    fn forward(&mut self, lane: usize, batch: &Batch, hidden: &[f32], output: &mut Vec<f32>) -> Result<(), Fault>;
}

/// A slice of the model on one device, with caches for each lane.
pub(crate) struct Decoder<D: Device> {
    device: D,
    shard: Arc<Shard<D::Memory>>,
    caches: Vec<Vec<D::Cache>>, // [lanes][layers]
    parts: Option<Parts>,
}

/// How the parts of a row that several devices have computed become whole.
struct Parts {
    seat: Seat,
    columns: Columns,
}

/// The columns that each part computes of a row.
struct Columns {
    mixed: Vec<usize>,  // after attention
    hidden: Vec<usize>, // of the matrices that yield the residual stream
    ffn: Vec<usize>,    // of the feed-forward layer
}

/// The caches of a decoder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caches {
    pub(crate) lanes: usize,
    pub(crate) blocks: usize,
    pub(crate) format: KvFormat,
}

impl<D: Device> Decoder<D> {
    /// A decoder of `slice`, whose weights are `shard`; a slice that is one of several parts has a seat among them.
    pub(crate) fn new(
        device: D,
        shard: Arc<Shard<D::Memory>>,
        config: &Config,
        slice: &Slice,
        caches: Caches,
        seat: Option<Seat>,
    ) -> Result<Decoder<D>, ModelsError> {
        let shape = Sizes::new(config, slice).kv_shape();
        let lane = |_| {
            let layers = slice.layers.clone();
            layers
                .map(|_| device.cache(shape, caches.format, caches.blocks))
                .collect()
        };
        let caches = (0..caches.lanes).map(lane).collect::<Result<_, _>>()?;
        let columns =
            |rows: &dyn Fn(&Slice) -> usize| (0..slice.parts).map(|part| rows(&slice.with_part(part))).collect();
        let parts = seat.map(|seat| Parts {
            seat,
            columns: Columns {
                mixed: columns(&|slice| slice.query_rows(config).len()),
                hidden: columns(&|slice| slice.rows(config.hidden).len()),
                ffn: columns(&|slice| slice.rows(config.ffn).len()),
            },
        });
        Ok(Decoder {
            device,
            shard,
            caches,
            parts,
        })
    }

    /// `Hidden` += mixed(attention(rope(query, key), value)) of the normalised rows.
    fn attend(&mut self, layer: &Layer<D::Memory>, index: usize, lane: usize, batch: &Batch) -> Result<(), Fault> {
        let device = &mut self.device;
        let cache = self.caches.get_mut(lane).and_then(|caches| caches.get_mut(index));
        let cache = cache.ok_or("a lane that the device has no cache for")?;
        device.norm(&layer.attention_norm)?; // [rows, hidden]
        device.project([
            (&layer.query, Register::Queries), // [rows, heads * head_dim]
            (&layer.key, Register::Keys),      // [rows, kv_heads * head_dim]
            (&layer.value, Register::Values),  // [rows, kv_heads * head_dim]
        ])?;
        if let Some(norm) = &layer.query_norm {
            device.norm_heads(Register::Queries, norm)?;
        }
        if let Some(norm) = &layer.key_norm {
            device.norm_heads(Register::Keys, norm)?;
        }
        device.rotate_and_store(batch, cache)?;
        device.attend(batch, cache)?; // [rows, heads * head_dim]
        self.join(Register::Input, Some(&layer.mixed), |columns| &columns.mixed)?;
        self.device.project([(&layer.mixed, Register::Sum)])?; // [rows, hidden]
        self.join(Register::Sum, None, |columns| &columns.hidden)?;
        self.device.add()
    }

    /// `Hidden` += down(silu(gate) * up) of the normalised rows.
    fn feed_forward(&mut self, layer: &Layer<D::Memory>) -> Result<(), Fault> {
        self.device.norm(&layer.ffn_norm)?; // [rows, hidden]
        let products = [(&layer.gate, Register::Gate), (&layer.up, Register::Up)];
        self.device.project(products)?; // [rows, ffn]
        self.device.gate()?; // [rows, ffn]
        self.join(Register::Input, Some(&layer.down), |columns| &columns.ffn)?;
        self.device.project([(&layer.down, Register::Sum)])?; // [rows, hidden]
        self.join(Register::Sum, None, |columns| &columns.hidden)?;
        self.device.add()
    }

    /// Makes whole rows of the parts that the devices have in `register`; `next` multiplies them.
    fn join(
        &mut self,
        register: Register,
        next: Option<&Linear<D::Memory>>,
        columns: impl Fn(&Columns) -> &Vec<usize>,
    ) -> Result<(), Fault> {
        match &mut self.parts {
            Some(parts) => self
                .device
                .join(register, next, columns(&parts.columns), &mut parts.seat),
            None => Ok(()),
        }
    }

    /// The logits of the wanted rows, then the wanted states.
    fn read_out(&mut self, last: &Output<D::Memory>, batch: &Batch, output: &mut Vec<f32>) -> Result<(), Fault> {
        output.clear();
        if !batch.wanted.is_empty() {
            self.device.norm_wanted(&batch.wanted, &last.norm)?; // [wanted, hidden]
            self.device.project([(&last.matrix, Register::Logits)])?; // [wanted, vocabulary]
            self.device.read(Register::Logits, output)?;
        }
        if !batch.states.is_empty() {
            let mut states = Vec::new();
            self.device.norm_wanted(&batch.states, &last.norm)?; // [states, hidden]
            self.device.read(Register::Input, &mut states)?;
            output.append(&mut states);
        }
        Ok(())
    }
}

impl<D: Device> Stage for Decoder<D> {
    fn forward(&mut self, lane: usize, batch: &Batch, hidden: &[f32], output: &mut Vec<f32>) -> Result<(), Fault> {
        let shard = Arc::clone(&self.shard);
        self.device.begin(batch, hidden)?;
        for (index, layer) in shard.layers.iter().enumerate() {
            self.attend(layer, index, lane, batch)?;
            self.feed_forward(layer)?;
        }
        match &shard.output {
            Some(last) => self.read_out(last, batch, output),
            None => self.device.read(Register::Hidden, output),
        }
    }
}
