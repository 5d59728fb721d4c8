//! An engine whose device holds the whole model: it computes on the engine's own thread.

use std::sync::Arc;

use engine::{LanguageModel, ModelError, ModelShape, Segment};
use kernels::{PackedMatrix, Threads};

use super::embed;
use crate::batch::Batch;
use crate::decoder::{Decoder, Stage};
use crate::device::{Cpu, Fault};

/// A model on one device.
pub(crate) struct Whole {
    shape: ModelShape,
    embedding: Arc<PackedMatrix>, // [vocabulary, hidden]
    stage: Box<dyn Stage>,
    hidden: Vec<f32>, // [rows, hidden]
}

impl Whole {
    pub(crate) fn new(shape: ModelShape, embedding: Arc<PackedMatrix>, stage: Box<dyn Stage>) -> Whole {
        Whole {
            shape,
            embedding,
            stage,
            hidden: Vec::new(),
        }
    }
}

impl LanguageModel for Whole {
    fn shape(&self) -> ModelShape {
        self.shape
    }

    fn forward(&mut self, segments: &[Segment<'_>], output: &mut Vec<f32>) -> Result<(), ModelError> {
        let batch = Batch::new(segments, self.shape)?;
        let computed = embed(&self.embedding, &batch, &mut self.hidden)
            .and_then(|()| self.stage.forward(0, &batch, &self.hidden, output));
        computed.map_err(|error| ModelError(error.to_string()))
    }
}

/// A decoder on the processor, whose kernels spread over a team of threads.
pub(crate) struct Teamed {
    pub(crate) threads: Arc<Threads>,
    pub(crate) decoder: Decoder<Cpu>,
}

impl Stage for Teamed {
    fn forward(&mut self, lane: usize, batch: &Batch, hidden: &[f32], output: &mut Vec<f32>) -> Result<(), Fault> {
        let decoder = &mut self.decoder;
        self.threads.run(|| decoder.forward(lane, batch, hidden, output))
    }
}
