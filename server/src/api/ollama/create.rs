//! `POST /api/create`: a model made of another, or of an uploaded file, with other parameters and texts.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use library::store::{Digest, Message, ModelName, Origin, Recipe};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::copy::not_in_a_store;
use super::files::{flag, name_of, refused, reply, text};
use super::pull::{Status, lines};
use super::{AnyJson, OllamaError};
use crate::api::Api;
use crate::api::wire::Given;
use crate::config::ModelChoice;
use crate::shelf::ShelfError;

/// Parameters of one model at most.
const PARAMETERS_MAX: usize = 100;
/// Values of one parameter at most.
const VALUES_MAX: usize = 100;
/// Messages and licences at most.
const TEXTS_MAX: usize = 1000;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct CreateRequest {
    model: Given,
    name: Given,
    from: Given,
    files: Value,
    adapters: Given,
    quantize: Given,
    template: Given,
    system: Given,
    license: Value,
    parameters: Value,
    messages: Value,
    stream: Given,
}

/// `POST /api/create`
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    AnyJson(request): AnyJson<CreateRequest>,
) -> Result<Response, OllamaError> {
    api.require_changeable(&headers)?;
    let asked = name_of(&request.model, &request.name)?;
    let name = api.own_name(&asked)?;
    let is_streamed = flag("stream", &request.stream, true)?;
    let origin = match text("from", request.from.clone())?.filter(|from| !from.is_empty()) {
        Some(from) => Origin::Model(stored(&api, &from).await?),
        None => Origin::Blob(uploaded(&request.files)?),
    };
    let recipe = recipe(request, origin)?;
    api.with_shelf(move |shelf| {
        let created = shelf.places.own.create(&shelf.places.stores, &name, &recipe);
        let created = created.map(|id| tracing::info!(%name, id = id.short(), "a client has created a model"));
        created.map_err(|error| refused(&ShelfError::Store(error), &asked))
    })
    .await?;
    if is_streamed {
        lines(&[Status::of("writing manifest"), Status::success()])
    } else {
        reply(&Status::success())
    }
}

/// The store's name of the model called `from`.
async fn stored(api: &Arc<Api>, from: &str) -> Result<ModelName, OllamaError> {
    match api.target(from).await? {
        ModelChoice::Stored { name, .. } => Ok(name),
        _ => Err(not_in_a_store(from)),
    }
}

/// The digest of the one file that a model can be made of.
fn uploaded(files: &Value) -> Result<Digest, OllamaError> {
    let files = match files {
        Value::Null => &Map::new(),
        Value::Object(files) => files,
        _ => {
            return Err(OllamaError::bad_request(
                "files is no object: give a file's name and its digest",
            ));
        }
    };
    let mut entries = files.values();
    match (entries.next(), entries.next()) {
        (None, _) => Err(OllamaError::bad_request(
            "neither from nor files is given: say which model or uploaded file it is made of",
        )),
        (Some(_), Some(_)) => Err(OllamaError::bad_request(format!(
            "files has {} entries: give one GGUF file, other kinds are not converted here",
            files.len()
        ))),
        (Some(digest), None) => {
            let digest = digest.as_str().and_then(Digest::parse);
            digest.ok_or_else(|| OllamaError::bad_request("files has no digest: give `sha256:` and 64 digits"))
        }
    }
}

fn recipe(request: CreateRequest, origin: Origin) -> Result<Recipe, OllamaError> {
    for (field, given) in [("adapters", &request.adapters), ("quantize", &request.quantize)] {
        if !given.is_neutral() {
            let message = format!("{field} is {given}: models are used as they are here, leave it out");
            return Err(OllamaError::bad_request(message));
        }
    }
    Ok(Recipe {
        parameters: parameters(request.parameters)?,
        system: text("system", request.system)?,
        template: text("template", request.template)?,
        licenses: licenses(request.license)?,
        messages: messages(request.messages)?,
        ..Recipe::of(origin)
    })
}

fn parameters(given: Value) -> Result<Map<String, Value>, OllamaError> {
    let parameters = match given {
        Value::Null => return Ok(Map::new()),
        Value::Object(parameters) if parameters.len() <= PARAMETERS_MAX => parameters,
        _ => {
            let message = format!("parameters is no object of at most {PARAMETERS_MAX} keys: give names and values");
            return Err(OllamaError::bad_request(message));
        }
    };
    let is_plain = |value: &Value| value.is_string() || value.is_number() || value.is_boolean();
    for (name, value) in &parameters {
        let is_good = match value {
            Value::Array(values) => values.len() <= VALUES_MAX && values.iter().all(is_plain),
            value => is_plain(value),
        };
        if !is_good {
            let name: String = name.chars().take(40).collect();
            let message = format!("parameter {name:?} is no number, text, truth or short list of them: give one");
            return Err(OllamaError::bad_request(message));
        }
    }
    Ok(parameters)
}

/// One text or several.
fn licenses(given: Value) -> Result<Vec<String>, OllamaError> {
    let refuse = || OllamaError::bad_request("license is no text and no list of texts: give one");
    match given {
        Value::Null => Ok(Vec::new()),
        Value::String(license) if license.is_empty() => Ok(Vec::new()),
        Value::String(license) => Ok(vec![license]),
        Value::Array(given) if given.len() <= TEXTS_MAX => {
            let text = |license| match license {
                Value::String(license) => Ok(license),
                _ => Err(refuse()),
            };
            given.into_iter().map(text).collect()
        }
        _ => Err(refuse()),
    }
}

fn messages(given: Value) -> Result<Vec<Message>, OllamaError> {
    let messages: Vec<Message> = match given {
        Value::Null => Vec::new(),
        given => serde_json::from_value(given).map_err(|_error| {
            OllamaError::bad_request("messages is no list of objects with role and content, both texts: give one")
        })?,
    };
    let is_known = |message: &Message| matches!(message.role.as_str(), "system" | "user" | "assistant");
    if messages.len() > TEXTS_MAX || !messages.iter().all(is_known) {
        let message = format!("messages has more than {TEXTS_MAX}, or one whose role is not system, user or assistant");
        return Err(OllamaError::bad_request(message));
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal<T: std::fmt::Debug>(result: Result<T, OllamaError>) -> String {
        String::from_utf8(result.unwrap_err().to_json()).unwrap()
    }

    #[test]
    fn a_model_is_made_of_one_uploaded_file() {
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(uploaded(&json!({"m.gguf": digest})).unwrap().to_string(), digest);
        assert!(refusal(uploaded(&Value::Null)).contains("neither from nor files"));
        assert!(refusal(uploaded(&json!({}))).contains("neither from nor files"));
        assert!(refusal(uploaded(&json!({"a": digest, "b": digest}))).contains("2 entries"));
        for wrong in [json!({"a": "sha256:../x"}), json!({"a": 1}), json!([1])] {
            assert!(refusal(uploaded(&wrong)).contains("digest"), "{wrong}");
        }
    }

    #[test]
    fn what_a_model_cannot_be_given_is_refused() {
        for good in [
            json!({}),
            json!({"num_ctx": 4096, "stop": ["a"], "x": true}),
            Value::Null,
        ] {
            assert!(parameters(good).is_ok());
        }
        for bad in [
            json!([]),
            json!({"a": null}),
            json!({"a": {"b": 1}}),
            json!({"a": [[1]]}),
            json!(7),
        ] {
            assert!(refusal(parameters(bad)).contains("parameter"));
        }
        assert_eq!(licenses(json!("MIT")).unwrap(), ["MIT"]);
        assert_eq!(licenses(json!(["a", "b"])).unwrap(), ["a", "b"]);
        assert!(licenses(json!([1])).is_err() && licenses(json!(1)).is_err());
        assert_eq!(messages(json!([{"role": "user", "content": "hi"}])).unwrap().len(), 1);
        for bad in [
            json!([{"role": "tool", "content": ""}]),
            json!([{"role": "user"}]),
            json!("hi"),
        ] {
            assert!(refusal(messages(bad)).contains("messages"));
        }
    }
}
