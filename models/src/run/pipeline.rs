//! Layers dealt to devices: a step walks from device to device, and several lanes are under way at the same time, so that
//! each device computes one lane's rows while the others compute those of other lanes.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use engine::{LanguageModel, ModelError, ModelShape, Segment};
use kernels::PackedMatrix;

use super::clock::DevicesStatus;
use super::crew::{Crew, ready};
use super::worker::{Post, Reply, Task, Worker};
use super::{Opening, embed};
use crate::batch::Batch;
use crate::device::Fault;
use crate::error::ModelsError;

/// Rows of a piece at least, when one lane's rows are cut so that several devices compute them at the same time: fewer
/// would not be worth reading the weights for once more.
const PIECE_ROWS_MIN: usize = 32;
/// Pieces of one step at most.
const PIECES_MAX: usize = 64;

/// The devices, in the order of the layers.
pub(crate) struct Pipeline {
    crew: Crew<Task>,
    lanes: usize,
}

impl Pipeline {
    /// A pipeline of devices of these names; they are opened when the first lane asks for them.
    pub(crate) fn new(names: Vec<String>, lanes: usize) -> Pipeline {
        Pipeline {
            crew: Crew::new(names),
            lanes,
        }
    }

    pub(crate) fn status(&self) -> DevicesStatus {
        self.crew.clock.status()
    }

    /// The generation of devices that run, opened if none do.
    ///
    /// * `openings`  one for each device
    ///
    /// # Errors
    /// The first device that cannot be opened; then none is open.
    pub(crate) fn open(&self, openings: impl FnOnce() -> Vec<(String, Opening)>) -> Result<u64, ModelsError> {
        self.crew.open(|failure, threads| {
            let (mut workers, mut next) = (Vec::new(), None);
            // From the last to the first, as each is told who comes after it.
            for (index, (name, opening)) in openings().into_iter().enumerate().rev() {
                let post = Post {
                    name,
                    index,
                    clock: Arc::clone(&self.crew.clock),
                    failure: failure.clone(),
                    tasks_max: self.lanes * PIECES_MAX,
                    next: next.take(),
                    meeting: None,
                };
                let worker = Worker::spawn(post, opening)?;
                next = Some(worker.tasks.clone());
                workers.push(worker);
            }
            ready(workers, threads)?;
            next.ok_or_else(|| ModelsError::Device {
                device: "the pipeline".to_owned(),
                reason: "it has no devices".to_owned(),
            })
        })
    }
}

/// An engine of a pipeline: its rows walk through all devices, on caches of its own.
pub(crate) struct Lane {
    pub(crate) index: usize,
    pub(crate) generation: u64,
    pub(crate) shape: ModelShape,
    pub(crate) stages: usize,
    pub(crate) embedding: Arc<PackedMatrix>, // [vocabulary, hidden]
    pub(crate) pipeline: Arc<Pipeline>,
}

impl Lane {
    fn compute(&self, batch: &Batch, steps: usize, output: &mut Vec<f32>) -> Result<(), Fault> {
        let pieces = batch.pieces(self.piece_rows(batch, steps));
        let lengths: Vec<usize> = pieces
            .iter()
            .map(|piece| piece.wanted.len() * self.shape.vocabulary)
            .collect();
        let (reply, replies) = sync_channel::<Reply>(pieces.len());
        for batch in pieces {
            let mut values = Vec::new();
            embed(&self.embedding, &batch, &mut values)?;
            let task = Task {
                lane: self.index,
                batch: Arc::new(batch),
                values,
                reply: reply.clone(),
            };
            self.pipeline.crew.send(self.generation, task)?;
        }
        // Who drops a task drops its sender: when all are gone, nobody will answer.
        drop(reply);
        let mut states = Vec::new();
        for logits in lengths {
            let values = replies.recv().map_err(|_| self.pipeline.crew.fault())??;
            let (logits, own) = values.split_at_checked(logits).ok_or("a piece lacks logits")?;
            output.extend_from_slice(logits);
            states.extend_from_slice(own);
        }
        output.append(&mut states);
        Ok(())
    }

    /// How many rows go together. A lane that is alone cuts long prompts, so that the devices overlap on its pieces.
    fn piece_rows(&self, batch: &Batch, steps: usize) -> usize {
        if steps > 1 || self.stages == 1 {
            return batch.rows().max(1);
        }
        let even = batch.rows().div_ceil(2 * self.stages);
        even.max(PIECE_ROWS_MIN).max(batch.rows().div_ceil(PIECES_MAX))
    }
}

impl LanguageModel for Lane {
    fn shape(&self) -> ModelShape {
        self.shape
    }

    fn forward(&mut self, segments: &[Segment<'_>], output: &mut Vec<f32>) -> Result<(), ModelError> {
        let batch = Batch::new(segments, self.shape)?;
        output.clear();
        let steps = self.pipeline.crew.clock.begin_step();
        let computed = self.compute(&batch, steps, output);
        self.pipeline.crew.clock.end_step();
        computed.map_err(|error| ModelError(error.to_string()))
    }
}
