//! What is refused before any route sees it: addresses too long, bodies too large or too slow, requests that come
//! while the process is leaving.

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;

use super::body::{BodyTime, DISCARDED_TIMES, Fault, Measure, MeasuredBody};
use super::cors::know_origin;
use super::host::know_host;
use super::record::{InFlight, record};
use super::request_id::name_and_contain;
use super::{ErrorForm, Hosts, HttpLimits, Origins};
use crate::drain::Drain;
use crate::metrics::Metrics;

/// Answered even while the process is leaving: whoever asks wants to know exactly that.
pub(super) const ALWAYS_ANSWERED: [&str; 4] = ["/livez", "/readyz", "/health", "/metrics"];

/// Bytes of a header that a message shows.
const SHOWN_BYTES: usize = 80;
/// Where models' files are uploaded.
const UPLOADS: &str = "/api/blobs/";

/// What the guards around the routes need.
#[derive(Clone)]
pub(crate) struct Guards {
    pub(crate) limits: HttpLimits,
    pub(crate) body_bytes_max: usize,
    pub(crate) blob_bytes_max: u64,
    pub(crate) drain: Drain,
    pub(crate) metrics: Metrics,
    pub(crate) in_flight: InFlight,
    pub(crate) origins: Origins,
    pub(crate) hosts: Hosts,
}

/// Puts the guards around `routes`. The record is around the others: it also tells of what they refuse. Browsers are
/// answered outside even of that: what they may read does not depend on what there is to read.
pub(crate) fn guarded(routes: Router, guards: Guards) -> Router {
    let browsers = guards.origins.layer();
    routes
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(guards.clone(), measure_body))
        .layer(from_fn_with_state(guards.clone(), refuse_early))
        .layer(from_fn_with_state(guards.clone(), know_origin))
        .layer(from_fn_with_state(guards.clone(), know_host))
        .layer(from_fn(name_and_contain))
        .layer(from_fn_with_state(guards, record))
        .layer(browsers)
}

/// What is told of a request that goes no further.
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// `error.type`
    pub(super) kind: &'static str,
    /// `error.code`
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Refusal {
    /// The answer, keys in the order of the routes' own.
    pub(super) fn told(self, form: ErrorForm) -> Response {
        let Refusal {
            status,
            kind,
            code,
            message,
        } = self;
        let message = serde_json::Value::from(message);
        let body = match form {
            ErrorForm::OpenAi => {
                format!(r#"{{"error":{{"message":{message},"type":"{kind}","param":null,"code":"{code}"}}}}"#)
            }
            ErrorForm::Ollama => format!(r#"{{"error":{message}}}"#),
        };
        (status, [(CONTENT_TYPE, "application/json")], body).into_response()
    }
}

/// Some of what a client sent, as words of a message can show it.
pub(super) fn quoted(sent: &[u8]) -> String {
    let shown = String::from_utf8_lossy(sent.get(..SHOWN_BYTES).unwrap_or(sent))
        .escape_debug()
        .to_string();
    let cut = if sent.len() > SHOWN_BYTES { "..." } else { "" };
    format!("`{shown}{cut}`")
}

fn closing(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The answer for a handler that panicked.
pub(super) fn panicked(form: ErrorForm) -> Response {
    Refusal {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        kind: "server_error",
        code: "internal_error",
        message: "the server met a fault of its own; it is in the server's log".to_owned(),
    }
    .told(form)
}

async fn refuse_early(State(guards): State<Guards>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let form = ErrorForm::of(path);
    let uri_bytes = request.uri().path_and_query().map_or(0, |whole| whole.as_str().len());
    if uri_bytes > guards.limits.uri_bytes {
        let refusal = Refusal {
            status: StatusCode::URI_TOO_LONG,
            kind: "invalid_request_error",
            code: "uri_too_long",
            message: format!(
                "the address has {uri_bytes} bytes, {} are allowed: shorten it",
                guards.limits.uri_bytes
            ),
        };
        return closing(refusal.told(form));
    }
    let is_leaving = guards.drain.is_draining();
    if is_leaving && !ALWAYS_ANSWERED.contains(&path) {
        let refusal = Refusal {
            status: StatusCode::SERVICE_UNAVAILABLE,
            kind: "server_error",
            code: "server_shutting_down",
            message: "the server is shutting down: send the request again, it will reach the next one".to_owned(),
        };
        let mut response = refusal.told(form);
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
        return closing(response);
    }
    let response = next.run(request).await;
    if is_leaving { closing(response) } else { response }
}

async fn measure_body(State(guards): State<Guards>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let measure = measure(&guards, request.uri().path());
    let declared = declared_bytes(request.headers());
    let waits_for_go = request.headers().contains_key(EXPECT);
    let form = ErrorForm::of(request.uri().path());
    let (parts, body) = request.into_parts();
    if let Some(bytes) = declared.filter(|bytes| *bytes > measure.bytes_max) {
        if !waits_for_go && bytes - measure.bytes_max <= measure.discarded_max {
            discard(MeasuredBody::new(body, measure).0).await;
        }
        return closing(refused_body(Fault::TooLarge, measure).told(form));
    }
    let (body, verdict) = MeasuredBody::new(body, measure);
    let response = next.run(Request::from_parts(parts, Body::new(body))).await;
    match verdict.fault() {
        Some(fault) => closing(refused_body(fault, measure).told(form)),
        None => response,
    }
}

fn declared_bytes(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn discard(mut body: MeasuredBody) {
    while let Some(Ok(_)) = body.frame().await {}
}

/// What a body sent to `path` may be. A model's file comes as long as it comes, if only it comes.
fn measure(guards: &Guards, path: &str) -> Measure {
    let time = guards.limits.body_time;
    if path.starts_with(UPLOADS) {
        return Measure {
            bytes_max: guards.blob_bytes_max,
            discarded_max: 0,
            time: BodyTime::EachChunk(time),
        };
    }
    let bytes_max = guards.body_bytes_max as u64;
    Measure {
        bytes_max,
        discarded_max: bytes_max.saturating_mul(DISCARDED_TIMES),
        time: BodyTime::Whole(time),
    }
}

fn refused_body(fault: Fault, measure: Measure) -> Refusal {
    let (setting, time) = match measure.time {
        BodyTime::Whole(time) => ("body_bytes", time),
        BodyTime::EachChunk(time) => ("blob_bytes", time),
    };
    let (status, code, message) = match fault {
        Fault::TooLarge => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "request_too_large",
            format!(
                "the request body is over {} bytes: shorten it, or raise `{setting}`",
                measure.bytes_max
            ),
        ),
        Fault::TooSlow => (
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            format!("the request body did not arrive within {} s", time.as_secs()),
        ),
    };
    Refusal {
        status,
        kind: "invalid_request_error",
        code,
        message,
    }
}
