//! `GET /api/tags`: all models that may be asked for.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use library::store::Details;
use serde::Serialize;

use super::OllamaError;
use super::files::reply;
use crate::api::Api;
use crate::date::rfc3339_nanos;
use crate::shelf::{Entry, Offered, tagged};

#[derive(Serialize)]
struct Tags {
    models: Vec<Tag>,
}

#[derive(Serialize)]
struct Tag {
    name: String,
    model: String,
    modified_at: String,
    size: u64,
    digest: String,
    details: ModelDetails,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    capabilities: Vec<&'static str>,
}

/// What is told of a model wherever one is told of.
#[derive(Serialize)]
pub(super) struct ModelDetails {
    parent_model: &'static str,
    format: String,
    family: String,
    families: Vec<String>,
    parameter_size: String,
    quantization_level: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_length: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding_length: Option<u64>,
}

impl ModelDetails {
    pub(super) fn of(entry: &Entry) -> ModelDetails {
        let Details {
            format,
            family,
            families,
            parameter_size,
            quantization_level,
        } = entry.details.clone();
        ModelDetails {
            parent_model: "",
            format,
            family,
            families,
            parameter_size,
            quantization_level,
            context_length: entry.context_length,
            embedding_length: entry.embedding_length,
        }
    }
}

impl From<Offered> for Tag {
    fn from(Offered { entry, alias }: Offered) -> Tag {
        let name = alias.map_or_else(|| entry.name.clone(), tagged);
        Tag {
            details: ModelDetails::of(&entry),
            model: name.clone(),
            name,
            modified_at: rfc3339_nanos(entry.modified),
            size: entry.bytes,
            digest: entry.digest.hex().to_owned(),
            capabilities: entry.capabilities,
        }
    }
}

/// `GET /api/tags`
pub(super) async fn list(State(api): State<Arc<Api>>) -> Result<Response, OllamaError> {
    let models = api.offered().await?.into_iter();
    reply(&Tags {
        models: models.map(Tag::from).collect(),
    })
}
