//! One request's choices while they are generated: joins what the engine says of each, in the order it happens.

use std::pin::Pin;
use std::time::{Duration, Instant};

use chat::{Piece, ReplyDecoder, ToolCall, ToolCallParser, ToolPiece};
use engine::{Event, Finish, Replies, Token};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use super::error::ApiError;
use super::wire::reply::{CompletionTokensDetails, FinishReason, PromptTokensDetails, Usage};
use crate::drain::Drain;
use crate::http::RequestId;
use crate::metrics::{Abort, RequestTimer, TokenUse};
use crate::roster::Lease;

/// What one event of one choice brought.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// The choice, counted over all prompts.
    pub(crate) choice: usize,
    /// The token given out, if it was one.
    pub(crate) token: Option<Token>,
    /// Text that can be shown now.
    pub(crate) pieces: Vec<Piece>,
    /// Calls of tools that are whole now. They are in no piece, and come after the pieces.
    pub(crate) calls: Vec<ToolCall>,
    /// Why the choice ended, if it did.
    pub(crate) finish: Option<FinishReason>,
}

/// One choice to be followed.
pub(crate) struct Choice {
    /// Its events. Dropped as soon as the choice has ended, which is how the engine learns of a stop string.
    pub(crate) replies: Replies,
    /// Its text.
    pub(crate) decoder: ReplyDecoder,
    /// Tells calls of tools from its text, where there are tools.
    pub(crate) tools: Option<ToolCallParser>,
    /// Whether it is over after its first call of one.
    pub(crate) ends_at_call: bool,
    /// Tokens of its prompt, for the first choice of each prompt; 0 for its siblings, which share it.
    pub(crate) prompt_tokens: usize,
}

/// What is kept of a choice besides its replies.
struct Progress {
    decoder: ReplyDecoder,
    tools: Option<ToolCallParser>,
    /// Whether it called a tool.
    has_called: bool,
    /// Whether its first call is its end.
    ends_at_call: bool,
    tokens: usize,
    prompt_tokens: usize,
    cached_tokens: usize,
    finish: Option<FinishReason>,
}

/// Everything around a generation that is not the choices themselves.
pub(crate) struct Surroundings {
    pub(crate) timer: RequestTimer,
    pub(crate) drain: Drain,
    pub(crate) lease: Lease,
    pub(crate) request_id: RequestId,
}

type Waiting = BoxFuture<'static, (usize, Replies, Option<Event>)>;

/// All choices of one request. Dropping it cancels those that still run, at the engines' next step.
pub(crate) struct Generation {
    progress: Vec<Progress>,
    waiting: FuturesUnordered<Waiting>,
    deadline: Pin<Box<dyn Future<Output = ()> + Send>>,
    drain: Drain,
    /// Taken when the end has been told.
    timer: Option<RequestTimer>,
    started: Instant,
    /// When an engine began with the first choice.
    admitted: Option<Instant>,
    /// When the first token of any choice came, or an end without one.
    answered: Option<Instant>,
    lease: Lease,
    request_id: RequestId,
}

/// How long the parts of a generation took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timings {
    /// From an engine's beginning to the first token.
    pub(crate) prompt: Duration,
    /// From the first token on.
    pub(crate) output: Duration,
}

impl Generation {
    /// Follows `choices`, at least one.
    pub(crate) fn new(choices: Vec<Choice>, surroundings: Surroundings) -> Generation {
        let Surroundings {
            timer,
            drain,
            lease,
            request_id,
        } = surroundings;
        let leaving = drain.clone();
        let mut generation = Generation {
            progress: Vec::with_capacity(choices.len()),
            waiting: FuturesUnordered::new(),
            deadline: Box::pin(async move { leaving.deadline().await }),
            drain,
            timer: Some(timer),
            started: Instant::now(),
            admitted: None,
            answered: None,
            lease,
            request_id,
        };
        for (index, choice) in choices.into_iter().enumerate() {
            let Choice {
                replies,
                decoder,
                tools,
                ends_at_call,
                prompt_tokens,
            } = choice;
            generation.waiting.push(wait(index, replies));
            generation.progress.push(Progress {
                decoder,
                tools,
                has_called: false,
                ends_at_call,
                tokens: 0,
                prompt_tokens,
                cached_tokens: 0,
                finish: None,
            });
        }
        generation
    }

    /// The next step of any choice; `None` after the last one's end. May be dropped at its await without losing one.
    ///
    /// # Errors
    /// `EngineFailed` or `ShuttingDown`; the other choices are cancelled, and nothing more comes.
    pub(crate) async fn next(&mut self) -> Result<Option<Step>, ApiError> {
        loop {
            if self.timer.is_none() {
                return Ok(None);
            }
            let arrived = tokio::select! {
                // The deadline first: a fast engine always has something.
                biased;
                () = &mut self.deadline => return Err(self.cut_short(Abort::Shutdown)),
                arrived = self.waiting.next() => arrived,
            };
            let Some((choice, replies, event)) = arrived else {
                self.end();
                return Ok(None);
            };
            if let Some(step) = self.take(choice, replies, event)? {
                return Ok(Some(step));
            }
        }
    }

    /// Tokens so far. An end token counts as output: it was generated, though it has no text.
    pub(crate) fn usage(&self) -> Usage {
        let sum = |count: fn(&Progress) -> usize| self.progress.iter().map(count).sum::<usize>();
        let (prompt_tokens, completion_tokens) = (sum(|choice| choice.prompt_tokens), sum(|choice| choice.tokens));
        let cached_tokens = sum(|choice| choice.cached_tokens);
        let reasoning_tokens = sum(|choice| choice.decoder.thought_tokens());
        Usage {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens + completion_tokens,
            prompt_tokens_details: PromptTokensDetails { cached_tokens },
            completion_tokens_details: CompletionTokensDetails { reasoning_tokens },
        }
    }

    /// How long the parts took, up to now.
    pub(crate) fn timings(&self) -> Timings {
        let now = Instant::now();
        let answered = self.answered.unwrap_or(now);
        Timings {
            prompt: answered - self.admitted.unwrap_or(answered),
            output: now - answered,
        }
    }

    /// The id under which the request can be found in the log.
    pub(crate) fn request_id(&self) -> &str {
        self.request_id.as_str()
    }

    fn take(&mut self, choice: usize, replies: Replies, event: Option<Event>) -> Result<Option<Step>, ApiError> {
        let Some(progress) = self.progress.get_mut(choice) else {
            return Ok(None);
        };
        match event {
            Some(Event::Started { .. }) => self.admitted.get_or_insert_with(Instant::now),
            _ => self.answered.get_or_insert_with(Instant::now),
        };
        match event {
            Some(Event::Started { cached_tokens }) => {
                if progress.prompt_tokens > 0 {
                    progress.cached_tokens = cached_tokens;
                }
                let Usage {
                    prompt_tokens,
                    prompt_tokens_details,
                    ..
                } = self.usage();
                if let Some(timer) = &mut self.timer {
                    timer.admitted(prompt_tokens, prompt_tokens_details.cached_tokens);
                }
                self.waiting.push(wait(choice, replies));
                Ok(None)
            }
            Some(Event::Token(token)) => {
                if let Some(timer) = &mut self.timer {
                    timer.token(choice);
                }
                let step = progress.token(choice, token);
                if progress.finish.is_none() {
                    self.waiting.push(wait(choice, replies));
                }
                Ok(Some(step))
            }
            Some(Event::Embedding(_)) => Err(self.failed("the engine gave an embedding instead of tokens")),
            Some(Event::Finished(Finish::End)) => {
                progress.tokens += 1; // The end token itself.
                Ok(Some(progress.ended(choice, FinishReason::Stop)))
            }
            Some(Event::Finished(Finish::NothingLeft)) => Ok(Some(progress.ended(choice, FinishReason::Stop))),
            Some(Event::Finished(Finish::Length)) => Ok(Some(progress.ended(choice, FinishReason::Length))),
            Some(Event::Finished(Finish::Failed(reason))) => Err(self.failed(&reason)),
            None => Err(self.failed("the engine's replies ended without an end")),
        }
    }

    fn end(&mut self) {
        let usage = self.token_use();
        let is_cut = self
            .progress
            .iter()
            .any(|choice| choice.finish == Some(FinishReason::Length));
        let reason = if is_cut {
            FinishReason::Length
        } else {
            FinishReason::Stop
        };
        if let Some(timer) = self.timer.take() {
            timer.finished(reason.as_str(), usage);
        }
        self.lease.pace.record(self.started.elapsed());
    }

    /// A job fails when its engine does, and when the engines are stopped at the end of a drain.
    fn failed(&mut self, reason: &str) -> ApiError {
        if self.drain.is_draining() {
            return self.cut_short(Abort::Shutdown);
        }
        tracing::error!(
            request_id = self.request_id.as_str(),
            reason,
            "a request failed in its engine"
        );
        self.cut_short(Abort::Engine)
    }

    fn cut_short(&mut self, why: Abort) -> ApiError {
        let usage = self.token_use();
        self.waiting.clear();
        if let Some(timer) = self.timer.take() {
            timer.aborted(why, usage);
        }
        match why {
            Abort::Shutdown => ApiError::ShuttingDown,
            Abort::Engine => ApiError::EngineFailed,
        }
    }

    fn token_use(&self) -> TokenUse {
        let usage = self.usage();
        TokenUse {
            prompt: usage.prompt_tokens,
            cached: usage.prompt_tokens_details.cached_tokens,
            output: usage.completion_tokens,
            reasoning: usage.completion_tokens_details.reasoning_tokens,
        }
    }
}

impl Progress {
    fn token(&mut self, choice: usize, token: Token) -> Step {
        self.tokens += 1;
        let pieces = self.decoder.push(token.id);
        let is_over = self.decoder.stopped();
        let (pieces, calls) = self.tell_calls(pieces, is_over);
        if is_over || (self.ends_at_call && self.has_called) {
            self.finish = Some(self.reason(FinishReason::Stop));
        }
        Step {
            choice,
            token: Some(token),
            pieces,
            calls,
            finish: self.finish,
        }
    }

    fn ended(&mut self, choice: usize, reason: FinishReason) -> Step {
        let pieces = self.decoder.finish();
        let (pieces, calls) = self.tell_calls(pieces, true);
        self.finish = Some(self.reason(reason));
        Step {
            choice,
            token: None,
            pieces,
            calls,
            finish: self.finish,
        }
    }

    /// Takes calls of tools out of an answer's pieces. What follows the call that is the choice's end is dropped.
    fn tell_calls(&mut self, pieces: Vec<Piece>, is_over: bool) -> (Vec<Piece>, Vec<ToolCall>) {
        let Some(tools) = &mut self.tools else {
            return (pieces, Vec::new());
        };
        let (mut shown, mut told) = (Vec::new(), Vec::new());
        for piece in pieces {
            match piece {
                Piece::Thought(_) => shown.push(piece),
                Piece::Answer(text) => told.extend(tools.push(&text)),
            }
        }
        if is_over {
            told.extend(tools.finish());
        }
        let mut calls = Vec::new();
        for piece in told {
            match piece {
                ToolPiece::Text(text) => shown.push(Piece::Answer(text)),
                ToolPiece::Call(call) => calls.push(call),
            }
            if self.ends_at_call && !calls.is_empty() {
                break;
            }
        }
        self.has_called |= !calls.is_empty();
        (shown, calls)
    }

    fn reason(&self, reason: FinishReason) -> FinishReason {
        if reason == FinishReason::Stop && self.has_called {
            FinishReason::ToolCalls
        } else {
            reason
        }
    }
}

fn wait(choice: usize, mut replies: Replies) -> Waiting {
    Box::pin(async move {
        let event = replies.next().await;
        (choice, replies, event)
    })
}
