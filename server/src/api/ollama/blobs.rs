//! `/api/blobs/{digest}`: files uploaded for `create`, on their way to the disk and never whole in memory.

use std::io::{self, Read};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use library::store::Digest;
use tokio::sync::mpsc;

use super::OllamaError;
use super::body::check_site;
use super::files::refused;
use crate::api::Api;
use crate::api::error::ApiError;
use crate::shelf::ShelfError;

/// Chunks of a body that may wait for the disk.
const CHUNKS_WAITING: usize = 8;

/// `HEAD /api/blobs/{digest}`: whether it is there.
pub(super) async fn head(State(api): State<Arc<Api>>, Path(digest): Path<String>) -> Result<StatusCode, OllamaError> {
    api.require_changeable()?;
    let digest = understood(&digest)?;
    Ok(if is_there(&api, digest).await? {
        StatusCode::OK
    } else {
        StatusCode::NOT_FOUND
    })
}

/// `POST /api/blobs/{digest}`: the file itself as the body.
pub(super) async fn upload(
    State(api): State<Arc<Api>>,
    Path(digest): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, OllamaError> {
    check_site(&headers)?;
    api.require_changeable()?;
    let digest = understood(&digest)?;
    if is_there(&api, digest.clone()).await? {
        return Ok(StatusCode::OK);
    }
    let Ok(_place) = api.app.shelf.uploads.try_acquire() else {
        return Err(OllamaError::Own {
            status: StatusCode::SERVICE_UNAVAILABLE,
            message: "too many files are being uploaded: try again when one of them is there".to_owned(),
        });
    };
    let (sender, chunks) = mpsc::channel(CHUNKS_WAITING);
    // Not in the lane of short works: it lasts as long as the client sends.
    let shelf = Arc::clone(&api.app.shelf);
    let writing = tokio::task::spawn_blocking(move || {
        let mut body = SentBody {
            chunks,
            chunk: Bytes::new(),
        };
        shelf
            .places
            .own
            .put_blob(&digest, &mut body, shelf.rules.blob_bytes_max)
    });
    send(body, sender).await;
    let written = writing.await.map_err(|error| {
        tracing::error!(%error, "writing an uploaded file panicked");
        ApiError::Internal
    })?;
    written.map_err(|error| refused(&ShelfError::Store(error), "the uploaded file"))?;
    Ok(StatusCode::CREATED)
}

fn understood(digest: &str) -> Result<Digest, OllamaError> {
    Digest::parse(digest)
        .ok_or_else(|| OllamaError::bad_request("the digest is none: give `sha256:` and 64 hexadecimal digits"))
}

async fn is_there(api: &Arc<Api>, digest: Digest) -> Result<bool, OllamaError> {
    api.with_shelf(move |shelf| {
        let found = shelf.places.own.has_blob(&digest);
        found
            .map(|bytes| bytes.is_some())
            .map_err(|error| ShelfError::Store(error).into())
    })
    .await
}

/// Hands the body on until it ends, or nobody takes it any more.
async fn send(mut body: Body, sender: mpsc::Sender<io::Result<Bytes>>) {
    while let Some(frame) = body.frame().await {
        let chunk = match frame {
            Ok(frame) => match frame.into_data() {
                // An empty one would be taken for the end.
                Ok(chunk) if chunk.is_empty() => continue,
                Ok(chunk) => Ok(chunk),
                // Trailers.
                Err(_) => continue,
            },
            Err(error) => Err(io::Error::other(error)),
        };
        if sender.send(chunk).await.is_err() {
            return;
        }
    }
    // Without this, a client that has left would look like one that has sent everything.
    let _ = sender.send(Ok(Bytes::new())).await;
}

/// The body for a thread that may block. Its end is an empty chunk; an end without one is a break.
struct SentBody {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    chunk: Bytes,
}

impl Read for SentBody {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() {
            self.chunk = match self.chunks.blocking_recv() {
                Some(chunk) => chunk?,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
        let taken = self.chunk.split_to(self.chunk.len().min(into.len()));
        if let Some(into) = into.get_mut(..taken.len()) {
            into.copy_from_slice(&taken);
        }
        Ok(taken.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chunks: Vec<io::Result<Bytes>>) -> io::Result<Vec<u8>> {
        let (sender, receiver) = mpsc::channel(8);
        for chunk in chunks {
            sender.try_send(chunk).unwrap();
        }
        drop(sender);
        let mut bytes = Vec::new();
        let mut body = SentBody {
            chunks: receiver,
            chunk: Bytes::new(),
        };
        body.read_to_end(&mut bytes).map(|_count| bytes)
    }

    #[test]
    fn a_body_that_broke_off_is_told_from_one_that_ended() {
        let chunk = |text: &'static str| Ok(Bytes::from_static(text.as_bytes()));
        assert_eq!(read(vec![chunk("ab"), chunk("c"), chunk("")]).unwrap(), b"abc");
        assert!(read(vec![chunk("ab")]).is_err());
        assert!(read(vec![chunk("ab"), Err(io::ErrorKind::TimedOut.into())]).is_err());
    }
}
