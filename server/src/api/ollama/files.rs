//! What all routes about model files need: the name in a request, which model it means, work on the disk away from the
//! threads that serve sockets, and a store's refusals in words for clients, which name no path.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use library::hub::HubError;
use library::store::{ModelName, StoreError};
use serde::Serialize;

use super::OllamaError;
use crate::api::Api;
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
        self.on_shelf(work).await?
    }

    /// Which model is called `name`.
    ///
    /// # Errors
    /// None is.
    pub(super) async fn target(self: &Arc<Api>, name: &str) -> Result<ModelChoice, OllamaError> {
        let (names, asked) = (self.app.roster.names().clone(), name.to_owned());
        let found = self.on_shelf(move |shelf| shelf.meant(&names, &asked)).await?;
        found.map(|(choice, _)| choice).ok_or_else(|| not_found(name))
    }

    /// The store's name that `text` is, for what is written or removed under it: no name that stands for another.
    ///
    /// # Errors
    /// It is no name, or here it means another model.
    pub(super) fn own_name(&self, text: &str) -> Result<ModelName, OllamaError> {
        let own = store_name(text)?;
        let short = own.to_string();
        let means_itself = |spelled: &str| {
            let meaning = self.app.roster.names().meaning(Some(spelled));
            matches!(meaning, Meaning::Stored { name, skips_thought } if name == spelled && !skips_thought)
        };
        let configured = self.app.shelf.configured();
        let is_configured = matches!(configured, ModelChoice::Stored { name, .. } if name.is_same(&own));
        if means_itself(text) && means_itself(&short) && !is_configured {
            return Ok(own);
        }
        Err(OllamaError::Own {
            status: StatusCode::CONFLICT,
            message: format!(
                "{short} stands for another model here, or is the one that the server was started with, which stays as it is"
            ),
        })
    }

    /// Whether the client that sent `headers` may change which models there are.
    ///
    /// # Errors
    /// It may not: nobody may, or it is a page of another site, which whoever reads it need not know of.
    pub(super) fn require_changeable(&self, headers: &HeaderMap) -> Result<(), OllamaError> {
        let rules = &self.app.shelf.rules;
        let message = match () {
            () if !rules.is_changeable => {
                "clients may not change the models of this server: whoever runs it can set `manage_models = true`"
            }
            () if !rules.are_pages_known && is_foreign_page(headers) => {
                "pages of other sites may not change the models of this server: whoever runs it can name them in `origins`"
            }
            () => return Ok(()),
        };
        Err(OllamaError::Own {
            status: StatusCode::FORBIDDEN,
            message: message.to_owned(),
        })
    }
}

/// Whether a browser sends this for a page that is neither of this machine nor of the address that it asks.
fn is_foreign_page(headers: &HeaderMap) -> bool {
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let Some(origin) = text(header::ORIGIN) else {
        return headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    };
    let authority = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    let Some(authority) = authority else {
        return true;
    };
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let is_here = ["localhost", "127.0.0.1", "[::1]"].contains(&host);
    !is_here && text(header::HOST) != Some(authority)
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
    fn pages_of_other_sites_are_told_from_those_of_this_machine() {
        let check = |given: &[(&'static str, &'static str)], expected: bool| {
            let named = given.iter().map(|(name, value)| {
                let name = name.parse::<header::HeaderName>().unwrap();
                (name, HeaderValue::from_static(value))
            });
            assert_eq!(is_foreign_page(&HeaderMap::from_iter(named)), expected, "{given:?}");
        };
        check(&[], false);
        check(&[("sec-fetch-site", "same-origin")], false);
        check(&[("sec-fetch-site", "cross-site")], true);
        for local in [
            "http://localhost:3210",
            "http://localhost",
            "https://127.0.0.1:8443",
            "http://[::1]:3000",
            "http://[::1]",
        ] {
            check(&[("origin", local), ("sec-fetch-site", "cross-site")], false);
        }
        for foreign in [
            "https://evil.example",
            "http://localhost.evil.example",
            "http://localhost:x",
            "http://evil.example:11434",
            "null",
            "file://",
            "chrome-extension://abc",
            "",
        ] {
            check(&[("origin", foreign), ("host", "gpu.example:11434")], true);
        }
        check(
            &[("origin", "https://gpu.example:11434"), ("host", "gpu.example:11434")],
            false,
        );
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
