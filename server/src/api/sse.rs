//! Replies as streams: one chunk of body per object, signs of life while there is nothing to say, an error in the
//! stream when something breaks after the headers are gone.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::{FutureExt, stream};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use super::error::ApiError;
use super::framing::Framing;
use super::generation::{Generation, Step};
use super::wire::json;

/// The headers of a stream.
pub(crate) fn headers(framing: Framing) -> [(HeaderName, HeaderValue); 3] {
    [
        (header::CONTENT_TYPE, framing.content_type()),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ]
}

/// Objects to be sent, in order.
pub(crate) struct Events {
    framing: Framing,
    waiting: VecDeque<Bytes>,
}

impl Events {
    /// None yet.
    pub(crate) fn new(framing: Framing) -> Events {
        Events {
            framing,
            waiting: VecDeque::new(),
        }
    }

    /// Adds one object.
    pub(crate) fn push(&mut self, object: &impl Serialize) -> Result<(), ApiError> {
        self.waiting.push_back(self.framing.frame(&json::to_line(object)?));
        Ok(())
    }

    /// Adds one object as an event with a name.
    pub(crate) fn push_named(&mut self, name: &'static str, object: &impl Serialize) -> Result<(), ApiError> {
        let line = json::to_line(object)?;
        let event = [b"event: ", name.as_bytes(), b"\ndata: ", &line, b"\n\n"].concat();
        self.waiting.push_back(event.into());
        Ok(())
    }

    /// Adds what is told when something breaks.
    fn error(&mut self, error: ApiError) {
        self.waiting.push_back(self.framing.error(error));
    }

    /// Adds a sign of life that means nothing else, where the form has one.
    pub(crate) fn comment(&mut self) {
        self.waiting.extend(self.framing.comment());
    }
}

/// Puts what happens into the objects of one endpoint.
pub(crate) trait Narrator: Send + 'static {
    /// The form of the stream.
    const FRAMING: Framing = Framing::Events;

    /// Waits for the end, then tells all at once.
    fn whole(self, generation: Generation) -> impl Future<Output = Result<Response, ApiError>> + Send;
    /// What is told as soon as the request is admitted.
    fn begin(&mut self, events: &mut Events) -> Result<(), ApiError>;
    /// What is told of one step.
    fn step(&mut self, step: Step, events: &mut Events) -> Result<(), ApiError>;
    /// What is told in a silence.
    fn silence(&mut self, events: &mut Events) -> Result<(), ApiError> {
        events.comment();
        Ok(())
    }
    /// What is counted at the end of `generation`.
    fn usage(&mut self, generation: &Generation, events: &mut Events) -> Result<(), ApiError>;
    /// What is told when it breaks after the headers are gone.
    fn broken(&mut self, error: ApiError, events: &mut Events) -> Result<(), ApiError> {
        events.error(error);
        Ok(())
    }
}

/// A reply under way to its client. Its body is pulled: while the client does not read, nothing is made, and the
/// engine's own bounded channel holds the sequence back.
pub(crate) struct EventStream<N> {
    pub(crate) generation: Generation,
    pub(crate) narrator: N,
    /// Whether the tokens are counted at the end.
    pub(crate) with_usage: bool,
    /// Longest silence.
    pub(crate) keep_alive: Duration,
}

struct Sending<N> {
    stream: EventStream<N>,
    events: Events,
    last_sent: Instant,
    is_over: bool,
}

impl<N: Narrator> EventStream<N> {
    /// The response. Its first event is there at once.
    pub(crate) fn into_response(self) -> Response {
        let mut sending = Sending {
            stream: self,
            events: Events::new(N::FRAMING),
            last_sent: Instant::now(),
            is_over: false,
        };
        let begun = sending.stream.narrator.begin(&mut sending.events);
        sending.or_error(begun);
        let body = stream::unfold(sending, |mut sending| async move {
            // After a panic the narrator and the generation are not used again, only dropped.
            let next = AssertUnwindSafe(sending.next()).catch_unwind().await;
            let chunk = next.unwrap_or_else(|_payload| sending.panicked());
            chunk.map(|chunk| (Ok::<_, Infallible>(chunk), sending))
        });
        (headers(N::FRAMING), Body::from_stream(body)).into_response()
    }
}

impl<N: Narrator> Sending<N> {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(event) = self.events.waiting.pop_front() {
                self.last_sent = Instant::now();
                return Some(event);
            }
            if self.is_over {
                return None;
            }
            let silence_ends = self.last_sent + self.stream.keep_alive;
            let told = match timeout_at(silence_ends, self.stream.generation.next()).await {
                Ok(Ok(Some(step))) => self.stream.narrator.step(step, &mut self.events),
                Ok(Ok(None)) => self.finish(),
                Ok(Err(error)) => Err(error),
                Err(_silence) => {
                    self.last_sent = Instant::now();
                    self.stream.narrator.silence(&mut self.events)
                }
            };
            self.or_error(told);
        }
    }

    fn finish(&mut self) -> Result<(), ApiError> {
        self.is_over = true;
        if self.stream.with_usage {
            self.stream.narrator.usage(&self.stream.generation, &mut self.events)?;
        }
        self.events.waiting.extend(N::FRAMING.end());
        Ok(())
    }

    /// An error ends the stream, without the usual end: clients must not take the reply for whole.
    fn or_error(&mut self, told: Result<(), ApiError>) {
        if let Err(error) = told {
            self.is_over = true;
            if let Err(error) = self.stream.narrator.broken(error, &mut self.events) {
                self.events.error(error);
            }
        }
    }

    fn panicked(&mut self) -> Option<Bytes> {
        let request_id = self.stream.generation.request_id();
        tracing::error!(request_id, "a stream panicked; its client got an error event");
        self.is_over = true;
        self.events.waiting.clear();
        // The narrator may be what panicked.
        self.events.error(ApiError::Internal);
        self.events.waiting.pop_front()
    }
}
