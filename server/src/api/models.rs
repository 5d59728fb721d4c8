//! Models by their names: the list of them, and the one a request asks for.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Serialize;

use super::Api;
use super::error::ApiError;
use super::wire::given::shown;
use crate::roster::{Lease, NoModel, Served};

#[derive(Serialize)]
pub(crate) struct ModelList {
    object: &'static str,
    data: Vec<Model>,
}

/// One model in OpenAI's shape, with vLLM's `max_model_len`.
#[derive(Serialize)]
pub(crate) struct Model {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
    max_model_len: usize,
}

impl Model {
    fn of(served: &Served) -> Model {
        let card = &served.card;
        // Not "ollama": Open WebUI would change its behaviour.
        Model {
            id: card.id.clone(),
            object: "model",
            created: card.created,
            owned_by: "tandem",
            max_model_len: served.context_tokens(),
        }
    }
}

/// `GET /v1/models`
pub(crate) async fn list(State(api): State<Arc<Api>>) -> Json<ModelList> {
    Json(ModelList {
        object: "list",
        data: api.app.roster.loaded().iter().map(|served| Model::of(served)).collect(),
    })
}

/// `GET /v1/models/{id}`
pub(crate) async fn one(
    State(api): State<Arc<Api>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Model>, ApiError> {
    // A path that is not UTF-8 names no model.
    let id = id.map_or_else(|_| "\u{fffd}".to_owned(), |Path(id)| id);
    Ok(Json(Model::of(&*api.lease(Some(&id)).await?)))
}

impl Api {
    /// Answers with the model called `name`, no name at all meaning the configured one.
    ///
    /// # Errors
    /// `UnknownModel` with the names there are; else the answer's own.
    pub(crate) async fn with_model<Answer>(
        self: Arc<Api>,
        name: Option<String>,
        answer: impl FnOnce(Arc<Api>, Lease) -> Answer,
    ) -> Result<Response, ApiError>
    where
        Answer: Future<Output = Result<Response, ApiError>> + Send + 'static,
    {
        let model = self.lease(name.as_deref()).await?;
        answer(self, model).await
    }

    /// Holds the model called `name`.
    ///
    /// # Errors
    /// `UnknownModel` with the names there are.
    pub(crate) async fn lease(&self, name: Option<&str>) -> Result<Lease, ApiError> {
        self.app.roster.lease(name).await.map_err(|none| no_model(name, none))
    }

    /// Lets go of the model called `name` when nobody uses it any more.
    ///
    /// # Errors
    /// `UnknownModel` with the names there are.
    pub(crate) async fn unload(&self, name: Option<&str>) -> Result<(), ApiError> {
        self.app.roster.unload(name).await.map_err(|none| no_model(name, none))
    }
}

fn no_model(name: Option<&str>, none: NoModel) -> ApiError {
    match none {
        NoModel::Unknown { names } => ApiError::UnknownModel {
            asked: shown(name.unwrap_or_default()),
            names: names.iter().map(|name| shown(name)).collect::<Vec<_>>().join(" or "),
        },
    }
}
