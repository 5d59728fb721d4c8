//! Every matrix dealt to the devices by rows: they compute each step together, and the engines' steps are put into one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

use engine::{LanguageModel, ModelError, ModelShape, Segment};
use kernels::PackedMatrix;

use super::clock::{Clock, DevicesStatus};
use super::crew::{Crew, ready};
use super::worker::{Failure, Post, Reply, Task, Worker};
use super::{Meeting, Opening, embed};
use crate::batch::Batch;
use crate::device::Fault;
use crate::error::ModelsError;

/// The least and the most time that a step waits for an engine that was in the one before: its share of a step, within
/// these. Two engines that take turns instead of going together would read all weights twice.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// The devices that compute together.
pub(crate) struct Team {
    crew: Crew<Request>,
    engines: usize,
    columns: Vec<usize>, // of the logits, for each part
    embedding: Arc<PackedMatrix>,
}

/// One engine's step.
struct Request {
    engine: usize,
    batch: Batch,
    reply: SyncSender<Reply>,
}

impl Team {
    /// A team of devices of these names for so many engines.
    ///
    /// * `columns`  of the logits that each device computes
    pub(crate) fn new(names: Vec<String>, engines: usize, columns: Vec<usize>, embedding: Arc<PackedMatrix>) -> Team {
        Team {
            crew: Crew::new(names),
            engines,
            columns,
            embedding,
        }
    }

    pub(crate) fn status(&self) -> DevicesStatus {
        self.crew.clock.status()
    }

    /// The generation of devices that run, opened if none do.
    ///
    /// * `openings`  one for each device, with the meeting at which they sit
    ///
    /// # Errors
    /// The first device that cannot be opened; then none is open.
    pub(crate) fn open(
        &self,
        openings: impl FnOnce() -> (Arc<Meeting>, Vec<(String, Opening)>),
    ) -> Result<u64, ModelsError> {
        self.crew.open(|failure, threads| {
            let (meeting, openings) = openings();
            let mut workers = Vec::new();
            for (index, (name, opening)) in openings.into_iter().enumerate() {
                let post = Post {
                    name,
                    index,
                    clock: Arc::clone(&self.crew.clock),
                    failure: failure.clone(),
                    tasks_max: 1,
                    next: None,
                    meeting: Some(Arc::clone(&meeting)),
                };
                workers.push(Worker::spawn(post, opening)?);
            }
            let tasks = workers.iter().map(|worker| worker.tasks.clone()).collect();
            ready(workers, threads)?;
            let (requests, inbox) = sync_channel(self.engines);
            let leader = Leader {
                clock: Arc::clone(&self.crew.clock),
                columns: self.columns.clone(),
                embedding: Arc::clone(&self.embedding),
                failure: failure.clone(),
                tasks,
                recent: VecDeque::new(),
                step: Duration::ZERO,
            };
            let thread = Builder::new()
                .name("devices".to_owned())
                .spawn(move || leader.run(&inbox));
            threads.push(thread.map_err(|error| ModelsError::Device {
                device: "the devices".to_owned(),
                reason: format!("cannot start their thread: {error}"),
            })?);
            Ok(requests)
        })
    }
}

/// The thread that puts the engines' steps into one and gives it to all devices.
struct Leader {
    clock: Arc<Clock>,
    columns: Vec<usize>,
    embedding: Arc<PackedMatrix>,
    failure: Failure,
    tasks: Vec<SyncSender<Task>>,
    /// The engines of the last two steps.
    recent: VecDeque<Vec<usize>>,
    /// How long the last step took.
    step: Duration,
}

impl Leader {
    fn run(mut self, inbox: &Receiver<Request>) {
        while let Some(requests) = self.collect(inbox) {
            let begin = Instant::now();
            self.clock.begin_step();
            let computed = self.compute(&requests);
            self.clock.end_step();
            self.step = begin.elapsed();
            let engines = requests.iter().map(|request| request.engine).collect();
            self.recent.push_back(engines);
            self.recent.drain(..self.recent.len().saturating_sub(2));
            if let Err(fault) = self.answer(requests, computed) {
                self.failure.set(&fault);
                return;
            }
        }
    }

    /// The next step's requests: whoever is there, and for a moment those who took part lately.
    fn collect(&self, inbox: &Receiver<Request>) -> Option<Vec<Request>> {
        let mut requests = vec![inbox.recv().ok()?];
        requests.extend(inbox.try_iter());
        let mut expected: Vec<usize> = self.recent.iter().flatten().copied().collect();
        let deadline = Instant::now() + (self.step / 4).clamp(PATIENCE.0, PATIENCE.1);
        loop {
            expected.retain(|engine| requests.iter().all(|request| request.engine != *engine));
            if expected.is_empty() {
                return Some(requests);
            }
            match inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(request) => requests.push(request),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Some(requests),
            }
        }
    }

    /// The logits of all requests' wanted rows, `[wanted, vocabulary]`, and after them their states, `[states, hidden]`.
    fn compute(&self, requests: &[Request]) -> Reply {
        let mut batch = Batch::default();
        for request in requests {
            batch.append(&request.batch);
        }
        let batch = Arc::new(batch);
        let mut hidden = Vec::new();
        embed(&self.embedding, &batch, &mut hidden)?;
        let mut replies = Vec::with_capacity(self.tasks.len());
        for tasks in &self.tasks {
            let (reply, answer) = sync_channel(1);
            let task = Task {
                lane: 0,
                batch: Arc::clone(&batch),
                values: hidden.clone(),
                reply,
            };
            tasks.send(task).map_err(|_| self.failure.fault())?;
            replies.push(answer);
        }
        self.gather(&replies, batch.wanted.len())
    }

    /// Puts the parts' columns together. States are whole in every part: the first one's are taken.
    fn gather(&self, replies: &[Receiver<Reply>], wanted: usize) -> Reply {
        let vocabulary: usize = self.columns.iter().sum();
        let mut logits = vec![0.0; wanted * vocabulary];
        let (mut first, mut states) = (0, Vec::new());
        for (reply, columns) in replies.iter().zip(&self.columns) {
            // The first device that failed has said why; the others only that they do not go on.
            let part = reply.recv().ok().and_then(Result::ok);
            let part = part.ok_or_else(|| self.failure.fault())?;
            if first == 0 {
                states = part.get(wanted * columns..).unwrap_or_default().to_vec();
            }
            for (row, part) in logits.chunks_exact_mut(vocabulary).zip(part.chunks_exact(*columns)) {
                row[first..first + columns].copy_from_slice(part);
            }
            first += columns;
        }
        logits.append(&mut states);
        Ok(logits)
    }

    /// Gives every engine its rows, or all of them the reason. An engine that is gone needs none.
    fn answer(&self, requests: Vec<Request>, computed: Reply) -> Result<(), String> {
        let vocabulary: usize = self.columns.iter().sum();
        match computed {
            Ok(rows) => {
                let wanted = |request: &Request| request.batch.wanted.len() * vocabulary;
                let (mut logits, mut states) = rows.split_at(requests.iter().map(wanted).sum());
                for request in requests {
                    let mut own = take(&mut logits, wanted(&request)).to_vec();
                    let hidden = request.batch.states.len() * self.embedding.columns();
                    own.extend_from_slice(take(&mut states, hidden));
                    let _ = request.reply.try_send(Ok(own));
                }
                Ok(())
            }
            Err(fault) => {
                let reason = fault.to_string();
                for request in requests {
                    let _ = request.reply.try_send(Err(reason.clone().into()));
                }
                Err(reason)
            }
        }
    }
}

/// The next `count` numbers of `rest`, as far as it has them.
fn take<'a>(rest: &mut &'a [f32], count: usize) -> &'a [f32] {
    let (taken, left) = rest.split_at(count.min(rest.len()));
    *rest = left;
    taken
}

/// An engine of a team: its own queue and places, on blocks of its own in the devices' common pool.
pub(crate) struct Member {
    pub(crate) index: usize,
    pub(crate) generation: u64,
    pub(crate) shape: ModelShape,
    pub(crate) team: Arc<Team>,
}

impl Member {
    fn compute(&self, segments: &[Segment<'_>]) -> Result<Vec<f32>, Fault> {
        let first_block = u32::try_from(self.index * self.shape.kv_blocks)?;
        let mut batch = Batch::default();
        batch.add(segments, self.shape, first_block)?;
        let (reply, answer) = sync_channel(1);
        let request = Request {
            engine: self.index,
            batch,
            reply,
        };
        self.team.crew.send(self.generation, request)?;
        answer.recv().map_err(|_| self.team.crew.fault())?
    }
}

impl LanguageModel for Member {
    fn shape(&self) -> ModelShape {
        self.shape
    }

    fn forward(&mut self, segments: &[Segment<'_>], output: &mut Vec<f32>) -> Result<(), ModelError> {
        *output = self.compute(segments).map_err(|error| ModelError(error.to_string()))?;
        Ok(())
    }
}
