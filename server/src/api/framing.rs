//! How the objects of a stream are put on the wire, and what is told there beside them.

use axum::body::Bytes;
use axum::http::HeaderValue;

use super::error::ApiError;
use super::ollama::OllamaError;

const COMMENT: Bytes = Bytes::from_static(b": keep-alive\n\n");
const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

/// The form of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Server-sent events that end in `[DONE]`: OpenAI's.
    Events,
    /// Server-sent events with names, the last of which is the end: those of OpenAI's responses.
    NamedEvents,
    /// One line of JSON after another, no empty ones among them: Ollama's.
    Lines,
}

impl Framing {
    /// One object, already on one line, as a chunk of its own: clients take chunks for objects.
    pub(crate) fn frame(self, line: &[u8]) -> Bytes {
        match self {
            Framing::Events | Framing::NamedEvents => [b"data: ", line, b"\n\n"].concat().into(),
            Framing::Lines => [line, b"\n"].concat().into(),
        }
    }

    /// What is sent so that nobody takes the silence for an end, where the form has a word for it.
    pub(crate) fn comment(self) -> Option<Bytes> {
        (self != Framing::Lines).then_some(COMMENT)
    }

    /// What follows the last object.
    pub(crate) fn end(self) -> Option<Bytes> {
        (self == Framing::Events).then_some(DONE)
    }

    /// What is told when something breaks after the headers are gone.
    pub(crate) fn error(self, error: ApiError) -> Bytes {
        match self {
            Framing::Events | Framing::NamedEvents => self.frame(&error.to_json()),
            Framing::Lines => self.frame(&OllamaError::from(error).to_json()),
        }
    }

    /// The stream's content type.
    pub(crate) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Framing::Events | Framing::NamedEvents => "text/event-stream; charset=utf-8",
            Framing::Lines => "application/x-ndjson",
        })
    }
}
