//! Ollama's own API, for the clients that speak no other: bodies whatever they are declared as, errors as
//! `{"error":"..."}`, streams as lines of JSON, durations in nanoseconds.

mod body;
mod embed;
mod error;
mod version;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use super::Api;

pub(crate) use body::AnyJson;
pub(crate) use error::OllamaError;

/// The routes below `/api`.
pub(super) fn router() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/embed", post(embed::embed))
        .route("/api/embeddings", post(embed::embeddings))
        .route("/api/version", get(version::version))
}
