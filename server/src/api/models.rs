//! Models by their names: the list of them, and the one a request asks for.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Serialize;

use super::Api;
use super::error::ApiError;
use super::framing::Framing;
use super::waiting;
use super::wire::given::shown;
use crate::roster::{Lease, NoModel, Served};

/// When to come back if too many wait for a model to be loaded.
const LOAD_RETRY: Duration = Duration::from_secs(10);

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
    /// Answers with the model called `name`, no name at all meaning the configured one, after loading it if need be.
    ///
    /// * `framing`  the form of the stream that is asked for; none for an answer that comes whole
    ///
    /// # Errors
    /// `UnknownModel` with the names there are, or what became of the load; else the answer's own.
    pub(crate) async fn with_model<Answer>(
        self: Arc<Api>,
        name: Option<String>,
        framing: Option<Framing>,
        answer: impl FnOnce(Arc<Api>, Lease) -> Answer + Send + 'static,
    ) -> Result<Response, ApiError>
    where
        Answer: Future<Output = Result<Response, ApiError>> + Send + 'static,
    {
        let refuse = {
            let name = name.clone();
            move |none| refusal(name.as_deref(), none)
        };
        let wanted = self.app.roster.wanted(name.as_deref()).await.map_err(&refuse)?;
        let is_loaded = self.app.roster.is_loaded(&wanted);
        let keep_alive = self.app.limits.keep_alive;
        let drain = self.app.drain.clone();
        let leased = async move {
            tokio::select! {
                biased;
                () = drain.deadline() => Err(ApiError::ShuttingDown),
                lease = self.app.roster.lease(wanted) => {
                    let lease = lease.map_err(refuse)?;
                    answer(self, lease).await
                }
            }
        };
        match framing {
            Some(framing) if !is_loaded => Ok(waiting::until(leased, framing, keep_alive)),
            _ => leased.await,
        }
    }

    /// Holds the model called `name`.
    ///
    /// # Errors
    /// As [`Api::with_model`].
    pub(crate) async fn lease(&self, name: Option<&str>) -> Result<Lease, ApiError> {
        let refuse = |none| refusal(name, none);
        let wanted = self.app.roster.wanted(name).await.map_err(refuse)?;
        self.app.roster.lease(wanted).await.map_err(refuse)
    }

    /// Lets go of the model called `name` when nobody uses it any more.
    ///
    /// # Errors
    /// `UnknownModel` with the names there are.
    pub(crate) async fn unload(&self, name: Option<&str>) -> Result<(), ApiError> {
        let unloaded = self.app.roster.unload(name).await;
        unloaded.map(drop).map_err(|none| refusal(name, none))
    }
}

/// What a client is told who asked for a model that there is not.
fn refusal(name: Option<&str>, none: NoModel) -> ApiError {
    match none {
        NoModel::Unknown { names } => ApiError::UnknownModel {
            asked: shown(name.unwrap_or_default()),
            names: names.iter().map(|name| shown(name)).collect::<Vec<_>>().join(" or "),
        },
        NoModel::Busy { waiting } => ApiError::QueueFull {
            waiting,
            queue_jobs_max: waiting,
            retry_after: LOAD_RETRY,
        },
        NoModel::Failed(error) => ApiError::ModelLoad(error.to_string()),
    }
}
