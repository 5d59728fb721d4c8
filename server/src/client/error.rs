//! What can go wrong between a command and a server.

use super::Address;

/// One line for whoever typed the command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClientError {
    /// The address cannot be understood.
    #[error("{found:?} is not a server's address: give one as host:port or http://host:port")]
    Address {
        /// As it was said.
        found: String,
    },
    /// TLS is not spoken here.
    #[error("{found:?} asks for https, which the commands do not speak: name the server's http address")]
    Tls {
        /// As it was said.
        found: String,
    },
    /// Nothing accepts connections.
    #[error("no server at {address} ({cause}): start one with `tandem serve`, or name another with --host")]
    NoServer {
        /// Where.
        address: Address,
        /// The system's words.
        cause: String,
    },
    /// The answer ended too early or was no HTTP.
    #[error("the server at {address} broke off: {cause}")]
    Broken {
        /// Where.
        address: Address,
        /// In hyper's words.
        cause: String,
    },
    /// No answer in time.
    #[error("the server at {address} said nothing for {seconds} s")]
    Silent {
        /// Where.
        address: Address,
        /// How long it had.
        seconds: u64,
    },
    /// Something listens there, and is neither Tandem nor Ollama.
    #[error("what answers at {address} does not speak Ollama's API: name another server with --host")]
    Foreign {
        /// Where.
        address: Address,
    },
    /// The server's own words.
    #[error("{text}")]
    Refused {
        /// Of HTTP.
        status: u16,
        /// Why.
        text: String,
    },
}

impl ClientError {
    /// Whether nothing is there that could be asked.
    pub(crate) fn is_nobody(&self) -> bool {
        matches!(self, ClientError::NoServer { .. } | ClientError::Foreign { .. })
    }

    /// Whether the server does not know the thing that was asked for.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, ClientError::Refused { status: 404, .. })
    }

    /// The process's exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            ClientError::Address { .. } | ClientError::Tls { .. } => 2,
            ClientError::NoServer { .. } | ClientError::Foreign { .. } => 3,
            ClientError::Refused { status: 404, .. } => 4,
            ClientError::Broken { .. } | ClientError::Silent { .. } | ClientError::Refused { .. } => 1,
        }
    }
}
