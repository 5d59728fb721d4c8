//! One engine's model on the processor: weights and threads that all engines share, and a KV pool of its own.

use std::sync::Arc;

use engine::{LanguageModel, ModelError, ModelShape, Segment};
use kernels::{BLOCK_TOKENS, KernelError, KvFormat, Threads};

use crate::Weights;
use crate::config::Config;
use crate::decoder::{Caches, Decoder};
use crate::device::{Cpu, Sizes};
use crate::error::ModelsError;
use crate::limits::KV_BLOCKS_MAX;
use crate::run::{Teamed, Whole};
use crate::slice::Slice;

const _: () = assert!(BLOCK_TOKENS == engine::BLOCK_TOKENS);

/// A decoder that runs on the CPU's cores.
///
/// Its threads sleep between steps. All models of a process share one team: those that are busy at the same time divide
/// it among them, and one that is alone has it all.
pub struct CpuModel {
    whole: Whole,
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
        CpuModel::on(Threads::of_machine(), &weights, context_tokens, kv_blocks, kv_format)
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
        CpuModel::on(Threads::new(threads), &weights, context_tokens, kv_blocks, kv_format)
    }

    fn on(
        threads: Result<Arc<Threads>, KernelError>,
        weights: &Weights,
        context_tokens: usize,
        kv_blocks: usize,
        kv_format: KvFormat,
    ) -> Result<CpuModel, ModelsError> {
        let config = weights.config();
        let shape = shape(config, context_tokens, kv_blocks)?;
        let slice = Slice::whole(config);
        let caches = Caches {
            lanes: 1,
            blocks: kv_blocks,
            format: kv_format,
        };
        let device = Cpu::new(Sizes::new(config, &slice));
        let decoder = Decoder::new(device, Arc::clone(&weights.shard), config, &slice, caches, None)?;
        let stage = Teamed {
            threads: team(threads)?,
            decoder,
        };
        Ok(CpuModel {
            whole: Whole::new(shape, Arc::clone(&weights.embedding), Box::new(stage)),
        })
    }
}

/// The engine's view of a model.
///
/// # Errors
/// More context than the model was made for; no blocks, or more than block tables can name.
pub(crate) fn shape(config: &Config, context_tokens: usize, kv_blocks: usize) -> Result<ModelShape, ModelsError> {
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
    Ok(ModelShape {
        vocabulary: config.vocabulary,
        context_tokens,
        kv_blocks,
        hidden: config.hidden,
        pooling: config.pooling,
    })
}

/// The threads, or why there are none.
pub(crate) fn team(threads: Result<Arc<Threads>, KernelError>) -> Result<Arc<Threads>, ModelsError> {
    threads.map_err(|source| ModelsError::Kernel {
        what: "an engine's threads".to_owned(),
        source,
    })
}

impl LanguageModel for CpuModel {
    fn shape(&self) -> ModelShape {
        self.whole.shape()
    }

    fn forward(&mut self, segments: &[Segment<'_>], output: &mut Vec<f32>) -> Result<(), ModelError> {
        self.whole.forward(segments, output)
    }
}
