//! What can be wrong with a name or with what a store has of it, each in one line with what to do.

use std::fmt;
use std::path::PathBuf;

use super::Digest;
use super::manifest::LayerKind;
use crate::hub::HubError;
use crate::{Problem, Quoted};

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
    /// A model of the Hugging Face hub.
    #[error(transparent)]
    Hub(#[from] HubError),
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
    /// The system does not let us write.
    #[error("{} cannot be written: {cause}; see that this user may write there and that the disk has room", path.display())]
    Unwritable { path: PathBuf, cause: std::io::Error },
    /// A blob that two want to write at once.
    #[error("{digest} is being written by somebody else: wait until that is done")]
    Busy { digest: Digest },
    /// More content than was announced or is allowed.
    #[error("the content has more than {bytes_max} bytes: no more were announced, or no more are accepted")]
    TooMuch { bytes_max: u64 },
    /// Less content than was announced.
    #[error("the content ends after {found} of {expected} bytes: send the rest, or all of it again")]
    Incomplete { found: u64, expected: u64 },
    /// Content that is not what it was announced as.
    #[error("the content has the digest {found}, {expected} was announced: send it again")]
    OtherContent { found: Digest, expected: Digest },
    /// Content that could not be had from whoever sends it.
    #[error("the content breaks off: {cause}; send it again")]
    Source { cause: std::io::Error },
    /// A model in a store that is not ours to change.
    #[error("{name} lies in Ollama's store {}, which is only read: remove it with `ollama rm`", store.display())]
    ReadOnly { name: String, store: PathBuf },
    /// A blob that was to be uploaded first.
    #[error("there is no blob {digest}: upload it first")]
    NoSuchBlob { digest: Digest },
    /// A GGUF file that is none.
    #[error("the blob {digest} {problem}")]
    Unusable { digest: Digest, problem: Box<Problem> },
    /// A layer without which the model would answer otherwise.
    #[error("{name} has an adapter, which is not supported: take the model without it, or merge it into the GGUF file")]
    Adapter { name: String },
}

impl StoreError {
    /// The same without a path of this machine's disk: for those who ask from elsewhere.
    pub fn without_paths(&self) -> String {
        match self {
            StoreError::NoSuchModel { name, near, .. } if near.is_empty() => format!("no model is called {name}"),
            StoreError::NoSuchModel { name, near, .. } => {
                format!("no model is called {name}: did you mean {}?", near.join(" or "))
            }
            StoreError::Unreadable { cause, .. } => format!("a file of the model store cannot be read: {cause}"),
            StoreError::Unwritable { cause, .. } => format!("the model store cannot be written to: {cause}"),
            StoreError::NotAFile { kind, .. } => {
                format!("in the model store is {kind} where a regular file belongs: pull the model again")
            }
            StoreError::TooLarge { bytes_max, .. } => {
                format!("a small file of the model store is larger than {bytes_max} bytes: pull the model again")
            }
            StoreError::Malformed { what, cause, .. } => {
                let cause = Quoted::new(cause);
                format!("what should be {what} in the model store is none: {cause}; pull the model again")
            }
            StoreError::MissingBlob { name, layer, .. } => format!("{name} lacks its {layer}: pull the model again"),
            StoreError::WrongSize { name, layer, .. } => {
                format!("{name}: the {layer} is incomplete or damaged, pull the model again")
            }
            StoreError::WrongDigest { name, layer, .. } => {
                format!("{name}: the {layer} has other content than its digest says, pull the model again")
            }
            StoreError::ReadOnly { name, .. } => {
                format!("{name} lies in Ollama's store, which is only read: remove it with `ollama rm`")
            }
            StoreError::Hub(error) => error.without_paths(),
            StoreError::Name { .. }
            | StoreError::Busy { .. }
            | StoreError::TooMuch { .. }
            | StoreError::Incomplete { .. }
            | StoreError::OtherContent { .. }
            | StoreError::Source { .. }
            | StoreError::NoSuchBlob { .. }
            | StoreError::Unusable { .. }
            | StoreError::ModelCount { .. }
            | StoreError::Adapter { .. } => self.to_string(),
        }
    }
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
