//! Errors as Ollama's clients read them: `{"error":"text"}`, always a string.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::api::error::{ApiError, fitting};
use crate::api::wire::json;

/// What LobeChat and others know an overload by, two spaces included.
const BUSY: &str = "server busy, please try again.  maximum pending requests exceeded";

/// What went wrong with a request to Ollama's API.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum OllamaError {
    /// What every API here can meet.
    Shared(ApiError),
    /// What only this one does.
    Own {
        /// The status.
        status: StatusCode,
        /// The text.
        message: String,
    },
}

impl OllamaError {
    /// A request that asks for what is not allowed: 400.
    pub(crate) fn bad_request(message: impl Into<String>) -> OllamaError {
        OllamaError::Own {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
        }
    }

    /// The status it is answered with.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            OllamaError::Shared(ApiError::QueueFull { .. }) => StatusCode::SERVICE_UNAVAILABLE,
            OllamaError::Shared(error) => error.status(),
            OllamaError::Own { status, .. } => *status,
        }
    }

    fn message(&self) -> String {
        match self {
            OllamaError::Shared(ApiError::QueueFull { .. }) => BUSY.to_owned(),
            // By these words clients offer to pull the model.
            OllamaError::Shared(ApiError::UnknownModel { asked, .. }) => {
                format!("model {asked} not found, try pulling it first")
            }
            OllamaError::Shared(error) => error.to_string(),
            OllamaError::Own { message, .. } => message.clone(),
        }
    }

    /// The error in one line of JSON, as short as every error here.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        fitting(self.message(), |error| {
            json::to_line(&ErrorBody { error }).unwrap_or_default()
        })
    }
}

impl From<ApiError> for OllamaError {
    fn from(error: ApiError) -> OllamaError {
        OllamaError::Shared(error)
    }
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
}

impl IntoResponse for OllamaError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.to_json()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=utf-8"),
        );
        if let OllamaError::Shared(error) = &self {
            error.set_headers(headers);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn check(error: ApiError, status: u16, body: &str) -> Response {
        let error = OllamaError::from(error);
        assert_eq!(String::from_utf8(error.to_json()).unwrap(), body);
        let response = error.into_response();
        assert_eq!(response.status(), status);
        response
    }

    #[test]
    fn an_error_is_one_string() {
        check(
            ApiError::field("stream", "stream is 1: give true or false"),
            400,
            r#"{"error":"stream is 1: give true or false"}"#,
        );
        let asked = "\"llama9\"".to_owned();
        let names = "tandem-tiny".to_owned();
        check(
            ApiError::UnknownModel { asked, names },
            404,
            r#"{"error":"model \"llama9\" not found, try pulling it first"}"#,
        );
        let long = OllamaError::bad_request("你\n".repeat(5000));
        assert!(long.to_json().len() <= 1024);
    }

    #[test]
    fn an_overload_is_a_503_in_ollamas_words_that_says_when_to_come_back() {
        let full = ApiError::QueueFull {
            waiting: 64,
            queue_jobs_max: 64,
            retry_after: Duration::from_secs(3),
        };
        let body = r#"{"error":"server busy, please try again.  maximum pending requests exceeded"}"#;
        assert_eq!(check(full, 503, body).headers()["retry-after"], "3");
    }
}
