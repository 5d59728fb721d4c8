//! Signs of life on a stream whose model is still being loaded: its headers are gone before anybody knows how it ends.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use tokio::time::timeout;

use super::error::ApiError;
use super::framing::Framing;
use super::sse::headers;

enum Stage {
    Waiting(BoxFuture<'static, Result<Response, ApiError>>),
    Telling(BodyDataStream),
    Over,
}

/// A stream that lives until `answer` comes, and then is that answer.
///
/// * `silence`  the longest time without a sign of life, where the form has one
pub(crate) fn until(
    answer: impl Future<Output = Result<Response, ApiError>> + Send + 'static,
    framing: Framing,
    silence: Duration,
) -> Response {
    let body = stream::unfold(Stage::Waiting(answer.boxed()), move |stage| {
        next(stage, framing, silence)
    });
    (headers(framing), Body::from_stream(body)).into_response()
}

async fn next(mut stage: Stage, framing: Framing, silence: Duration) -> Option<(Result<Bytes, Infallible>, Stage)> {
    loop {
        match stage {
            Stage::Waiting(mut answer) => match timeout(silence, &mut answer).await {
                Err(_) => {
                    stage = Stage::Waiting(answer);
                    if let Some(comment) = framing.comment() {
                        return Some((Ok(comment), stage));
                    }
                }
                Ok(Ok(response)) => stage = Stage::Telling(response.into_body().into_data_stream()),
                Ok(Err(error)) => return Some((Ok(framing.error(error)), Stage::Over)),
            },
            Stage::Telling(mut chunks) => {
                let chunk = chunks.next().await?.ok()?;
                return Some((Ok(chunk), Stage::Telling(chunks)));
            }
            Stage::Over => return None,
        }
    }
}
