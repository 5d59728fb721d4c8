//! The JSON that crosses the wire, as types.
//!
//! Requests are read into types that take any well-formed JSON: a field of the wrong type becomes a [`Given`] that the
//! checks can name, unknown fields are skipped unread, and every list is held to a ceiling while it is counted on, so
//! that a body costs memory in proportion to its bytes. Replies are plain structs that serialise to OpenAI's shapes.

pub(crate) mod request;
pub(crate) mod tokens;

pub(crate) mod content;
pub(crate) mod field;
pub(crate) mod given;
pub(crate) mod list;
pub(crate) mod prompt;
pub(crate) mod tree;

pub(crate) mod chat;
pub(crate) mod completion;
pub(crate) mod embedding;
pub(crate) mod json;
pub(crate) mod reply;

pub(crate) use field::{Field, Object};
pub(crate) use given::Given;
pub(crate) use list::{Entries, List};
