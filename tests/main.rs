//! The whole program over real sockets: every test starts the binary and asks it what a client would ask.
//!
//! Nothing here knows the inside of the server, and nothing needs a network, a GPU or a model file. Modules are topics;
//! a test's name is what it claims. The official OpenAI clients are tested apart, by `tests/clients/run`.

// A test that cannot go on says so by a panic; that is what `unwrap` and `expect` are for here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, clippy::print_stdout)]

mod support;

mod main_job;
mod placements;
mod round_robin;
mod same_answer;

mod browsers;
mod chat_api;
mod completions_api;
mod embeddings_api;
mod models_api;
mod ollama_models;
mod responses_api;

mod hostile_bodies;
mod hostile_numbers;
mod hostile_sockets;
mod limits;
mod overload;

mod bench;
mod commands;
mod doctor;
mod metrics;
mod plan;
mod process;
mod roster;
mod shutdown;
mod store;

mod arithmetic;
mod tidy;
