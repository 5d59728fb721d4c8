//! `GET /api/version`

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::OllamaError;
use crate::api::Api;
use crate::api::wire::json::json_response;

#[derive(Serialize)]
struct Version<'a> {
    version: &'a str,
}

/// The version of Ollama that this program gives itself out for.
pub(super) async fn version(State(api): State<Arc<Api>>) -> Result<Response, OllamaError> {
    let version = &api.app.ollama.version;
    Ok(json_response(&Version { version })?)
}
