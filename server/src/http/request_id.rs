//! The id under which one request can be found, and the net under its handler.

use std::panic::AssertUnwindSafe;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt;
use uuid::Uuid;

use super::ErrorForm;
use super::refuse::panicked;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Characters of a client's own id; a longer one is replaced.
const ID_CHARS_MAX: usize = 128;

/// The id of the request at hand, in its extensions.
#[derive(Clone)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// The client's own id if it is a plain word, else a new one.
    pub(crate) fn of(headers: &HeaderMap) -> RequestId {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
        let own = headers.get(HEADER).filter(|id| {
            let id = id.as_bytes();
            (1..=ID_CHARS_MAX).contains(&id.len()) && id.iter().all(is_plain)
        });
        let new = || HeaderValue::from_str(&Uuid::new_v4().to_string()).unwrap_or(HeaderValue::from_static("none"));
        RequestId(own.cloned().unwrap_or_else(new))
    }

    /// The id in a log line.
    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// Gives the request its id, returns it with every answer, and answers 500 for a handler that panics.
pub(crate) async fn name_and_contain(mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    let form = ErrorForm::of(request.uri().path());
    // The handler's state is dropped by the panic; what it shares is behind locks that outlive a panic by design.
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = answered.unwrap_or_else(|_payload| {
        tracing::error!(request_id = id.as_str(), "a handler panicked");
        panicked(form)
    });
    if response.status() == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(request_id = id.as_str(), "answered with an internal error");
    }
    response.headers_mut().insert(HEADER, id.0);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_id_is_kept_and_any_other_is_replaced() {
        let id_of = |sent: &str| {
            let headers = HeaderMap::from_iter([(HEADER, HeaderValue::from_bytes(sent.as_bytes()).unwrap())]);
            RequestId::of(&headers).as_str().to_owned()
        };
        assert_eq!(id_of("req_1-a.b:c"), "req_1-a.b:c");
        for odd in ["", "a b", "a\tb", "ä", &"x".repeat(129)] {
            assert_eq!(id_of(odd).len(), 36, "{odd:?}");
        }
    }
}
