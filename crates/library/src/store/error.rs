//! What can be wrong with a name or with what a store has of it, each in one line with what to do.

use std::fmt;
use std::path::PathBuf;

use super::manifest::LayerKind;
use crate::Quoted;

/// A model that cannot be had from a store, and why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the message above each field says what it holds")]
pub enum StoreError {
    /// No name at all.
    #[error(
        "`{found}` is no model's name: a name is model:tag, or namespace/model:tag, or host/namespace/model:tag, each of \
         letters, digits and `-`, `_`, `.`; for a file give a path such as ./model.gguf"
    )]
    Name { found: Quoted },
    /// A name that no store knows.
    #[error("no model is called {name}: {}", looked(near, stores))]
    NoSuchModel {
        name: String,
        near: Vec<String>,
        stores: Vec<PathBuf>,
    },
    /// The system refuses.
    #[error("{} cannot be read: {cause}; see that this user may read the model store", path.display())]
    Unreadable { path: PathBuf, cause: std::io::Error },
    /// A directory, device, pipe or socket.
    #[error("{} is {kind} where a regular file belongs: repair the model store, or pull the model again", path.display())]
    NotAFile { path: PathBuf, kind: &'static str },
    /// Larger than such a file ever is.
    #[error("{} is larger than {bytes_max} bytes, too large for what it should be: pull the model again", path.display())]
    TooLarge { path: PathBuf, bytes_max: u64 },
    /// A manifest, or a list of parameters, that is none.
    #[error("{} is not {what} as Ollama writes it: {}; pull the model again", path.display(), Quoted::new(cause))]
    Malformed {
        path: PathBuf,
        what: &'static str,
        cause: String,
    },
    /// A manifest names a file that is not there.
    #[error("{name} lacks its {layer}: {} is missing; pull the model again", path.display())]
    MissingBlob {
        name: String,
        layer: LayerKind,
        path: PathBuf,
    },
    /// A file of another length than the manifest says.
    #[error(
        "{name}: the {layer} {} has {found} bytes, its manifest says {expected}: the copy is incomplete or damaged, pull \
         the model again", path.display()
    )]
    WrongSize {
        name: String,
        layer: LayerKind,
        path: PathBuf,
        found: u64,
        expected: u64,
    },
    /// A file of the right length with other content.
    #[error("{name}: the {layer} {} has other content than its digest says: delete that file and pull the model again", path.display())]
    WrongDigest {
        name: String,
        layer: LayerKind,
        path: PathBuf,
    },
    /// Nothing to run in it, or more than one thing.
    #[error("{name} has {found} GGUF files, one is needed: take a model that is one GGUF file")]
    ModelCount { name: String, found: usize },
    /// A layer without which the model would answer otherwise.
    #[error("{name} has an adapter, which is not supported: take the model without it, or merge it into the GGUF file")]
    Adapter { name: String },
}

fn looked(near: &[String], stores: &[PathBuf]) -> impl fmt::Display {
    let stores: Vec<String> = stores.iter().map(|store| store.display().to_string()).collect();
    let looked = format!("looked in {}", stores.join(", "));
    if near.is_empty() {
        format!("{looked}; `tandem list` shows what is there, a file needs a path such as ./model.gguf")
    } else {
        format!("did you mean {}? {looked}", near.join(" or "))
    }
}
