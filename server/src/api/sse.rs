//! Server-sent events: one chunk of body per event, signs of life while there is nothing to say, an error event when
//! something breaks after the headers are gone.

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
use super::generation::{Generation, Step};
use super::wire::json;
use super::wire::reply::Usage;

pub(crate) const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n\n");
const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

/// The headers of every stream of events.
pub(crate) fn headers() -> [(HeaderName, HeaderValue); 3] {
    [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream; charset=utf-8"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ]
}

/// An error as an event.
pub(crate) fn error_event(error: &ApiError) -> Bytes {
    event(&error.to_json())
}

fn event(line: &[u8]) -> Bytes {
    [b"data: ", line, b"\n\n"].concat().into()
}

/// Events to be sent, in order.
#[derive(Default)]
pub(crate) struct Events(VecDeque<Bytes>);

impl Events {
    /// Adds one object as an event.
    pub(crate) fn push(&mut self, object: &impl Serialize) -> Result<(), ApiError> {
        self.push_line(&json::to_line(object)?);
        Ok(())
    }

    fn push_line(&mut self, line: &[u8]) {
        self.0.push_back(event(line));
    }
}

/// Puts what happens into the objects of one endpoint.
pub(crate) trait Narrator: Send + 'static {
    /// Waits for the end, then tells all at once.
    fn whole(self, generation: Generation) -> impl Future<Output = Result<Response, ApiError>> + Send;
    /// What is told as soon as the request is admitted.
    fn begin(&mut self, events: &mut Events) -> Result<(), ApiError>;
    /// What is told of one step.
    fn step(&mut self, step: Step, events: &mut Events) -> Result<(), ApiError>;
    /// The count of tokens at the end.
    fn usage(&mut self, usage: Usage, events: &mut Events) -> Result<(), ApiError>;
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
            events: Events::default(),
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
        (headers(), Body::from_stream(body)).into_response()
    }
}

impl<N: Narrator> Sending<N> {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(event) = self.events.0.pop_front() {
                self.last_sent = Instant::now();
                return Some(event);
            }
            if self.is_over {
                return None;
            }
            let silence_ends = self.last_sent + self.stream.keep_alive;
            let Ok(step) = timeout_at(silence_ends, self.stream.generation.next()).await else {
                self.last_sent = Instant::now();
                return Some(KEEP_ALIVE);
            };
            let told = match step {
                Ok(Some(step)) => self.stream.narrator.step(step, &mut self.events),
                Ok(None) => self.finish(),
                Err(error) => Err(error),
            };
            self.or_error(told);
        }
    }

    fn finish(&mut self) -> Result<(), ApiError> {
        self.is_over = true;
        if self.stream.with_usage {
            self.stream
                .narrator
                .usage(self.stream.generation.usage(), &mut self.events)?;
        }
        self.events.0.push_back(DONE);
        Ok(())
    }

    /// An error ends the stream, without `[DONE]`: clients must not take the reply for whole.
    fn or_error(&mut self, told: Result<(), ApiError>) {
        if let Err(error) = told {
            self.events.push_line(&error.to_json());
            self.is_over = true;
        }
    }

    fn panicked(&mut self) -> Option<Bytes> {
        let request_id = self.stream.generation.request_id();
        tracing::error!(request_id, "a stream panicked; its client got an error event");
        self.events.0.clear();
        self.or_error(Err(ApiError::Internal));
        self.events.0.pop_front()
    }
}
