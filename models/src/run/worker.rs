//! One device, one thread: it opens the device, loads its slice, computes one task after another and lets go of all.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use super::Meeting;
use super::clock::Clock;
use crate::batch::Batch;
use crate::decoder::Stage;
use crate::device::Fault;
use crate::error::ModelsError;

/// Builds a worker's part of the model, on the worker's thread.
pub(crate) type Opening = Box<dyn FnOnce() -> Result<Box<dyn Stage>, ModelsError> + Send>;

/// Rows to compute, and who waits for them.
pub(crate) struct Task {
    pub(crate) lane: usize,
    pub(crate) batch: Arc<Batch>,
    /// `[rows, hidden]` on the way in; what the last worker gives on the way out.
    pub(crate) values: Vec<f32>,
    pub(crate) reply: SyncSender<Reply>,
}

/// What became of a task.
pub(crate) type Reply = Result<Vec<f32>, Fault>;

/// Why the devices of a model do not compute any more; the first reason counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Failure(Arc<Mutex<Option<String>>>);

impl Failure {
    pub(crate) fn set(&self, reason: &str) {
        let mut failure = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert_with(|| reason.to_owned());
    }

    pub(crate) fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The reason, for who finds that nobody answers.
    pub(crate) fn fault(&self) -> Fault {
        self.get()
            .unwrap_or_else(|| "the device's thread has ended".to_owned())
            .into()
    }
}

/// A device's thread. It ends when nobody can send it tasks any more, or when its device fails.
pub(crate) struct Worker {
    pub(crate) tasks: SyncSender<Task>,
    pub(crate) thread: JoinHandle<()>,
    opened: Receiver<Result<(), ModelsError>>,
}

/// What a worker is told when it starts.
pub(crate) struct Post {
    /// The device's name.
    pub(crate) name: String,
    /// Its place in the clock.
    pub(crate) index: usize,
    pub(crate) clock: Arc<Clock>,
    pub(crate) failure: Failure,
    /// Tasks that may wait: as many as there can be under way, so that no sender ever waits.
    pub(crate) tasks_max: usize,
    /// Who goes on with the rows; none: they are the answer.
    pub(crate) next: Option<SyncSender<Task>>,
    /// Where others wait for this device's part.
    pub(crate) meeting: Option<Arc<Meeting>>,
}

impl Worker {
    /// Starts a thread that opens its device and then computes.
    ///
    /// # Errors
    /// The system gave no thread.
    pub(crate) fn spawn(post: Post, opening: Opening) -> Result<Worker, ModelsError> {
        let (tasks, inbox) = sync_channel(post.tasks_max);
        let (told, opened) = sync_channel(1);
        let name = post.name.clone();
        let spawned = Builder::new().name(format!("device-{}", post.index)).spawn(move || {
            // A panic while a device is opened is that device's failure, not the program's.
            let stage = catch_unwind(AssertUnwindSafe(opening)).unwrap_or_else(|panic| {
                Err(ModelsError::Device {
                    device: post.name.clone(),
                    reason: panic_text(&*panic),
                })
            });
            match stage {
                Ok(stage) => {
                    // An error means that the start was given up; then there are no tasks either.
                    let _ = told.send(Ok(()));
                    work(&post, stage, &inbox);
                }
                Err(error) => {
                    let _ = told.send(Err(error));
                }
            }
        });
        let thread = spawned.map_err(|error| ModelsError::Device {
            device: name,
            reason: format!("cannot start its thread: {error}"),
        })?;
        Ok(Worker { tasks, thread, opened })
    }

    /// Waits until the device is open and its weights are loaded.
    ///
    /// # Errors
    /// They are not.
    pub(crate) fn ready(&self) -> Result<(), ModelsError> {
        self.opened.recv().unwrap_or_else(|_| {
            Err(ModelsError::Device {
                device: "a device".to_owned(),
                reason: "its thread has ended".to_owned(),
            })
        })
    }
}

/// Computes tasks until there can be no more. The first that fails is the last: what is on the device is in no known state.
fn work(post: &Post, mut stage: Box<dyn Stage>, inbox: &Receiver<Task>) {
    let mut output = Vec::new();
    for mut task in inbox {
        post.clock.set_computing(post.index, true);
        let computed = catch_unwind(AssertUnwindSafe(|| {
            stage.forward(task.lane, &task.batch, &task.values, &mut output)
        }));
        post.clock.set_computing(post.index, false);
        let fault = match computed {
            Ok(Ok(())) => None,
            Ok(Err(fault)) => Some(fault.to_string()),
            Err(panic) => Some(panic_text(&*panic)),
        };
        if let Some(fault) = fault {
            let reason = format!("device {} failed: {fault}", post.name);
            post.failure.set(&reason);
            if let Some(meeting) = &post.meeting {
                meeting.fail(&reason);
            }
            // Nobody waits for an answer if the lane is gone.
            let _ = task.reply.try_send(Err(reason.into()));
            return;
        }
        std::mem::swap(&mut task.values, &mut output);
        match &post.next {
            None => {
                let _ = task.reply.try_send(Ok(task.values));
            }
            Some(next) => {
                if next.send(task).is_err() {
                    // The next device failed and has said why; its lanes find the reason when nobody answers them.
                    return;
                }
            }
        }
    }
}

/// What a panic said.
fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panic: {}", text.unwrap_or("without a message"))
}
