//! `POST /api/chat` and `POST /api/generate`.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::response::Response;
use library::store::ModelName;

use super::options::{keep_alive, options};
use super::reply::{Call, Reply, sign_of_life, without_text};
use super::request::Request;
use super::thought::thought;
use super::{AnyJson, Endpoint, OllamaError, prompt};
use crate::api::Api;
use crate::api::check::{self, Tools};
use crate::api::error::ApiError;
use crate::api::framing::Framing;
use crate::api::waiting::Silence;
use crate::api::wire::{Field, Given};
use crate::http::RequestId;
use crate::roster::{KeepAlive, Lease};

/// Answers a conversation.
pub(super) async fn chat(
    State(api): State<Arc<Api>>,
    Extension(request_id): Extension<RequestId>,
    AnyJson(request): AnyJson<Request>,
) -> Result<Response, OllamaError> {
    answer(api, request_id, request, Endpoint::Chat).await
}

/// Answers one prompt.
pub(super) async fn generate(
    State(api): State<Arc<Api>>,
    Extension(request_id): Extension<RequestId>,
    AnyJson(request): AnyJson<Request>,
) -> Result<Response, OllamaError> {
    answer(api, request_id, request, Endpoint::Generate).await
}

/// A request without a prompt only loads its model, or unloads it.
async fn answer(
    api: Arc<Api>,
    request_id: RequestId,
    request: Request,
    endpoint: Endpoint,
) -> Result<Response, OllamaError> {
    let arrived = Instant::now();
    let name = check::model(&request.model)?;
    let keep_alive = keep_alive(&request.keep_alive)?;
    let is_empty = endpoint.is_empty(&request);
    if is_empty && keep_alive.is_some_and(KeepAlive::is_zero) {
        api.unload(name.as_deref()).await?;
        let name = name.unwrap_or_else(|| api.app.roster.names().own_name().to_owned());
        return Ok(without_text(endpoint, &name, "unload")?);
    }
    let streams = check::flag_or("stream", &request.stream, true)? && !is_empty;
    let shown = name.clone();
    let own_name = api.app.roster.names().own_name().to_owned();
    let silence = streams.then(|| Silence {
        framing: Framing::Lines,
        sign: Box::new(move || sign_of_life(endpoint, shown.as_deref().unwrap_or(&own_name))),
    });
    let asked = name.clone();
    let work = async move |api: Arc<Api>, model: Lease| {
        let loaded = Instant::now();
        model.keep(keep_alive);
        if is_empty {
            let name = asked.as_deref().unwrap_or(&model.card.id);
            return without_text(endpoint, name, "load");
        }
        let call = Call {
            endpoint,
            arrived,
            loaded,
        };
        generated(&api, &model, call, request_id, request).await
    };
    Ok(api.with_model_after(name, silence, work).await?)
}

async fn generated(
    api: &Api,
    model: &Lease,
    call: Call,
    request_id: RequestId,
    request: Request,
) -> Result<Response, ApiError> {
    refuse_unsupported(&request, model)?;
    let thought = thought(&request, model, api.app.ollama.think)?;
    let rules = api.rules(model);
    let mut options = options(&request, &rules)?;
    if call.endpoint == Endpoint::Chat {
        (options.tools, _) = Tools::offering(&request.tools, &options.form, &rules)?;
    }
    let prompt = match call.endpoint {
        Endpoint::Chat => prompt::of_chat(api, model, request, thought.thinking, &options).await?,
        Endpoint::Generate => prompt::of_generate(api, model, request, thought.thinking).await?,
    };
    let mut reply = Reply::new(call, model, &options, thought.showing);
    if prompt.is_continuable {
        reply = reply.with_context(prompt.tokens.clone());
    }
    let submitted = api
        .submit(model, vec![prompt.tokens], prompt.start, &options, request_id)
        .await?;
    let mut response = api.deliver(submitted, reply, options.delivery).await?;
    if prompt.dropped > 0 {
        tracing::info!(
            dropped = prompt.dropped,
            "a conversation was too long: its oldest messages were left out"
        );
        let headers = response.headers_mut();
        headers.insert("x-tandem-dropped-messages", HeaderValue::from(prompt.dropped));
    }
    Ok(response)
}

impl Endpoint {
    /// Whether there is nothing to answer.
    fn is_empty(self, request: &Request) -> bool {
        match (self, &request.messages, &request.prompt) {
            (Endpoint::Chat, Field::Value(messages), _) => messages.sent == 0,
            (Endpoint::Chat, Field::Other(given), _) => given.is_absent(),
            (Endpoint::Generate, _, Given::Text(prompt)) => prompt.is_empty(),
            (Endpoint::Generate, _, given) => given.is_absent(),
        }
    }
}

/// Refuses what would change the answer and is not done here.
fn refuse_unsupported(request: &Request, model: &Lease) -> Result<(), ApiError> {
    if model.template.tool_format().is_none() && !request.tools.is_neutral() {
        return Err(cannot("tools", model, "tools"));
    }
    if !request.suffix.is_neutral() {
        return Err(cannot("suffix", model, "insert"));
    }
    Ok(())
}

/// A refusal in Ollama's words, by which clients know it: with the model's full name.
fn cannot(param: &str, model: &Lease, what: &str) -> ApiError {
    let id = &model.card.id;
    let name = id.parse::<ModelName>().map_or_else(|_| id.clone(), |name| name.full());
    ApiError::unsupported(param, format!("{name} does not support {what}"))
}
