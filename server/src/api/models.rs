//! The one model: its card, its names, its fingerprint.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use serde::Serialize;

use super::Api;
use super::error::ApiError;
use super::wire::given::shown;
use crate::app::ModelCard;

/// Names listed in a refusal.
const NAMES_SHOWN: usize = 8;

#[derive(Serialize)]
pub(crate) struct ModelList {
    object: &'static str,
    data: [Model; 1],
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
    fn of(api: &Api) -> Model {
        let card = &api.app.model;
        // Not "ollama": Open WebUI would change its behaviour.
        Model {
            id: card.id.clone(),
            object: "model",
            created: card.created,
            owned_by: "tandem",
            max_model_len: api.context_tokens(),
        }
    }
}

/// `GET /v1/models`
pub(crate) async fn list(State(api): State<Arc<Api>>) -> Json<ModelList> {
    Json(ModelList {
        object: "list",
        data: [Model::of(&api)],
    })
}

/// `GET /v1/models/{id}`
pub(crate) async fn one(
    State(api): State<Arc<Api>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Model>, ApiError> {
    // A path that is not UTF-8 names no model.
    let id = id.map_or_else(|_| "\u{fffd}".to_owned(), |Path(id)| id);
    api.check_model(Some(&id))?;
    Ok(Json(Model::of(&api)))
}

impl Api {
    /// Most tokens of prompt and reply together.
    pub(crate) fn context_tokens(&self) -> usize {
        self.app
            .model
            .context_tokens
            .min(self.app.engines.shape().sequence_tokens_max())
    }

    /// Whether `name` is the model's: no name at all is, too.
    ///
    /// # Errors
    /// `UnknownModel` with the names there are.
    pub(crate) fn check_model(&self, name: Option<&str>) -> Result<(), ApiError> {
        let card = &self.app.model;
        match name {
            None | Some("default") => Ok(()),
            Some(name) if card.answers_to(name) => Ok(()),
            Some(name) => {
                let others = card
                    .aliases
                    .iter()
                    .map(String::as_str)
                    .filter(|alias| *alias != "default");
                let names = [card.id.as_str(), "default"].into_iter().chain(others);
                let names: Vec<_> = names.take(NAMES_SHOWN).map(shown).collect();
                Err(ApiError::UnknownModel {
                    asked: shown(name),
                    names: names.join(" or "),
                })
            }
        }
    }
}

/// Changes when the model or the program does, and so when the same seed may give another answer.
pub(crate) fn fingerprint(card: &ModelCard) -> String {
    let mut hasher = DefaultHasher::new();
    (&card.id, &card.file, &card.architecture, env!("CARGO_PKG_VERSION")).hash(&mut hasher);
    format!("fp_{:012x}", hasher.finish() >> 16)
}
