//! Work on text that takes milliseconds, away from the threads that serve sockets.

use std::sync::Arc;
use std::thread::available_parallelism;

use chat::ChatError;
use tokio::sync::Semaphore;

use super::error::ApiError;

/// A few places for template and tokenizer work: more at once would only take the cores from the engines.
pub(crate) struct TextLane {
    places: Arc<Semaphore>,
}

impl TextLane {
    /// Half the cores, at least one.
    pub(crate) fn new() -> TextLane {
        let cores = available_parallelism().map_or(1, usize::from);
        TextLane {
            places: Arc::new(Semaphore::new((cores / 2).max(1))),
        }
    }

    /// Runs `work` when a place is free. The place is held until the work is done, even if nobody waits for it any
    /// more: work that has begun cannot be taken back.
    ///
    /// # Errors
    /// The work's own; `Internal` if it panics.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let place = self
            .places
            .clone()
            .acquire_owned()
            .await
            .map_err(|_closed| ApiError::Internal)?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(place);
            done
        });
        done.await.unwrap_or_else(|error| {
            tracing::error!(%error, "work on a text panicked; its client got a 500");
            Err(ApiError::Internal)
        })
    }
}

/// What a client is told of a text that cannot be used; `param` is the field that holds it.
pub(crate) fn refused_text(param: &'static str, error: ChatError) -> ApiError {
    match error {
        ChatError::TooHardToSplit { .. } | ChatError::TemplateRefused(_) | ChatError::UnknownToken { .. } => {
            ApiError::field(param, error.to_string())
        }
        // The template takes its turn from the client's messages, so a failure in it is theirs to avoid.
        ChatError::TemplateFailed(_) => ApiError::field(param, error.to_string()),
        other => {
            tracing::error!(error = %other, "the tokenizer or the template failed on a checked request");
            ApiError::Internal
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_the_lane_is_an_error_and_gives_its_place_back() {
        let lane = TextLane {
            places: Arc::new(Semaphore::new(1)),
        };
        let panicked: Result<(), ApiError> = lane.run(|| panic!("on purpose")).await;
        assert_eq!(panicked, Err(ApiError::Internal));
        assert_eq!(lane.run(|| Ok(7)).await, Ok(7));
    }
}
