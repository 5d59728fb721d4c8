//! One engine's model on the CPU: weights and threads that all engines share, and a KV pool of its own.

mod batch;
mod decoder;

use std::sync::Arc;

use engine::{LanguageModel, ModelError, ModelShape, Segment};
use kernels::{BLOCK_TOKENS, KernelError, KvFormat, KvLayer, KvShape, Threads};

use crate::Weights;
use crate::error::ModelsError;
use crate::limits::KV_BLOCKS_MAX;
use batch::Batch;
use decoder::Decoder;

const _: () = assert!(BLOCK_TOKENS == engine::BLOCK_TOKENS);

/// A decoder that runs on the CPU's cores.
///
/// Its threads sleep between steps. All models of a process share one team: those that are busy at the same time divide
/// it among them, and one that is alone has it all.
pub struct CpuModel {
    shape: ModelShape,
    threads: Arc<Threads>,
    decoder: Decoder,
}

impl CpuModel {
    /// A model over `weights` for sequences of up to `context_tokens`, with a pool of `kv_blocks` blocks of 16 tokens, whose
    /// keys and values are stored as `kv_format`.
    ///
    /// It runs on the process's team, of as many threads as the process may use cores. The pool's memory is touched
    /// when written.
    ///
    /// # Errors
    /// More context than the model was made for, no blocks or too many, no memory for the pool, no threads.
    pub fn new(
        weights: Arc<Weights>,
        context_tokens: usize,
        kv_blocks: usize,
        kv_format: KvFormat,
    ) -> Result<CpuModel, ModelsError> {
        CpuModel::on(Threads::of_machine(), weights, context_tokens, kv_blocks, kv_format)
    }

    /// As [`CpuModel::new`], with a team of its own of `threads` threads, at least one. It changes no bit of any
    /// result.
    ///
    /// # Errors
    /// As [`CpuModel::new`].
    pub fn with_threads(
        weights: Arc<Weights>,
        context_tokens: usize,
        kv_blocks: usize,
        kv_format: KvFormat,
        threads: usize,
    ) -> Result<CpuModel, ModelsError> {
        CpuModel::on(Threads::new(threads), weights, context_tokens, kv_blocks, kv_format)
    }

    fn on(
        threads: Result<Arc<Threads>, KernelError>,
        weights: Arc<Weights>,
        context_tokens: usize,
        kv_blocks: usize,
        kv_format: KvFormat,
    ) -> Result<CpuModel, ModelsError> {
        let config = weights.config();
        if !(1..=config.context_tokens).contains(&context_tokens) {
            return Err(ModelsError::Context {
                asked: context_tokens,
                allowed: config.context_tokens,
            });
        }
        if !(1..=KV_BLOCKS_MAX).contains(&kv_blocks) {
            return Err(ModelsError::KvBlocks {
                asked: kv_blocks,
                allowed: KV_BLOCKS_MAX,
            });
        }
        let kv_shape = KvShape {
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
        };
        let layers = (0..config.layers)
            .map(|_| KvLayer::zeroed(kv_shape, kv_format, kv_blocks))
            .collect::<Result<_, _>>();
        let layers = layers.map_err(|source| ModelsError::Kernel {
            what: "the KV pool".to_owned(),
            source,
        })?;
        let shape = ModelShape {
            vocabulary: config.vocabulary,
            context_tokens,
            kv_blocks,
        };
        let threads = threads.map_err(|source| ModelsError::Kernel {
            what: "an engine's threads".to_owned(),
            source,
        })?;
        Ok(CpuModel {
            shape,
            threads,
            decoder: Decoder::new(weights, layers),
        })
    }
}

impl LanguageModel for CpuModel {
    fn shape(&self) -> ModelShape {
        self.shape
    }

    fn forward(&mut self, segments: &[Segment<'_>], logits: &mut Vec<f32>) -> Result<(), ModelError> {
        let batch = Batch::new(segments, self.shape)?;
        logits.clear();
        let step = || self.decoder.forward(&batch, logits);
        self.threads.run(step).map_err(|error| ModelError(error.to_string()))
    }
}
