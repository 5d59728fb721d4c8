//! What every topic needs: a running server, a connection to it, and the requests that come up again and again.

mod http;
mod server;
mod split;
mod store;
mod talk;

pub(crate) use http::{Connection, Events, Reply};
pub(crate) use server::{Server, command};
pub(crate) use split::split_gguf;
pub(crate) use store::{Store, TEMPLATE, TINY, hex};
pub(crate) use talk::*;
