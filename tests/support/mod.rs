//! What every topic needs: a running server, a connection to it, and the requests that come up again and again.

mod http;
mod server;
mod talk;

pub(crate) use http::{Connection, Events, Reply};
pub(crate) use server::{Server, command};
pub(crate) use talk::*;
