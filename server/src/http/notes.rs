//! What a handler tells the request's log line. It travels beside the request in a task-local, so that no handler has
//! to pass it on: the record sets it around the call, the request's timer finds it there.

use std::sync::{Arc, Mutex, PoisonError};

use crate::metrics::TokenUse;

tokio::task_local! {
    static NOTES: Arc<Notes>;
}

/// Facts about one request that only its handler learns.
#[derive(Default)]
pub(crate) struct Notes {
    tokens: Mutex<Option<TokenUse>>,
}

impl Notes {
    /// The notes of the request that this task is answering, if it is.
    pub(crate) fn current() -> Option<Arc<Notes>> {
        NOTES.try_with(Arc::clone).ok()
    }

    /// Runs `answering` with these notes as the current ones.
    pub(crate) async fn around<F: Future>(self: Arc<Self>, answering: F) -> F::Output {
        NOTES.scope(self, answering).await
    }

    /// What the request cost in the end.
    pub(crate) fn set_tokens(&self, tokens: TokenUse) {
        *self.tokens.lock().unwrap_or_else(PoisonError::into_inner) = Some(tokens);
    }

    pub(super) fn tokens(&self) -> Option<TokenUse> {
        *self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
