//! The two ends of a job's answer: the engine's outlet and the client's replies.
//!
//! The engine never waits for a client. It sends only while the channel has room and keeps one place free for the end;
//! a full channel pauses the sequence, a dropped receiver cancels it. Either way the client's side wakes the engine.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::dispatch::Station;
use crate::job::{Event, Finish};

/// What both ends know of each other.
#[derive(Debug)]
struct Line {
    /// The engine that has the sequence, or had it last.
    engine: AtomicUsize,
    /// Set by the engine when it passes the sequence over for want of room.
    paused: AtomicBool,
}

/// The engine's end. Dropped only after the end was sent.
pub(crate) struct Outlet {
    sender: Sender<Event>,
    line: Arc<Line>,
}

/// The client's end: the events of one job, in order. Dropping it cancels the job at the engine's next step.
pub struct Replies {
    receiver: Receiver<Event>,
    line: Arc<Line>,
    stations: Arc<[Station]>,
    ended: bool,
}

/// Both ends of one answer, for a job at `engine`.
pub(crate) fn open(events_max: usize, engine: usize, stations: &Arc<[Station]>) -> (Outlet, Replies) {
    let (sender, receiver) = channel(events_max);
    let line = Arc::new(Line {
        engine: AtomicUsize::new(engine),
        paused: AtomicBool::new(false),
    });
    let outlet = Outlet {
        sender,
        line: Arc::clone(&line),
    };
    let replies = Replies {
        receiver,
        line,
        stations: Arc::clone(stations),
        ended: false,
    };
    (outlet, replies)
}

impl Outlet {
    /// Whether the client went away.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Whether a step's events fit and leave a place for the end. If not, the client's next read wakes the engine.
    pub(crate) fn has_room(&self) -> bool {
        if self.sender.capacity() >= 2 {
            return true;
        }
        // The client reads, then looks at the flag; we set the flag, then look at the room. With both fences one of
        // the two sees the other.
        self.line.paused.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.sender.capacity() >= 2
    }

    /// Sends one event. There is room: the caller asked [`Outlet::has_room`], and one place is the end's.
    pub(crate) fn send(&self, event: Event) {
        // An error means that the client went away: the next step sees that and frees the sequence.
        let _ = self.sender.try_send(event);
    }

    /// Names the engine that has the sequence from now on. Before it can see the sequence.
    pub(crate) fn move_to(&self, engine: usize) {
        self.line.engine.store(engine, Ordering::SeqCst);
    }
}

impl Replies {
    /// The next event; `None` after [`Event::Finished`]. May be cancelled at its await without losing an event.
    pub async fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        let event = self.receiver.recv().await;
        self.take(event)
    }

    /// The next event if it is here already.
    pub fn try_next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        match self.receiver.try_recv() {
            Ok(event) => self.take(Some(event)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => self.take(None),
        }
    }

    /// The engine that has the job; another one after a failure.
    #[must_use]
    pub fn engine(&self) -> usize {
        self.line.engine.load(Ordering::SeqCst)
    }

    fn take(&mut self, event: Option<Event>) -> Option<Event> {
        fence(Ordering::SeqCst);
        if self.line.paused.swap(false, Ordering::Relaxed) {
            self.wake();
        }
        // A channel that closed without an end can only be our bug; the client still gets an end.
        let event = event.unwrap_or_else(|| Event::Finished(Finish::Failed("the engine lost this job".to_owned())));
        self.ended = matches!(event, Event::Finished(_));
        Some(event)
    }

    fn wake(&self) {
        if let Some(station) = self.stations.get(self.engine()) {
            station.inbox.poke();
        }
    }
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not its events: they are somebody's words.
        let mut fields = f.debug_struct("Replies");
        fields
            .field("engine", &self.engine())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        // Closed first: an engine that the job is just moving to looks after it was told.
        self.receiver.close();
        if !self.ended {
            self.wake();
        }
    }
}
