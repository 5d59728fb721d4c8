//! What every topic needs: a running server, a connection to it, and the requests that come up again and again.

mod http;
pub(crate) mod ollama;
mod server;
mod split;
mod store;
mod talk;
mod tool_model;

pub(crate) use http::{Connection, Events, Lines, Reply};
pub(crate) use server::{Server, command};
pub(crate) use split::split_gguf;
pub(crate) use store::{Store, TEMPLATE, TINY, hex};
pub(crate) use talk::*;
pub(crate) use tool_model::ToolModel;
