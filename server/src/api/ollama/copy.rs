//! `POST /api/copy`: a second name for a model, in our own store.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use library::store::StoreError;
use serde::Deserialize;

use super::files::{refused, text};
use super::{AnyJson, OllamaError};
use crate::api::Api;
use crate::api::wire::Given;
use crate::config::ModelChoice;
use crate::shelf::ShelfError;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct CopyRequest {
    source: Given,
    destination: Given,
}

/// `POST /api/copy`
pub(super) async fn copy(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    AnyJson(request): AnyJson<CopyRequest>,
) -> Result<(), OllamaError> {
    api.require_changeable(&headers)?;
    let required = |field: &str, given: Given| {
        let given = text(field, given)?.filter(|name| !name.is_empty());
        given.ok_or_else(|| OllamaError::bad_request(format!("{field} is required: give a model's name")))
    };
    let source = required("source", request.source)?;
    let destination = api.own_name(&required("destination", request.destination)?)?;
    let target = api.target(&source).await?;
    let ModelChoice::Stored { name: from, .. } = target else {
        return Err(not_in_a_store(&source));
    };
    api.with_shelf(move |shelf| {
        let copied = shelf.places.own.copy(&shelf.places.stores, &from, &destination);
        let copied = copied.map(|_id| tracing::info!(%from, to = %destination, "a client has copied a model"));
        copied.map_err(|error: StoreError| refused(&ShelfError::Store(error), &source))
    })
    .await
}

/// What has no manifest cannot have another name for it.
pub(super) fn not_in_a_store(name: &str) -> OllamaError {
    let name: String = name.chars().take(200).collect();
    OllamaError::bad_request(format!(
        "{name} is not in a model store but embedded or a file of its own: take a model that was pulled or created"
    ))
}
