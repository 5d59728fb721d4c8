//! The clock of one generation request: time to first token, between tokens, and to the end.

use std::sync::Arc;
use std::time::Instant;

use super::families::{Families, add, observe};
use crate::http::Notes;

/// What one request cost. `cached` is part of `prompt`, `reasoning` of `output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenUse {
    /// Tokens of the prompt.
    pub(crate) prompt: usize,
    /// Of these, taken from the prefix cache.
    pub(crate) cached: usize,
    /// Tokens generated.
    pub(crate) output: usize,
    /// Of these, before the closing think tag.
    pub(crate) reasoning: usize,
}

/// Why a request was cut short by us. That the client left shows in the timer's drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abort {
    /// The drain's deadline.
    Shutdown,
    /// Its engine failed.
    Engine,
}

/// Measures one generation request. Dropped without a word, the request counts as left by its client.
pub(crate) struct RequestTimer {
    families: Arc<Families>,
    model: Arc<str>,
    notes: Option<Arc<Notes>>,
    started: Instant,
    is_admitted: bool,
    /// What is known so far, for a request that its client leaves.
    so_far: TokenUse,
    /// When each choice last gave a token.
    last_tokens: Vec<Option<Instant>>,
    has_ended: bool,
}

impl RequestTimer {
    pub(super) fn start(families: Arc<Families>, model: Arc<str>) -> RequestTimer {
        let notes = Notes::current();
        RequestTimer {
            families,
            model,
            notes,
            started: Instant::now(),
            is_admitted: false,
            so_far: TokenUse::default(),
            last_tokens: Vec::new(),
            has_ended: false,
        }
    }

    /// An engine has begun with the request; what passed before was queueing. Later calls change nothing.
    pub(crate) fn admitted(&mut self, prompt_tokens: usize, cached_tokens: usize) {
        if !self.is_admitted {
            self.is_admitted = true;
            self.so_far.prompt = prompt_tokens;
            self.so_far.cached = cached_tokens;
            observe(
                &self.families.latency.queue,
                &self.model,
                Some(self.started.elapsed().as_secs_f64()),
            );
        }
    }

    /// Choice number `choice` gave a token; the first of all gives the time to first token.
    pub(crate) fn token(&mut self, choice: usize) {
        let now = Instant::now();
        self.so_far.output += 1;
        if self.so_far.output == 1 {
            observe(
                &self.families.latency.first_token,
                &self.model,
                Some((now - self.started).as_secs_f64()),
            );
        }
        if self.last_tokens.len() <= choice {
            self.last_tokens.resize(choice + 1, None);
        }
        if let Some(slot) = self.last_tokens.get_mut(choice)
            && let Some(last) = slot.replace(now)
        {
            observe(
                &self.families.latency.inter_token,
                &self.model,
                Some((now - last).as_secs_f64()),
            );
        }
    }

    /// The reply is whole. `reason` is the wire's `finish_reason`.
    pub(crate) fn finished(mut self, reason: &str, tokens: TokenUse) {
        let reason = if reason == "length" { "length" } else { "stop" };
        observe(
            &self.families.latency.request,
            &self.model,
            Some(self.started.elapsed().as_secs_f64()),
        );
        self.end(reason, tokens);
    }

    /// We ended it before its time.
    pub(crate) fn aborted(mut self, why: Abort, tokens: TokenUse) {
        let (cause, reason) = match why {
            Abort::Shutdown => ("shutdown", "abort"),
            Abort::Engine => ("engine", "error"),
        };
        add(&self.families.aborted, &[cause], 1);
        self.end(reason, tokens);
    }

    /// The request was refused after all: it counts as answered, not as generated.
    pub(crate) fn refused(mut self) {
        self.has_ended = true;
    }

    fn end(&mut self, reason: &str, tokens: TokenUse) {
        self.has_ended = true;
        if let Some(notes) = &self.notes {
            notes.set_tokens(tokens);
        }
        add(&self.families.finished, &[&self.model, reason], 1);
        let kinds = [
            ("input", tokens.prompt),
            ("cached_input", tokens.cached),
            ("output", tokens.output),
            ("reasoning", tokens.reasoning),
        ];
        for (kind, count) in kinds {
            add(&self.families.tokens, &[&self.model, kind], count as u64);
        }
    }
}

impl Drop for RequestTimer {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        add(&self.families.aborted, &["client_gone"], 1);
        self.end("abort", self.so_far);
    }
}
