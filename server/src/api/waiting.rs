//! Signs of life on a stream whose model is still being loaded: its headers are gone before anybody knows how it ends.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use tokio::time::timeout;

use super::error::ApiError;
use super::sse::{KEEP_ALIVE, error_event, headers};

/// How a kind of stream shows that it lives, and how it tells of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signs {
    /// Comments between server-sent events.
    Comments,
}

enum Stage {
    Waiting(BoxFuture<'static, Result<Response, ApiError>>),
    Telling(BodyDataStream),
    Over,
}

impl Signs {
    /// A stream that lives until `answer` comes, and then is that answer.
    ///
    /// * `silence`  the longest time without a sign
    pub(crate) fn until(
        self,
        answer: impl Future<Output = Result<Response, ApiError>> + Send + 'static,
        silence: Duration,
    ) -> Response {
        let body = stream::unfold(Stage::Waiting(answer.boxed()), move |stage| self.next(stage, silence));
        (headers(), Body::from_stream(body)).into_response()
    }

    async fn next(self, mut stage: Stage, silence: Duration) -> Option<(Result<Bytes, Infallible>, Stage)> {
        loop {
            match stage {
                Stage::Waiting(mut answer) => match timeout(silence, &mut answer).await {
                    Err(_) => return Some((Ok(self.sign()), Stage::Waiting(answer))),
                    Ok(Ok(response)) => stage = Stage::Telling(response.into_body().into_data_stream()),
                    Ok(Err(error)) => return Some((Ok(self.error(&error)), Stage::Over)),
                },
                Stage::Telling(mut chunks) => {
                    let chunk = chunks.next().await?.ok()?;
                    return Some((Ok(chunk), Stage::Telling(chunks)));
                }
                Stage::Over => return None,
            }
        }
    }

    fn sign(self) -> Bytes {
        match self {
            Signs::Comments => KEEP_ALIVE,
        }
    }

    fn error(self, error: &ApiError) -> Bytes {
        match self {
            Signs::Comments => error_event(error),
        }
    }
}
