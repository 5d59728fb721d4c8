//! What all routes about model files need: the name in a request, which model it means, work on the disk away from the
//! threads that serve sockets, and a store's refusals in words for clients, which name no path.

use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use library::hub::HubError;
use library::store::{ModelName, StoreError};
use serde::Serialize;

use super::OllamaError;
use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::wire::{Given, json};
use crate::config::ModelChoice;
use crate::roster::Meaning;
use crate::shelf::{Shelf, ShelfError};

/// Characters of a name that an answer repeats.
const NAME_CHARS_SHOWN: usize = 200;

impl Api {
    /// Runs work that reads or writes model files, of which there is only so much at once.
    ///
    /// # Errors
    /// The work's own; `Internal` if it panics.
    pub(super) async fn with_shelf<T: Send + 'static>(
        self: &Arc<Api>,
        work: impl FnOnce(&Shelf) -> Result<T, OllamaError> + Send + 'static,
    ) -> Result<T, OllamaError> {
        let shelf = Arc::clone(&self.app.shelf);
        let done = self.file_lane.run(move || Ok::<_, ApiError>(work(&shelf))).await;
        done.map_err(OllamaError::from)?
    }

    /// Which model is called `name`.
    ///
    /// # Errors
    /// None is.
    pub(super) async fn target(self: &Arc<Api>, name: &str) -> Result<ModelChoice, OllamaError> {
        let names = self.app.roster.names();
        let Meaning::Stored { name: meant, .. } = names.meaning(Some(name)) else {
            return Ok(self.app.shelf.configured());
        };
        let stands_in = names.stands_in(&meant);
        let found = self
            .with_shelf(move |shelf| {
                let configured = || stands_in.then(|| shelf.configured());
                Ok(shelf.find(&meant).or_else(configured))
            })
            .await?;
        found.ok_or_else(|| not_found(name))
    }

    /// Whether clients may change which models there are.
    ///
    /// # Errors
    /// They may not.
    pub(super) fn require_changeable(&self) -> Result<(), OllamaError> {
        if self.app.shelf.rules.is_changeable {
            return Ok(());
        }
        Err(OllamaError::Own {
            status: StatusCode::FORBIDDEN,
            message: "clients may not change the models of this server: whoever runs it can set `manage_models = true`"
                .to_owned(),
        })
    }
}

/// An object as a whole answer.
pub(super) fn reply(object: &impl Serialize) -> Result<Response, OllamaError> {
    Ok(replied(json::to_line(object)?))
}

/// The same, written already.
pub(super) fn replied(line: Vec<u8>) -> Response {
    let content_type = HeaderValue::from_static("application/json; charset=utf-8");
    ([(header::CONTENT_TYPE, content_type)], line).into_response()
}

/// The name that a request gives in `model`, or in `name` as clients did before.
///
/// # Errors
/// It gives none.
pub(super) fn name_of(model: &Given, name: &Given) -> Result<String, OllamaError> {
    let given = if model.is_neutral() { name } else { model };
    match given {
        Given::Text(text) if !text.is_empty() => Ok(text.clone()),
        given if given.is_neutral() => Err(OllamaError::bad_request("model is required: give its name")),
        given => Err(OllamaError::bad_request(format!(
            "model is {given}: give its name as a text"
        ))),
    }
}

/// A field that is true or false.
///
/// # Errors
/// It is something else.
pub(super) fn flag(field: &str, given: &Given, default: bool) -> Result<bool, OllamaError> {
    match given {
        Given::Absent | Given::Null => Ok(default),
        Given::Flag(flag) => Ok(*flag),
        given => Err(OllamaError::bad_request(format!(
            "{field} is {given}: give true or false"
        ))),
    }
}

/// A field that is a text; empty counts as one.
///
/// # Errors
/// It is something else.
pub(super) fn text(field: &str, given: Given) -> Result<Option<String>, OllamaError> {
    match given {
        Given::Absent | Given::Null => Ok(None),
        Given::Text(text) => Ok(Some(text)),
        given => Err(OllamaError::bad_request(format!("{field} is {given}: give a text"))),
    }
}

/// A name that a store can have.
///
/// # Errors
/// It is none.
pub(super) fn store_name(text: &str) -> Result<ModelName, OllamaError> {
    text.parse()
        .map_err(|error: StoreError| refused(&ShelfError::Store(error), text))
}

/// By these words clients know that they may pull it.
pub(super) fn not_found(name: &str) -> OllamaError {
    OllamaError::Own {
        status: StatusCode::NOT_FOUND,
        message: format!("model '{}' not found", cut(name)),
    }
}

fn cut(name: &str) -> String {
    name.chars().take(NAME_CHARS_SHOWN).collect()
}

/// What a client is told of a model that cannot be had; the log is told where.
pub(super) fn refused(error: &ShelfError, name: &str) -> OllamaError {
    let own = |status: StatusCode, message: String| OllamaError::Own { status, message };
    let name = cut(name);
    match error {
        ShelfError::Store(StoreError::Name { .. }) | ShelfError::Hub(HubError::Name { .. }) => {
            own(StatusCode::BAD_REQUEST, error.to_string())
        }
        ShelfError::Store(StoreError::NoSuchModel { .. }) | ShelfError::Hub(HubError::NotCached { .. }) => {
            not_found(&name)
        }
        ShelfError::Hub(HubError::NoSuchFile { .. } | HubError::Several { .. }) => {
            own(StatusCode::NOT_FOUND, error.to_string())
        }
        ShelfError::Store(error) => of_store(error, &name),
        ShelfError::Hub(_) => {
            tracing::warn!(%error, "a model of the hub's cache cannot be used");
            let message = format!("{name} cannot be read from the hub's cache: the server's log says more");
            own(StatusCode::INTERNAL_SERVER_ERROR, message)
        }
        ShelfError::File(error) => {
            tracing::warn!(%error, "a model file cannot be used");
            let message = format!("the file of {name} {}: pull the model again", error.problem);
            own(StatusCode::INTERNAL_SERVER_ERROR, message)
        }
    }
}

fn of_store(error: &StoreError, name: &str) -> OllamaError {
    let (status, message) = match error {
        // These name no path.
        StoreError::Busy { .. } => (StatusCode::CONFLICT, error.to_string()),
        StoreError::TooMuch { .. } => (StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
        StoreError::Incomplete { .. }
        | StoreError::OtherContent { .. }
        | StoreError::NoSuchBlob { .. }
        | StoreError::Unusable { .. }
        | StoreError::Adapter { .. }
        | StoreError::ModelCount { .. } => (StatusCode::BAD_REQUEST, error.to_string()),
        StoreError::Source { .. } => (
            StatusCode::BAD_REQUEST,
            "the content breaks off: send it again".to_owned(),
        ),
        StoreError::ReadOnly { .. } => (
            StatusCode::FORBIDDEN,
            format!("{name} is in Ollama's store, which is only read: remove it with `ollama rm`"),
        ),
        StoreError::MissingBlob { layer, .. } => (
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("{name} lacks its {layer}: pull the model again"),
        ),
        StoreError::WrongSize {
            layer, found, expected, ..
        } => (
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the {layer} of {name} has {found} bytes, its manifest says {expected}: pull the model again"),
        ),
        StoreError::WrongDigest { layer, .. } => (
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the {layer} of {name} has other content than its digest says: pull the model again"),
        ),
        StoreError::Unwritable { cause, .. } if cause.kind() == std::io::ErrorKind::StorageFull => (
            StatusCode::INSUFFICIENT_STORAGE,
            "the disk is full: free some of it and try again".to_owned(),
        ),
        _ => (
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the model store cannot be used for {name}: the server's log says more"),
        ),
    };
    if status.is_server_error() {
        tracing::warn!(%error, "a model cannot be used");
    }
    OllamaError::Own { status, message }
}

impl From<ShelfError> for OllamaError {
    fn from(error: ShelfError) -> OllamaError {
        refused(&error, "the model")
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use library::Quoted;
    use library::store::LayerKind;

    use super::*;

    #[test]
    fn no_refusal_tells_a_path() {
        let path = || PathBuf::from("/secret/place");
        let cause = || std::io::Error::other("/secret/place: no");
        let name = || "a:b".to_owned();
        for error in [
            StoreError::NoSuchModel {
                name: name(),
                near: Vec::new(),
                stores: vec![path()],
            },
            StoreError::Unreadable {
                path: path(),
                cause: cause(),
            },
            StoreError::Unwritable {
                path: path(),
                cause: cause(),
            },
            StoreError::NotAFile {
                path: path(),
                kind: "a pipe",
            },
            StoreError::Malformed {
                path: path(),
                what: "a manifest",
                cause: "/secret".to_owned(),
            },
            StoreError::MissingBlob {
                name: name(),
                layer: LayerKind::Model,
                path: path(),
            },
            StoreError::ReadOnly {
                name: name(),
                store: path(),
            },
            StoreError::Source { cause: cause() },
            StoreError::Name {
                found: Quoted::new("../x"),
            },
        ] {
            let told = String::from_utf8(refused(&ShelfError::Store(error), "a:b").to_json()).unwrap();
            assert!(!told.contains("secret"), "{told}");
        }
    }

    #[test]
    fn a_name_is_asked_for_by_either_field() {
        let text = |text: &str| Given::Text(text.to_owned());
        assert_eq!(name_of(&text("a"), &text("b")), Ok("a".to_owned()));
        assert_eq!(name_of(&Given::Absent, &text("b")), Ok("b".to_owned()));
        assert_eq!(name_of(&text(""), &text("b")), Ok("b".to_owned()));
        for (model, name) in [
            (Given::Absent, Given::Null),
            (Given::Whole(1), text("b")),
            (text(""), text("")),
        ] {
            assert!(name_of(&model, &name).is_err());
        }
    }
}
