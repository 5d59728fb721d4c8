//! JSON lines as they come, whatever pieces the network makes of them.

use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

use super::{Address, ClientError, error_text};

/// Bytes of one line at most: the last line of an answer has the ids of the whole conversation.
const LINE_BYTES_MAX: usize = 16 << 20;

/// The lines of one answer. Dropping it closes the connection, which ends the work behind it.
pub(crate) struct Lines {
    body: Incoming,
    address: Address,
    buffer: BytesMut,
    has_ended: bool,
}

impl Lines {
    pub(super) fn new(body: Incoming, address: Address) -> Lines {
        Lines {
            body,
            address,
            buffer: BytesMut::new(),
            has_ended: false,
        }
    }

    /// The next line; none at the end.
    ///
    /// # Errors
    /// The line is an error, the server's own words then; or the answer breaks off, or is not of JSON lines.
    pub(crate) async fn next(&mut self) -> Result<Option<Value>, ClientError> {
        loop {
            let Some(line) = self.line().await? else {
                return Ok(None);
            };
            if line.trim_ascii().is_empty() {
                continue;
            }
            let value: Value = serde_json::from_slice(&line).map_err(|_| ClientError::Foreign {
                address: self.address.clone(),
            })?;
            return match error_text(&value) {
                Some(text) => Err(ClientError::Refused { status: 500, text }),
                None => Ok(Some(value)),
            };
        }
    }

    async fn line(&mut self) -> Result<Option<BytesMut>, ClientError> {
        let mut looked_at = 0;
        loop {
            let unseen = self.buffer.get(looked_at..).unwrap_or_default();
            if let Some(end) = unseen.iter().position(|byte| *byte == b'\n') {
                return Ok(Some(self.buffer.split_to(looked_at + end + 1)));
            }
            if self.has_ended {
                let rest = self.buffer.split();
                return Ok((!rest.is_empty()).then_some(rest));
            }
            looked_at = self.buffer.len();
            if looked_at > LINE_BYTES_MAX {
                return Err(self.broken("a line without an end"));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(bytes) = frame.data_ref() {
                        self.buffer.extend_from_slice(bytes);
                    }
                }
                Some(Err(error)) => return Err(self.broken(&error.to_string())),
                None => self.has_ended = true,
            }
        }
    }

    fn broken(&self, cause: &str) -> ClientError {
        ClientError::Broken {
            address: self.address.clone(),
            cause: cause.to_owned(),
        }
    }
}
