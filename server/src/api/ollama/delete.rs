//! `DELETE /api/delete`: a model of our own store removed. Ollama's stores are never written to.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use library::hub::HubName;
use serde::Deserialize;

use super::files::{name_of, refused};
use super::{AnyJson, OllamaError};
use crate::api::Api;
use crate::api::wire::Given;
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
    if HubName::is_meant(&asked) {
        return Err(OllamaError::Own {
            status: StatusCode::FORBIDDEN,
            message: "models of the hub are in its own tools' cache: remove them with those".to_owned(),
        });
    }
    let name = api.own_name(&asked)?;
    let is_ours = {
        let name = name.clone();
        api.with_shelf(move |shelf| Ok(shelf.places.own.store().has(&name)))
            .await?
    };
    if is_ours {
        // Replies under way go on: a loaded model needs its files no more.
        api.app.roster.forget_name(&asked).await.ok();
    }
    api.with_shelf(move |shelf| {
        let deleted = shelf.places.own.delete(&shelf.places.stores, &name);
        let deleted = deleted.map(|()| tracing::info!(%name, "a client has deleted a model"));
        deleted.map_err(|error| refused(&ShelfError::Store(error), &asked))
    })
    .await
}
