//! Models by their names: the list of them, and the one a request asks for.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use futures_util::FutureExt;
use serde::Serialize;
use tokio::time::timeout;

use super::Api;
use super::error::ApiError;
use super::framing::Framing;
use super::waiting::{self, Silence};
use super::wire::given::shown;
use crate::roster::{Lease, Names, NoModel, Served};
use crate::shelf::{Entry, Offered, Shelf, tagged};

/// When to come back if too many wait for a model to be loaded.
const LOAD_RETRY: Duration = Duration::from_secs(10);
/// How long a stream's headers wait for its model, so that a refusal has its own status.
const FIRST_EVENT_TIME: Duration = Duration::from_secs(1);

#[derive(Serialize)]
pub(crate) struct ModelList {
    object: &'static str,
    data: Vec<Model>,
}

/// One model in OpenAI's shape, with vLLM's `max_model_len`.
#[derive(Clone, Serialize)]
pub(crate) struct Model {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
    /// Of a loaded one.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_model_len: Option<usize>,
}

impl Model {
    fn new(id: String, created: u64, max_model_len: Option<usize>) -> Model {
        // Not "ollama": Open WebUI would change its behaviour.
        Model {
            id,
            object: "model",
            created,
            owned_by: "tandem",
            max_model_len,
        }
    }

    fn of_loaded(served: &Served) -> Model {
        let card = &served.card;
        Model::new(card.id.clone(), card.created, Some(served.context_tokens()))
    }

    fn of_entry(entry: Entry, names: &Names) -> Model {
        let own = names.own_name();
        let id = if entry.name == tagged(own.to_owned()) {
            own.to_owned()
        } else {
            entry.name
        };
        let modified = entry.modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        Model::new(id, modified.as_secs(), None)
    }
}

/// `GET /v1/models`
pub(crate) async fn list(State(api): State<Arc<Api>>) -> Result<Json<ModelList>, ApiError> {
    let names = api.app.roster.names();
    let offered = api.offered().await?;
    let loaded = api.app.roster.loaded();
    let mut models: Vec<Model> = loaded.iter().map(|served| Model::of_loaded(served)).collect();
    for Offered { entry, alias } in offered {
        let loaded = models
            .iter()
            .find(|model| tagged(model.id.clone()) == entry.name)
            .cloned();
        if alias.is_none() && loaded.is_some() {
            continue;
        }
        let model = loaded.unwrap_or_else(|| Model::of_entry(entry, names));
        let id = alias.unwrap_or_else(|| model.id.clone());
        models.push(Model { id, ..model });
    }
    // Some clients take the first one.
    models.sort_by_key(|model| model.id != names.own_name());
    Ok(Json(ModelList {
        object: "list",
        data: models,
    }))
}

/// `GET /v1/models/{id}`: nothing is loaded for it.
pub(crate) async fn one(
    State(api): State<Arc<Api>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Model>, ApiError> {
    // A path that is not UTF-8 names no model.
    let id = id.map_or_else(|_| "\u{fffd}".to_owned(), |Path(id)| id);
    let roster = &api.app.roster;
    let refuse = |none| refusal(Some(&id), none);
    let wanted = roster.wanted(Some(&id)).await.map_err(refuse)?;
    let mut model = if let Some(served) = roster.served(&wanted) {
        Model::of_loaded(&served)
    } else {
        let entry = api.on_shelf(move |shelf| shelf.entry(&wanted.choice)).await?;
        let entry = entry.map_err(|error| {
            tracing::warn!(%error, "a model cannot be used");
            ApiError::ModelLoad(format!(
                "model {} cannot be read: the server's log says why",
                shown(&id)
            ))
        })?;
        Model::of_entry(entry, roster.names())
    };
    if let Some(alias) = roster.names().alias(&id) {
        model.id.clone_from(&alias.name);
    }
    Ok(Json(model))
}

impl Api {
    /// Runs work that reads or writes model files, of which there is only so much at once.
    ///
    /// # Errors
    /// `Internal` if it panics.
    pub(crate) async fn on_shelf<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shelf) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let shelf = Arc::clone(&self.app.shelf);
        self.file_lane.run(move || Ok(work(&shelf))).await
    }

    /// All models that may be asked for.
    ///
    /// # Errors
    /// As [`Api::on_shelf`].
    pub(crate) async fn offered(&self) -> Result<Vec<Offered>, ApiError> {
        let names = self.app.roster.names().clone();
        self.on_shelf(move |shelf| shelf.list(&names)).await
    }

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
        self.with_model_after(name, framing.map(Silence::from), answer).await
    }

    /// The same with what is told on a stream while its model is being loaded.
    ///
    /// # Errors
    /// As [`Api::with_model`].
    pub(crate) async fn with_model_after<Answer>(
        self: Arc<Api>,
        name: Option<String>,
        silence: Option<Silence>,
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
        let Some(silence) = silence.filter(|_| !is_loaded) else {
            return leased.await;
        };
        let mut leased = leased.boxed();
        match timeout(FIRST_EVENT_TIME, &mut leased).await {
            Ok(answered) => answered,
            Err(_) => Ok(waiting::until(leased, silence, keep_alive)),
        }
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
