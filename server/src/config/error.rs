//! What can be wrong with a configuration, each in one line: what was found and where, what is allowed, what to change.

use std::fmt;
use std::path::PathBuf;

/// Where a value comes from, and so where to change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// `--slots`
    Flag(String),
    /// `TANDEM_SLOTS`
    Variable(String),
    /// The key in this file.
    File(PathBuf),
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Flag(flag) => write!(f, "{flag}"),
            Source::Variable(name) => write!(f, "{name}"),
            Source::File(path) => write!(f, "{}", path.display()),
            Source::Default => write!(f, "the default"),
        }
    }
}

/// Why the program does not start with this configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("{key} is {found:?}, allowed is {allowed}: change it in {from}")]
    Value {
        key: &'static str,
        found: String,
        allowed: String,
        from: Source,
    },
    #[error("model (from {from}): {cause}")]
    Name {
        cause: library::store::StoreError,
        from: Source,
    },
    #[error("{}: no setting is called {found:?}{}", file.display(), meant(near))]
    UnknownKey {
        file: PathBuf,
        found: String,
        near: Vec<&'static str>,
    },
    #[error("{}: {key} is {found}, allowed is a string, a number, true or false, or a list of these", file.display())]
    Kind {
        file: PathBuf,
        key: String,
        found: &'static str,
    },
    #[error("cannot read the configuration file {}: {cause}", file.display())]
    Unreadable { file: PathBuf, cause: std::io::Error },
    #[error("{} is not TOML, line {line}: {cause}", file.display())]
    Syntax { file: PathBuf, line: usize, cause: String },
    #[error(
        "weights has {weights} entries (from {from}), devices has {devices} engines: give one weight for each engine"
    )]
    WeightCount {
        weights: usize,
        devices: usize,
        from: Source,
    },
    #[error(
        "listen is {listen} (from {from}), which others can reach, and there are no keys yet: listen on 127.0.0.1, or \
         give --insecure if everybody who reaches it may use it"
    )]
    Exposed { listen: std::net::SocketAddr, from: Source },
    #[error(
        "kv_tokens is {kv_tokens} (from {from}), less than one conversation of {context} tokens: raise it, or lower `context`"
    )]
    KvTooSmall {
        kv_tokens: usize,
        context: usize,
        from: Source,
    },
    #[error(
        "a KV cache for one conversation of {context} tokens takes {needed} in each of {engines} engines, {available} \
         of memory are available for it: lower `context`, use fewer `devices`, or set `kv_tokens`"
    )]
    NoMemory {
        context: usize,
        engines: usize,
        needed: String,
        available: String,
    },
    #[error("{device} cannot be used: {reason}; `tandem plan` knows cards by name too, such as t4")]
    Card { device: String, reason: String },
    #[error(transparent)]
    Placement(#[from] models::PlacementError),
    #[error("context is {context} (from {from}), the model holds at most {context_max}: lower it")]
    ContextTooLong {
        context: usize,
        context_max: usize,
        from: Source,
    },
}

fn meant(near: &[&str]) -> String {
    match near {
        [] => "; `tandem --help` lists the settings".to_owned(),
        names => format!(", did you mean {}?", names.join(" or ")),
    }
}
