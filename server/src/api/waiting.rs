//! Signs of life on a stream whose model is still being loaded: its headers are gone before anybody knows how it ends.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use tokio::time::timeout;

use super::error::ApiError;
use super::framing::Framing;
use super::sse::headers;
use crate::http::Notes;

/// A stream while there is nothing to tell on it.
pub(crate) struct Silence {
    /// Its form.
    pub(crate) framing: Framing,
    /// Makes a sign of life, where the form has one.
    pub(crate) sign: Box<dyn Fn() -> Option<Bytes> + Send>,
}

impl From<Framing> for Silence {
    /// With the form's own comment.
    fn from(framing: Framing) -> Silence {
        Silence {
            framing,
            sign: Box::new(move || framing.comment()),
        }
    }
}

enum Stage {
    Waiting(BoxFuture<'static, Result<Response, ApiError>>),
    Telling(BodyDataStream),
    Over,
}

struct Sending {
    stage: Stage,
    silence: Silence,
    silence_max: Duration,
}

/// A stream that lives until `answer` comes, and then is that answer. The request's notes go with it, and a panic of the
/// answer's is told in the stream.
///
/// * `silence_max`  the longest time without a sign of life
pub(crate) fn until(
    answer: BoxFuture<'static, Result<Response, ApiError>>,
    silence: Silence,
    silence_max: Duration,
) -> Response {
    let headers = headers(silence.framing);
    let answer = match Notes::current() {
        Some(notes) => notes.around(answer).boxed(),
        None => answer,
    };
    let sending = Sending {
        stage: Stage::Waiting(contained(answer).boxed()),
        silence,
        silence_max,
    };
    let body = stream::unfold(sending, |mut sending| async move {
        let chunk = sending.next().await?;
        Some((Ok::<_, Infallible>(chunk), sending))
    });
    (headers, Body::from_stream(body)).into_response()
}

/// The net under a handler's work that goes on after the handler.
async fn contained(answer: BoxFuture<'static, Result<Response, ApiError>>) -> Result<Response, ApiError> {
    // The work's state is dropped with it; what it shares is behind locks that outlive a panic by design.
    let answered = AssertUnwindSafe(answer).catch_unwind().await;
    answered.unwrap_or_else(|_payload| {
        tracing::error!("an answer panicked that waited for its model; its client got an error event");
        Err(ApiError::Internal)
    })
}

impl Sending {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            match &mut self.stage {
                Stage::Waiting(answer) => match timeout(self.silence_max, answer).await {
                    Err(_) => {
                        if let Some(sign) = (self.silence.sign)() {
                            return Some(sign);
                        }
                    }
                    Ok(Ok(response)) => self.stage = Stage::Telling(response.into_body().into_data_stream()),
                    Ok(Err(error)) => {
                        self.stage = Stage::Over;
                        return Some(self.silence.framing.error(error));
                    }
                },
                Stage::Telling(chunks) => return chunks.next().await?.ok(),
                Stage::Over => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_secs(10);

    async fn broken() -> Result<Response, ApiError> {
        panic!("a defect")
    }

    async fn late() -> Result<Response, ApiError> {
        tokio::time::sleep(MOMENT * 5 / 2).await;
        Ok("the answer".into_response())
    }

    async fn chunks(response: Response) -> Vec<String> {
        let chunks: Vec<_> = response.into_body().into_data_stream().collect().await;
        let text = |chunk: &Result<Bytes, axum::Error>| String::from_utf8_lossy(chunk.as_ref().unwrap()).into_owned();
        chunks.iter().map(text).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_of_the_answer_that_is_waited_for_is_told_in_the_stream() {
        for framing in [Framing::Events, Framing::Lines] {
            let told = chunks(until(broken().boxed(), framing.into(), MOMENT)).await;
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told.concat().contains("error"), "{told:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_form_shows_its_own_signs_of_life_until_the_answer_comes() {
        let lines = Silence {
            framing: Framing::Lines,
            sign: Box::new(|| Some(Bytes::from_static(b"{}\n"))),
        };
        let told = chunks(until(late().boxed(), lines, MOMENT)).await;
        assert_eq!(told, ["{}\n", "{}\n", "the answer"]);
        let told = chunks(until(late().boxed(), Framing::Events.into(), MOMENT)).await;
        assert_eq!(told, [": keep-alive\n\n", ": keep-alive\n\n", "the answer"]);
    }
}
