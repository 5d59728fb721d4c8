//! Why the program ends otherwise than in order, one line and one exit code each.

use std::net::SocketAddr;

use crate::bench::BenchError;
use crate::client::ClientError;
use crate::config::ConfigError;

/// A cause to stop. `--help` lists the codes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Something that should not happen.
    #[error("{0:#}")]
    Fault(#[from] anyhow::Error),
    /// A setting.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// A measurement that cannot be made as asked.
    #[error("{0}")]
    Bench(#[from] BenchError),
    /// A command that cannot be done as it was said.
    #[error("{0}")]
    Usage(String),
    /// What a server says to a command, or that there is none.
    #[error("{0}")]
    Client(#[from] ClientError),
    /// The address to listen on.
    #[error("cannot listen on {listen}: {}", in_words(cause))]
    Address { listen: SocketAddr, cause: std::io::Error },
    /// The model file, its tokenizer, its template or its weights.
    #[error("{0}")]
    Model(String),
    /// A model's name, or what a store has of it.
    #[error("{0}")]
    Store(#[from] library::store::StoreError),
    /// No engine came up.
    #[error("{0}")]
    Engines(#[from] engine::EngineError),
    /// Every engine has failed while serving.
    #[error("no engine is left: {0}")]
    NoEngineLeft(String),
}

impl Failure {
    /// The process's exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Failure::Fault(_) => 1,
            Failure::Config(_) | Failure::Bench(_) | Failure::Usage(_) => 2,
            Failure::Client(error) => error.code(),
            Failure::Address { .. } => 3,
            Failure::Model(_) | Failure::Store(_) => 4,
            Failure::Engines(_) | Failure::NoEngineLeft(_) => 5,
        }
    }
}

/// The three causes that happen to people, with what to do; the system's own words for the rest.
fn in_words(cause: &std::io::Error) -> String {
    use std::io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
    match cause.kind() {
        AddrInUse => "another program listens there, stop it or choose another port with --listen".to_owned(),
        AddrNotAvailable => "this machine has no such address, choose another with --listen".to_owned(),
        PermissionDenied => "ports below 1024 need privileges, choose another with --listen".to_owned(),
        _ => cause.to_string(),
    }
}
