//! The routes from outside: bytes in, bytes out, with a real engine under them and a model that recites.

mod chat;
mod completions;
pub(crate) mod kit;
mod limits;
mod ollama;
mod responses;
mod routes;
mod streams;
