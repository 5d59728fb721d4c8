//! One line and one count per request, written when its answer has ended or its client has left. Never a prompt, a
//! reply, a query string or a header: the path, and what the handler measured.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::watch;

use super::refuse::ALWAYS_ANSWERED;
use super::{Guards, Notes};
use crate::metrics::{Held, Metrics, TokenUse};

/// nginx's status for a client that left before its answer began: nobody saw it, but it must be counted.
const CLIENT_LEFT: u16 = 499;

/// Characters of a path that a log line shows.
const PATH_CHARS_SHOWN: usize = 256;

/// Counts the requests whose answer has not ended. Clones count together.
#[derive(Clone)]
pub(crate) struct InFlight(Arc<watch::Sender<usize>>);

impl InFlight {
    pub(crate) fn new() -> InFlight {
        InFlight(Arc::new(watch::Sender::new(0)))
    }

    pub(crate) fn count(&self) -> usize {
        *self.0.borrow()
    }

    /// Resolves when no request is in flight.
    pub(crate) async fn none(&self) {
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }

    fn one_more(&self) -> One {
        self.0.send_modify(|count| *count += 1);
        One(self.clone())
    }
}

struct One(InFlight);

impl Drop for One {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

/// The guard around all routes: makes the record and lets it go with the answer's body.
pub(super) async fn record(State(guards): State<Guards>, request: Request, next: Next) -> Response {
    let notes = Arc::new(Notes::default());
    let mut record = Record::begin(&guards, &request, notes.clone());
    let response = notes.around(next.run(request)).await;
    record.status = Some(response.status().as_u16());
    record.engine = said(response.headers(), "x-tandem-engine");
    record.request_id = said(response.headers(), "x-request-id");
    record.is_whole = record.method == Method::HEAD || response.body().is_end_stream();
    response.map(|body| Body::new(RecordedBody { body, record }))
}

/// What the answer itself says of who made it and of how it is called.
fn said(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

struct Record {
    metrics: Metrics,
    notes: Arc<Notes>,
    method: Method,
    path: String,
    /// The route's pattern: a closed set, unlike paths.
    api: String,
    started: Instant,
    status: Option<u16>,
    engine: Option<String>,
    request_id: Option<String>,
    /// Whether the answer's body was sent to its end.
    is_whole: bool,
    _in_flight: (One, Held),
}

impl Record {
    fn begin(guards: &Guards, request: &Request, notes: Arc<Notes>) -> Record {
        let api = request
            .extensions()
            .get::<MatchedPath>()
            .map_or("other", MatchedPath::as_str);
        Record {
            metrics: guards.metrics.clone(),
            notes,
            method: request.method().clone(),
            path: request.uri().path().chars().take(PATH_CHARS_SHOWN).collect(),
            api: api.to_owned(),
            started: Instant::now(),
            status: None,
            engine: None,
            request_id: None,
            is_whole: false,
            _in_flight: (guards.in_flight.one_more(), guards.metrics.in_flight()),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let status = self.status.unwrap_or(CLIENT_LEFT);
        self.metrics.answered(&self.api, status);
        self.write(status);
    }
}

impl Record {
    /// Probes and scrapes that went well come every second: they are for `debug`.
    fn write(&self, status: u16) {
        let (method, path) = (&self.method, self.path.as_str());
        let ms = self.started.elapsed().as_millis();
        let request_id = self.request_id.as_deref().unwrap_or("none");
        let end = if self.is_whole { "whole" } else { "cut" };
        if let Some(TokenUse {
            prompt: tokens_in,
            output: tokens_out,
            ..
        }) = self.notes.tokens()
        {
            let engine = self.engine.as_deref().unwrap_or("none");
            tracing::info!(
                %method, path, status, request_id, engine, tokens_in, tokens_out, ms, end, "request"
            );
        } else if status < 400 && ALWAYS_ANSWERED.contains(&path) {
            tracing::debug!(%method, path, status, request_id, ms, "request");
        } else {
            tracing::info!(%method, path, status, request_id, ms, end, "request");
        }
    }
}

struct RecordedBody {
    body: Body,
    record: Record,
}

impl HttpBody for RecordedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.record.is_whole = true;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
