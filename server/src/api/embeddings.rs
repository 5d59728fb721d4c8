//! `POST /v1/embeddings`: texts or token ids in, vectors of length 1 out.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;

use super::Api;
use super::body::JsonBody;
use super::check::{self, EmbeddingInputs};
use super::embed::{Embedded, Overlong, normalise};
use super::error::ApiError;
use super::wire::embedding::{Embedding, EmbeddingList, EmbeddingRequest, InputUsage};
use super::wire::json::json_response;
use crate::http::RequestId;
use crate::roster::Lease;

/// Embeds one or several inputs.
pub(crate) async fn create(
    State(api): State<Arc<Api>>,
    Extension(request_id): Extension<RequestId>,
    JsonBody(request): JsonBody<EmbeddingRequest>,
) -> Result<Response, ApiError> {
    let name = check::model(&request.model)?;
    let said = name.clone();
    let answer = async move |api: Arc<Api>, model: Lease| {
        let width = model.engines.shape().hidden;
        let EmbeddingInputs {
            inputs,
            encoding,
            dimensions,
        } = check::embedding_request(request, &api.rules(&model), width)?;
        let Embedded { vectors, prompt_tokens } = api.embed(&model, inputs, Overlong::Refuse, &request_id).await?;
        let model = said.unwrap_or_else(|| model.card.id.clone());
        let write = move || {
            let embedding = |(index, mut vector)| {
                normalise(&mut vector, dimensions);
                Embedding::new(index, vector, encoding)
            };
            json_response(&EmbeddingList {
                object: "list",
                data: vectors.into_iter().enumerate().map(embedding).collect(),
                model,
                usage: InputUsage {
                    prompt_tokens,
                    total_tokens: prompt_tokens,
                },
            })
        };
        // Megabytes of numbers take a while to write.
        api.text_lane.run(write).await
    };
    api.with_model(name, None, answer).await
}
