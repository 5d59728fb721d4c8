//! `POST /api/embed` and the older `POST /api/embeddings`.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::options::keep_alive;
use super::reply::nanos;
use super::{AnyJson, OllamaError};
use crate::api::Api;
use crate::api::check::{self, PromptSource};
use crate::api::embed::{Embedded, Overlong, normalise};
use crate::api::error::ApiError;
use crate::api::wire::json::json_response;
use crate::api::wire::prompt::Prompt;
use crate::api::wire::{Field, Given};
use crate::http::RequestId;
use crate::roster::Lease;

/// The body of `/api/embed`. What `options` says does not change an embedding.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct EmbedRequest {
    model: Given,
    input: Field<Prompt>,
    truncate: Given,
    dimensions: Given,
    keep_alive: Given,
}

/// The answer of `/api/embed`; durations in nanoseconds.
#[derive(Serialize)]
struct EmbedReply {
    model: String,
    embeddings: Vec<Vec<f32>>,
    total_duration: u64,
    load_duration: u64,
    prompt_eval_count: usize,
}

/// The body of `/api/embeddings`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LegacyRequest {
    model: Given,
    prompt: Given,
    keep_alive: Given,
}

/// The answer of `/api/embeddings`.
#[derive(Serialize)]
struct LegacyReply {
    embedding: Vec<f32>,
}

/// `POST /api/embed`: vectors of length 1. No input at all loads the model.
pub(super) async fn embed(
    State(api): State<Arc<Api>>,
    Extension(request_id): Extension<RequestId>,
    AnyJson(request): AnyJson<EmbedRequest>,
) -> Result<Response, OllamaError> {
    let asked = Instant::now();
    let name = check::model(&request.model)?;
    let keep = keep_alive(&request.keep_alive)?;
    let overlong = if check::flag_or("truncate", &request.truncate, true)? {
        Overlong::Cut
    } else {
        Overlong::Refuse
    };
    let dimensions = check::count("dimensions", &request.dimensions, 0..=usize::MAX >> 1)?.filter(|count| *count > 0);
    let said = name.clone();
    let answer = async move |api: Arc<Api>, model: Lease| {
        let load_duration = nanos(asked.elapsed());
        model.keep(keep);
        let inputs = inputs(&api, &model, request.input)?;
        let Embedded {
            vectors: mut embeddings,
            prompt_tokens,
        } = api.embed(&model, inputs, overlong, &request_id).await?;
        let model = said.unwrap_or_else(|| model.card.id.clone());
        let write = move || {
            embeddings.iter_mut().for_each(|vector| normalise(vector, dimensions));
            json_response(&EmbedReply {
                model,
                embeddings,
                total_duration: nanos(asked.elapsed()),
                load_duration,
                prompt_eval_count: prompt_tokens,
            })
        };
        api.text_lane.run(write).await
    };
    Ok(api.with_model(name, None, answer).await?)
}

/// `POST /api/embeddings`: one vector, as the model gives it. An empty prompt loads the model and has none.
pub(super) async fn embeddings(
    State(api): State<Arc<Api>>,
    Extension(request_id): Extension<RequestId>,
    AnyJson(request): AnyJson<LegacyRequest>,
) -> Result<Response, OllamaError> {
    let name = check::model(&request.model)?;
    let keep = keep_alive(&request.keep_alive)?;
    let prompt = check::text("prompt", &request.prompt)?.unwrap_or_default().to_owned();
    let answer = async move |api: Arc<Api>, model: Lease| {
        model.keep(keep);
        let inputs = if prompt.is_empty() {
            Vec::new()
        } else {
            vec![PromptSource::Text(prompt)]
        };
        let embedded = api.embed(&model, inputs, Overlong::Cut, &request_id).await?;
        json_response(&LegacyReply {
            embedding: embedded.vectors.into_iter().next().unwrap_or_default(),
        })
    };
    Ok(api.with_model(name, None, answer).await?)
}

/// The inputs of `/api/embed`, of which there may be none.
fn inputs(api: &Api, model: &Lease, given: Field<Prompt>) -> Result<Vec<PromptSource>, ApiError> {
    match given {
        Field::Other(given) if given.is_absent() => Ok(Vec::new()),
        Field::Value(Prompt::Texts(_, 0)) => Ok(Vec::new()),
        Field::Value(Prompt::Text(text)) if text.is_empty() => Ok(Vec::new()),
        given => check::sources("input", given, api.app.limits.embedding_inputs_max, model.vocabulary()),
    }
}
