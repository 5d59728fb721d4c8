//! Ollama's own API, for the clients that speak no other: bodies whatever they are declared as, errors as
//! `{"error":"..."}`, streams as lines of JSON, durations in nanoseconds.

mod answer;
mod body;
mod embed;
mod error;
mod form;
mod options;
mod prompt;
mod reply;
mod request;
mod thought;
mod version;

mod files;

mod ps;
mod show;
mod tags;

mod blobs;
mod copy;
mod create;
mod delete;
mod pull;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{delete, get, head, post};

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
        .merge(files_router())
}

/// Those about model files.
fn files_router() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/tags", get(tags::list))
        .route("/api/show", post(show::show))
        .route("/api/ps", get(ps::list))
        .route("/api/pull", post(pull::pull))
        .route("/api/push", post(push))
        .route("/api/copy", post(copy::copy))
        .route("/api/delete", delete(delete::delete))
        .route("/api/create", post(create::create))
        .route("/api/blobs/{digest}", head(blobs::head).post(blobs::upload))
}

/// Nothing of this server's files is ever sent elsewhere.
async fn push() -> OllamaError {
    OllamaError::Own {
        status: StatusCode::NOT_IMPLEMENTED,
        message: "models are not pushed from here: use Ollama's own program".to_owned(),
    }
}
