//! `POST /v1/responses`: OpenAI's newer address for the same conversations. Nothing is kept between requests, so what
//! refers to an earlier response is refused.
//!
//! [`request`] reads the body, [`check`] and [`items`] make the same options and messages of it as for chat completions, and
//! [`narrator`] puts the reply into the items and events of [`wire`].

mod check;
mod items;
mod narrator;
mod request;
mod wire;

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;

use super::Api;
use super::body::JsonBody;
use super::check::flag_or;
use super::check::options::model;
use super::error::ApiError;
use super::framing::Framing;
use crate::http::RequestId;
use crate::roster::Lease;
use check::{ResponsesRequest, responses_request};
use narrator::Reply;
use request::ResponsesBody;

/// Answers a conversation, whole or as a stream.
pub(crate) async fn create(
    State(api): State<Arc<Api>>,
    Extension(request_id): Extension<RequestId>,
    JsonBody(body): JsonBody<ResponsesBody>,
) -> Result<Response, ApiError> {
    let name = model(&body.model)?;
    let streams = flag_or("stream", &body.stream, false)?;
    let framing = streams.then_some(Framing::NamedEvents);
    let answer = async move |api: Arc<Api>, model: Lease| {
        let ResponsesRequest {
            messages,
            thinking,
            asked,
            options,
        } = responses_request(body, &api.rules(&model))?;
        let prompt = api
            .prompt(&model, messages, options.tools.offered.clone(), thinking)
            .await;
        let (prompt, start) = prompt.map_err(|error| error.renamed("messages", "input"))?;
        let submitted = api.submit(&model, vec![prompt], start, &options, request_id).await?;
        let reply = Reply::new(&model, asked, &options);
        api.deliver(submitted, reply, options.delivery).await
    };
    api.with_model(name, framing, answer).await
}
