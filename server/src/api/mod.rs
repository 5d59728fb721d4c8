//! The routes: OpenAI's API, Ollama's, tokenising, health and metrics.
//!
//! Reading order is a request's way: [`body`] reads it, [`check`] turns it into a checked type or a refusal, [`text`]
//! makes tokens of it, [`submit`] hands jobs to an engine, [`generation`] joins what comes back, and [`chat`],
//! [`completions`] or [`responses`] puts it on the wire, whole or through [`sse`].

mod body;
mod chat;
mod check;
mod completions;
mod embed;
mod embeddings;
mod error;
mod framing;
mod generation;
mod health;
mod held;
mod logprobs;
mod models;
mod ollama;
mod responses;
mod sse;
mod submit;
mod text;
mod tokens;
mod waiting;
mod wire;

#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use axum::Router;
use axum::http::{Method, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::app::App;
use crate::http::ErrorForm;
use error::ApiError;
use ollama::OllamaError;
use text::TextLane;
use wire::given::shown;

/// What every handler holds: the program, and what the routes themselves keep.
pub(crate) struct Api {
    app: Arc<App>,
    text_lane: TextLane,
    /// For work on model files, so that no disk keeps texts waiting.
    file_lane: TextLane,
}

/// All routes over `app`. Addresses without `/v1` are there because half of LobeChat's guides leave it out.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat::create))
        .route("/chat/completions", post(chat::create))
        .route("/v1/completions", post(completions::create))
        .route("/completions", post(completions::create))
        .route("/v1/embeddings", post(embeddings::create))
        .route("/embeddings", post(embeddings::create))
        .route("/v1/responses", post(responses::create))
        .route("/responses", post(responses::create))
        .route("/v1/models", get(models::list))
        .route("/models", get(models::list))
        .route("/v1/models/{*id}", get(models::one))
        .route("/tokenize", post(tokens::tokenize))
        .route("/detokenize", post(tokens::detokenize))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/health", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/", get(health::greeting))
        .merge(ollama::router())
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .with_state(Arc::new(Api::new(app)))
}

impl Api {
    fn new(app: Arc<App>) -> Api {
        Api {
            text_lane: TextLane::new(),
            file_lane: TextLane::new(),
            app,
        }
    }
}

async fn unknown_route(method: Method, uri: Uri) -> Response {
    let path = uri.path();
    let asked = format!("{method} {}", shown(path));
    let hint = if path.contains("/responses/") {
        "responses are not kept: POST /v1/responses answers a whole conversation"
    } else {
        "chat is at POST /v1/chat/completions, the model at GET /v1/models, health at GET /readyz"
    };
    refused(
        path,
        ApiError::UnknownRoute(format!("{asked} does not exist here: {hint}")),
    )
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    let error = ApiError::WrongMethod {
        method: shown(method.as_str()),
        path: shown(uri.path()),
    };
    refused(uri.path(), error)
}

/// The error in the form that is expected of `path`.
fn refused(path: &str, error: ApiError) -> Response {
    match ErrorForm::of(path) {
        ErrorForm::OpenAi => error.into_response(),
        ErrorForm::Ollama => OllamaError::from(error).into_response(),
    }
}
