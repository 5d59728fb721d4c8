//! Every refusal and failure a client can meet, as OpenAI's error object with its status and headers.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::wire::json;

/// Bytes of an error's body at most: it goes into logs and dialogs, and must not echo a body back.
const ERROR_BYTES_MAX: usize = 1024;

/// What went wrong, in words for the client. What an engine says of itself goes to the log, not here.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum ApiError {
    /// The body is not JSON, or not an object.
    #[error("{0}")]
    Malformed(String),
    /// A field has a value that is not allowed.
    #[error("{message}")]
    Field {
        /// The field, as `error.param`.
        param: String,
        /// What was found, what is allowed, what to change.
        message: String,
    },
    /// A field asks for what this server does not do, and ignoring it would change the answer.
    #[error("{message}")]
    Unsupported {
        /// The field, as `error.param`.
        param: String,
        /// What is not supported, and what to do.
        message: String,
    },
    /// The prompt leaves no room for a reply. Worded like OpenAI's, by which some clients know it.
    #[error(
        "this model's maximum context length is {context_tokens} tokens, reply included, and the prompt has {prompt_tokens} tokens: shorten it"
    )]
    ContextExceeded {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Tokens that one conversation may hold.
        context_tokens: usize,
    },
    /// A text to embed is longer than the context. The same wording.
    #[error(
        "this model's maximum context length is {context_tokens} tokens, and the input has {tokens} tokens: shorten it"
    )]
    TextTooLong {
        /// Tokens of the text.
        tokens: usize,
        /// Tokens that the context holds.
        context_tokens: usize,
    },
    /// No such model.
    #[error("model {asked} does not exist here: use {names}")]
    UnknownModel {
        /// The name asked for, quoted and cut.
        asked: String,
        /// The names there are.
        names: String,
    },
    /// The model could not be loaded.
    #[error("{0}")]
    ModelLoad(String),
    /// No such address.
    #[error("{0}")]
    UnknownRoute(String),
    /// The address is right, the method is not.
    #[error("method {method} is not for {path}: see the `Allow` header")]
    WrongMethod {
        /// The method used.
        method: String,
        /// The path, quoted and cut.
        path: String,
    },
    /// The body is not declared as JSON.
    #[error("content type is {found}: send the header `Content-Type: application/json`")]
    ContentType {
        /// What was declared.
        found: String,
    },
    /// The body is larger than the limit.
    #[error("body is larger than {limit_bytes} bytes: shorten it, or raise `body_bytes`")]
    BodyTooLarge {
        /// `Limits::body_bytes_max`
        limit_bytes: usize,
    },
    /// The connection ended, or stood still, before the body was whole.
    #[error("body ended before it was whole: send it again")]
    BodyCut,
    /// Every queue is full.
    #[error("{waiting} requests are waiting, the queue holds {queue_jobs_max}: try again in {} s", .retry_after.as_secs())]
    QueueFull {
        /// Jobs in the queue.
        waiting: usize,
        /// Jobs that it holds.
        queue_jobs_max: usize,
        /// When a place is likely to be free.
        retry_after: Duration,
    },
    /// No engine can take a job.
    #[error("no engine is ready: see /readyz, and try again")]
    NoEngine,
    /// The process is stopping.
    #[error("the server is shutting down: try again")]
    ShuttingDown,
    /// An engine failed and no other could go on.
    #[error("the engine failed while it worked on this request: try again, the server's log says more")]
    EngineFailed,
    /// A bug of ours.
    #[error("internal error: the server's log says more under this request's id")]
    Internal,
}

impl ApiError {
    /// A field with a value that is not allowed.
    pub(crate) fn field(param: impl Into<String>, message: impl Into<String>) -> ApiError {
        ApiError::Field {
            param: param.into(),
            message: message.into(),
        }
    }

    /// A field that asks for what this server does not do.
    pub(crate) fn unsupported(param: impl Into<String>, message: impl Into<String>) -> ApiError {
        ApiError::Unsupported {
            param: param.into(),
            message: message.into(),
        }
    }

    /// The same about `param`, where it is about `other`, the field of another endpoint.
    pub(crate) fn renamed(mut self, other: &str, param: &str) -> ApiError {
        if let ApiError::Field { param: named, .. } = &mut self
            && named == other
        {
            param.clone_into(named);
        }
        self
    }

    /// The same refusal in the name of another field, the one that clients know.
    pub(crate) fn of(self, param: &str) -> ApiError {
        match self {
            ApiError::Field { message, .. } => ApiError::field(param, message),
            ApiError::Unsupported { message, .. } => ApiError::unsupported(param, message),
            other => other,
        }
    }

    /// The status it is answered with.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            ApiError::Malformed(_)
            | ApiError::Field { .. }
            | ApiError::Unsupported { .. }
            | ApiError::ContextExceeded { .. }
            | ApiError::TextTooLong { .. }
            | ApiError::BodyCut => StatusCode::BAD_REQUEST,
            ApiError::UnknownModel { .. } | ApiError::UnknownRoute(_) => StatusCode::NOT_FOUND,
            ApiError::WrongMethod { .. } => StatusCode::METHOD_NOT_ALLOWED,
            ApiError::ContentType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ApiError::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            ApiError::QueueFull { .. } => StatusCode::TOO_MANY_REQUESTS,
            ApiError::NoEngine | ApiError::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::EngineFailed | ApiError::ModelLoad(_) | ApiError::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// `error.type`
    fn kind(&self) -> &'static str {
        if self.status().is_server_error() || matches!(self, ApiError::QueueFull { .. }) {
            "server_error"
        } else {
            "invalid_request_error"
        }
    }

    /// `error.code`
    fn code(&self) -> &'static str {
        match self {
            ApiError::Malformed(_) => "invalid_json",
            ApiError::Field { .. } => "invalid_value",
            ApiError::Unsupported { .. } => "unsupported_parameter",
            ApiError::ContextExceeded { .. } | ApiError::TextTooLong { .. } => "context_length_exceeded",
            ApiError::UnknownModel { .. } => "model_not_found",
            ApiError::ModelLoad(_) => "model_load_failed",
            ApiError::UnknownRoute(_) => "unknown_url",
            ApiError::WrongMethod { .. } => "method_not_allowed",
            ApiError::ContentType { .. } => "unsupported_media_type",
            ApiError::BodyTooLarge { .. } => "request_too_large",
            ApiError::BodyCut => "request_cut",
            ApiError::QueueFull { .. } => "server_overloaded",
            ApiError::NoEngine => "no_engine_ready",
            ApiError::ShuttingDown => "server_shutting_down",
            ApiError::EngineFailed => "engine_failed",
            ApiError::Internal => "internal_error",
        }
    }

    fn param(&self) -> Option<&str> {
        match self {
            ApiError::Field { param, .. } | ApiError::Unsupported { param, .. } => Some(param),
            ApiError::UnknownModel { .. } => Some("model"),
            _ => None,
        }
    }

    /// The error object in one line of JSON, at most [`ERROR_BYTES_MAX`] bytes.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        fitting(self.to_string(), |message| {
            let error = ErrorObject {
                message,
                r#type: self.kind(),
                param: self.param(),
                code: self.code(),
            };
            json::to_line(&ErrorBody { error }).unwrap_or_default()
        })
    }

    /// What clients are told beside the body: when to come back, and whether at all.
    pub(crate) fn set_headers(&self, headers: &mut HeaderMap) {
        match self {
            ApiError::QueueFull { retry_after, .. } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1)));
            }
            ApiError::NoEngine => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(5));
            }
            ApiError::ShuttingDown => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(1));
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            // The official clients would send it twice more, and what broke once may break three engines.
            ApiError::EngineFailed | ApiError::ModelLoad(_) | ApiError::Internal => {
                headers.insert("x-should-retry", HeaderValue::from_static("false"));
            }
            _ => {}
        }
    }
}

/// The body that `written` makes of `message`, with as much of the message as [`ERROR_BYTES_MAX`] bytes take.
pub(crate) fn fitting(mut message: String, written: impl Fn(&str) -> Vec<u8>) -> Vec<u8> {
    loop {
        let body = written(&message);
        if body.len() <= ERROR_BYTES_MAX || message.is_empty() {
            return body;
        }
        message.truncate(message.floor_char_boundary(message.len() / 2));
    }
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: ErrorObject<'a>,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'a str>,
    code: &'static str,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.to_json()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.set_headers(headers);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_openais_object_with_all_four_keys() {
        let json = ApiError::field("n", "n is 0: give a number from 1 to 8").to_json();
        assert_eq!(
            String::from_utf8(json).unwrap(),
            r#"{"error":{"message":"n is 0: give a number from 1 to 8","type":"invalid_request_error","param":"n","code":"invalid_value"}}"#
        );
        let json = String::from_utf8(ApiError::NoEngine.to_json()).unwrap();
        assert!(
            json.contains(r#""type":"server_error","param":null,"code":"no_engine_ready""#),
            "{json}"
        );
    }

    #[test]
    fn no_error_is_longer_than_a_kilobyte() {
        for text in [
            "\\".repeat(5000),
            "\u{2028}".repeat(5000),
            "你".repeat(5000),
            "\u{0}".repeat(5000),
        ] {
            let json = ApiError::Malformed(text).to_json();
            assert!(json.len() <= ERROR_BYTES_MAX);
            assert!(serde_json::from_slice::<serde_json::Value>(&json).is_ok());
        }
    }

    #[test]
    fn the_overloaded_and_the_leaving_say_when_to_come_back() {
        let full = ApiError::QueueFull {
            waiting: 64,
            queue_jobs_max: 64,
            retry_after: Duration::from_millis(10),
        };
        let response = full.into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()["retry-after"], "1");
        let response = ApiError::ShuttingDown.into_response();
        assert_eq!(
            (response.status(), &response.headers()["connection"]),
            (StatusCode::SERVICE_UNAVAILABLE, &HeaderValue::from_static("close"))
        );
        assert_eq!(response.headers()["retry-after"], "1");
    }
}
