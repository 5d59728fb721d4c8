//! `POST /tokenize` and `POST /detokenize`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use chat::Thinking;

use super::Api;
use super::body::JsonBody;
use super::chat::conversation_tokens;
use super::check::{self, in_vocabulary};
use super::error::ApiError;
use super::text::refused_text;
use super::wire::json::json_response;
use super::wire::prompt::Prompt;
use super::wire::tokens::{DetokenizeReply, DetokenizeRequest, TokenizeReply, TokenizeRequest};
use super::wire::{Field, Given};
use crate::roster::Lease;

/// What is to be encoded.
enum Source {
    Text { text: String, with_bos: bool },
    Conversation(Vec<chat::Message>),
}

/// `POST /tokenize`: a prompt as `/v1/completions` would see it, or messages as `/v1/chat/completions` would.
pub(crate) async fn tokenize(
    State(api): State<Arc<Api>>,
    JsonBody(request): JsonBody<TokenizeRequest>,
) -> Result<Response, ApiError> {
    let name = check::model(&request.model)?;
    let answer = async move |api: Arc<Api>, model: Lease| {
        let source = source(&api, &model, request)?;
        let max_model_len = model.context_tokens();
        let encode = move || match source {
            Source::Text { text, with_bos: true } => model
                .tokenizer
                .encode_with_bos(&text)
                .map_err(|error| refused_text("prompt", error)),
            Source::Text { text, with_bos: false } => model
                .tokenizer
                .encode(&text)
                .map_err(|error| refused_text("prompt", error)),
            Source::Conversation(messages) => {
                conversation_tokens(&model, &model.opening.before(messages), &[], Thinking::Forced)
            }
        };
        let tokens = api.text_lane.run(encode).await?;
        json_response(&TokenizeReply {
            count: tokens.len(),
            tokens,
            max_model_len,
        })
    };
    api.with_model(name, None, answer).await
}

fn source(api: &Api, model: &Lease, request: TokenizeRequest) -> Result<Source, ApiError> {
    let with_bos = check::flag_or("add_special_tokens", &request.add_special_tokens, true)?;
    match (request.prompt, request.messages) {
        (Given::Text(text), _) => Ok(Source::Text { text, with_bos }),
        (prompt, Field::Other(messages)) if messages.is_absent() => {
            Err(ApiError::field("prompt", format!("prompt is {prompt}: give a text")))
        }
        (prompt, messages) if prompt.is_absent() => {
            check::messages(messages, &api.rules(model)).map(Source::Conversation)
        }
        (prompt, _) => Err(ApiError::field(
            "prompt",
            format!("prompt is {prompt}: give a text, or messages alone"),
        )),
    }
}

/// `POST /detokenize`: the text of token ids, special ones shown by their names.
pub(crate) async fn detokenize(
    State(api): State<Arc<Api>>,
    JsonBody(request): JsonBody<DetokenizeRequest>,
) -> Result<Response, ApiError> {
    let name = check::model(&request.model)?;
    let answer = async move |api: Arc<Api>, model: Lease| {
        let refuse = |param: &str, found: &Given| {
            Err(ApiError::field(
                param,
                format!("{param} is {found}: give a list of token ids"),
            ))
        };
        let ids = match request.tokens {
            Field::Value(Prompt::Ids(ids)) => ids,
            Field::Value(Prompt::Texts(texts, _)) if texts.is_empty() => Vec::new(),
            Field::Value(Prompt::Refused { item, found }) => {
                return refuse(&format!("tokens[{item}]"), &found);
            }
            Field::Value(_) => return refuse("tokens", &Given::Text("texts or lists".to_owned())),
            Field::Other(given) => return refuse("tokens", &given),
        };
        in_vocabulary("tokens", &ids, model.tokenizer.vocabulary_size())?;
        let decode = move || {
            model
                .tokenizer
                .decode(&ids)
                .map_err(|error| refused_text("tokens", error))
        };
        json_response(&DetokenizeReply {
            prompt: api.text_lane.run(decode).await?,
        })
    };
    api.with_model(name, None, answer).await
}
