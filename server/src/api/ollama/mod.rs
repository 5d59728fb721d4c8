//! Ollama's own API, for the clients that speak no other: bodies whatever they are declared as, errors as
//! `{"error":"..."}`, streams as lines of JSON, durations in nanoseconds.

mod answer;
mod body;
mod embed;
mod error;
mod options;
mod prompt;
mod reply;
mod request;
mod thought;
mod version;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use super::Api;

pub(crate) use body::AnyJson;
pub(crate) use error::OllamaError;

/// The two ways to have a text generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    /// `/api/chat`
    Chat,
    /// `/api/generate`
    Generate,
}

/// The routes below `/api`.
pub(super) fn router() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/chat", post(answer::chat))
        .route("/api/generate", post(answer::generate))
        .route("/api/embed", post(embed::embed))
        .route("/api/embeddings", post(embed::embeddings))
        .route("/api/version", get(version::version))
}
