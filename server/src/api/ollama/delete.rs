//! `DELETE /api/delete`: a model of our own store removed. Ollama's stores are never written to.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::files::{name_of, refused};
use super::{AnyJson, OllamaError};
use crate::api::Api;
use crate::api::wire::Given;
use crate::config::ModelChoice;
use crate::shelf::ShelfError;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct DeleteRequest {
    model: Given,
    name: Given,
}

/// `DELETE /api/delete`
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    AnyJson(request): AnyJson<DeleteRequest>,
) -> Result<(), OllamaError> {
    api.require_changeable(&headers)?;
    let asked = name_of(&request.model, &request.name)?;
    let target = api.target(&asked).await?;
    if target == api.app.shelf.configured() {
        return Err(OllamaError::Own {
            status: StatusCode::CONFLICT,
            message: "this is the model that the server was started with: it stays while the server runs".to_owned(),
        });
    }
    let ModelChoice::Stored { name, .. } = target else {
        return Err(OllamaError::Own {
            status: StatusCode::FORBIDDEN,
            message: "this model is in the cache of the hub's own tools, which is only read: remove it with them"
                .to_owned(),
        });
    };
    // Replies under way go on: a loaded model needs its files no more.
    api.app.roster.forget_name(&asked).await.ok();
    api.with_shelf(move |shelf| {
        let deleted = shelf.places.own.delete(&shelf.places.stores, &name);
        let deleted = deleted.map(|()| tracing::info!(%name, "a client has deleted a model"));
        deleted.map_err(|error| refused(&ShelfError::Store(error), &asked))
    })
    .await
}
