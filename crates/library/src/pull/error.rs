//! What can keep a model from being pulled, each in one line with what to do. No line tells a path of this machine, a
//! token, or an address with its query, which may be one.

use std::io;

use crate::Quoted;
use crate::hub::HubError;
use crate::store::StoreError;

/// A model that was not pulled, and why. What was fetched of its large files is kept, and gone on from the next time.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the message above each field says what it holds")]
pub enum PullError {
    /// An entry of the allow-list, or the hub's address, that is none.
    #[error("`{found}` is no host to allow: write example.com, https://example.com:8443 or http://10.0.0.2:5000")]
    Setting { found: Quoted },
    /// A token with characters that no token has.
    #[error(
        "the hub's token has spaces, control characters or more than 4096 characters: set HF_TOKEN to the token alone"
    )]
    Token,
    /// No proxy's address. It is not shown, since it may have a password.
    #[error("the proxy's address is none: write http://127.0.0.1:7890 or socks5://127.0.0.1:1080")]
    Proxy,
    /// A host that is not on the list.
    #[error("models are not pulled from `{host}`: {allowed}; whoever runs this program can allow more")]
    Host { host: Quoted, allowed: String },
    /// A name that leads into this network.
    #[error(
        "{host} leads to an address of this machine or its network, which is refused: whoever runs this program can allow \
         that host together with its port"
    )]
    PrivateAddress { host: String },
    /// The line or the other side.
    #[error("the connection to {host} failed: {cause}; try again, what was fetched is kept")]
    Connection { host: String, cause: String },
    /// A certificate or a handshake.
    #[error("{host} cannot be trusted: {cause}; see that the clock is right and that nothing stands between")]
    Untrusted { host: String, cause: Quoted },
    /// Nothing came for too long.
    #[error("{host} sent nothing for too long: try again, what was fetched is kept")]
    Stalled { host: String },
    /// Fewer bytes than promised.
    #[error("{host} ended after {found} of {expected} bytes: try again, what was fetched is kept")]
    Cut { host: String, found: u64, expected: u64 },
    /// A status that fits nothing here.
    #[error("{host} answered with status {status}: {}", if *status >= 500 || *status == 429 {
        "it is busy or broken, try again later"
    } else {
        "it does not serve this model as expected"
    })]
    Status { host: String, status: u16 },
    /// It wants to know who asks.
    #[error("{host} wants a sign-in for this model, which is not supported: pull a public model")]
    SignIn { host: String },
    /// A redirection that is not followed.
    #[error("{host} sends on to {target}, which is not followed: {why}")]
    Redirect {
        host: String,
        target: Quoted,
        why: &'static str,
    },
    /// More bytes than such a thing ever has.
    #[error("{what} is larger than {bytes_max} bytes, too large for what it should be")]
    TooLarge { what: &'static str, bytes_max: u64 },
    /// An answer that makes no sense.
    #[error("{host} answered with {what} that cannot be used: {cause}")]
    Malformed {
        host: String,
        what: &'static str,
        cause: Quoted,
    },
    /// The words that Ollama has for it.
    #[error("pull model manifest: file does not exist")]
    NoSuchModel,
    /// Nothing here would run it.
    #[error("this model is not one GGUF file, and only those run here: pull another variant of it")]
    NotGguf,
    /// Nothing here would run it either.
    #[error("this model has an adapter, and models with adapters are not run here: pull one without")]
    Adapter,
    /// Content that the digest does not describe.
    #[error("{digest} arrived with other content than its digest says, and was deleted: pull it again")]
    OtherContent { digest: String },
    /// Another pull of the same file.
    #[error("this model is being pulled already: wait for that to end")]
    Busy,
    /// No room.
    #[error("the disk is full: free {bytes_missing} bytes and pull again, what was fetched is kept")]
    DiskFull { bytes_missing: u64 },
    /// Another refusal of the disk. The source says where.
    #[error("the downloaded file cannot be written: {}", .0.kind())]
    Disk(#[source] io::Error),
    /// The store refuses. The source says where.
    #[error("{}", .0.without_paths())]
    Store(#[source] StoreError),
    /// A repository that the hub does not show.
    #[error("{host} has no repository {repo}, or does not show it to everybody: check the name, or set HF_TOKEN")]
    NoSuchRepo { host: String, repo: String },
    /// A repository whose terms are to be agreed to first.
    #[error("{host} does not give {repo} to everybody: agree to its terms there and set HF_TOKEN")]
    Gated { host: String, repo: String },
    /// No file, or several, to choose from.
    #[error(transparent)]
    Choice(#[from] HubError),
    /// A split file that lacks some of its parts.
    #[error("{name} has {found} of the {expected} parts of this model: pull another variant of it")]
    Parts {
        name: String,
        found: usize,
        expected: usize,
    },
    /// The caller wanted no more.
    #[error("the pull was stopped: what was fetched is kept")]
    Stopped,
}

impl PullError {
    /// What a refusal of the store is for whoever pulls; `bytes_missing` are still to be written.
    pub(super) fn of_store(error: StoreError, bytes_missing: u64) -> PullError {
        match error {
            StoreError::Busy { .. } => PullError::Busy,
            StoreError::OtherContent { expected, .. } => PullError::OtherContent {
                digest: expected.to_string(),
            },
            StoreError::Unwritable { cause, .. } if cause.kind() == io::ErrorKind::StorageFull => {
                PullError::DiskFull { bytes_missing }
            }
            error => PullError::Store(error),
        }
    }

    /// Whether the same request may succeed a moment later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            PullError::Connection { .. } | PullError::Stalled { .. } | PullError::Cut { .. } => true,
            PullError::Status { status, .. } => *status >= 500 || matches!(status, 408 | 429),
            _ => false,
        }
    }
}
