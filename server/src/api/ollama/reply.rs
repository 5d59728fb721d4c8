//! A reply in the making, as lines of JSON or as one object: the narrator of `/api/chat` and `/api/generate`.

use std::time::{Duration, Instant, SystemTime};

use axum::body::Bytes;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use chat::ToolCall;
use serde::Serialize;
use serde_json::Value;

use super::Endpoint;
use crate::api::chat::{Part, Shown, call_id};
use crate::api::check::{Options, Showing};
use crate::api::error::ApiError;
use crate::api::framing::Framing;
use crate::api::generation::{Generation, Step};
use crate::api::logprobs::TokenNamer;
use crate::api::sse::{Events, Narrator};
use crate::api::wire::chat::TokenLogprob;
use crate::api::wire::json::{self, json_response};
use crate::api::wire::reply::FinishReason;
use crate::date::rfc3339_nanos;
use crate::roster::Lease;

/// One request on its way.
#[derive(Clone, Copy)]
pub(super) struct Call {
    /// Where it was sent.
    pub(super) endpoint: Endpoint,
    /// When its body had been read.
    pub(super) arrived: Instant,
    /// When its model was there.
    pub(super) loaded: Instant,
}

/// What is told of one reply.
pub(super) struct Reply {
    call: Call,
    model: String,
    shown: Shown,
    /// The tokens so far, prompt included, where the client gets them at the end.
    context: Option<Vec<u32>>,
    namer: Option<TokenNamer>,
    /// Of tokens whose text is still held back.
    logprobs: Vec<TokenLogprob>,
    finish: Option<FinishReason>,
    /// Calls of tools so far.
    calls: usize,
}

/// One line of a stream, or the whole reply.
#[derive(Serialize)]
struct Line<'a> {
    model: &'a str,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    thinking: &'a str,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    done_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "<[u32]>::is_empty")]
    context: &'a [u32],
    #[serde(skip_serializing_if = "<[TokenLogprob]>::is_empty")]
    logprobs: &'a [TokenLogprob],
    #[serde(flatten)]
    counts: Counts,
}

/// On every line of a chat: LobeChat reads it unasked.
#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    thinking: &'a str,
    #[serde(skip_serializing_if = "<[Called]>::is_empty")]
    tool_calls: &'a [Called],
}

/// A call of a tool.
#[derive(Serialize)]
struct Called {
    id: String,
    function: CalledFunction,
}

#[derive(Serialize)]
struct CalledFunction {
    index: usize,
    name: String,
    arguments: Value,
}

/// Durations in nanoseconds and counts of tokens, each left out while it is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Counts {
    #[serde(skip_serializing_if = "is_zero")]
    total_duration: u64,
    #[serde(skip_serializing_if = "is_zero")]
    load_duration: u64,
    #[serde(skip_serializing_if = "is_zero")]
    prompt_eval_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    prompt_eval_duration: u64,
    #[serde(skip_serializing_if = "is_zero")]
    eval_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    eval_duration: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Nanoseconds, as all durations here.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl<'a> Line<'a> {
    /// A line with so much of thought and text. Both in one only where the reply is whole: LobeChat would lose the text.
    fn new(endpoint: Endpoint, model: &'a str, thinking: &'a str, text: &'a str) -> Line<'a> {
        let (message, response, thinking) = match endpoint {
            Endpoint::Chat => {
                let message = Message {
                    role: "assistant",
                    content: text,
                    thinking,
                    tool_calls: &[],
                };
                (Some(message), None, "")
            }
            Endpoint::Generate => (None, Some(text), thinking),
        };
        Line {
            model,
            created_at: rfc3339_nanos(SystemTime::now()),
            message,
            response,
            thinking,
            done: false,
            done_reason: None,
            context: &[],
            logprobs: &[],
            counts: Counts::default(),
        }
    }
}

/// The answer to a request that generates nothing, such as one that loads a model.
///
/// # Errors
/// As `json_response`.
pub(super) fn without_text(endpoint: Endpoint, model: &str, reason: &'static str) -> Result<Response, ApiError> {
    let mut line = Line::new(endpoint, model, "", "");
    (line.done, line.done_reason) = (true, Some(reason));
    whole(&line)
}

/// A line without text: lines have no comments, and empty ones break clients.
pub(super) fn sign_of_life(endpoint: Endpoint, model: &str) -> Option<Bytes> {
    let line = json::to_line(&Line::new(endpoint, model, "", "")).ok()?;
    Some(Framing::Lines.frame(&line))
}

fn whole(line: &Line<'_>) -> Result<Response, ApiError> {
    let mut response = json_response(line)?;
    let content_type = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    Ok(response)
}

impl Reply {
    /// Of a request that has been checked.
    pub(super) fn new(call: Call, model: &Lease, options: &Options, showing: Showing) -> Reply {
        let namer = options.sampling.logprobs.map(|_| TokenNamer {
            tokenizer: model.tokenizer.clone(),
            names: options.token_names,
        });
        Reply {
            call,
            model: options.model.clone().unwrap_or_else(|| model.card.id.clone()),
            shown: Shown::new(showing),
            context: None,
            namer,
            logprobs: Vec::new(),
            finish: None,
            calls: 0,
        }
    }

    /// At the end the client gets all tokens, those of the prompt first, to go on from.
    pub(super) fn with_context(mut self, prompt: Vec<u32>) -> Reply {
        self.context = Some(prompt);
        self
    }

    /// The parts that a step adds.
    fn take(&mut self, step: Step) -> Vec<Part> {
        if let Some(token) = step.token {
            if let Some(context) = &mut self.context {
                context.push(token.id);
            }
            self.logprobs
                .extend(self.namer.as_ref().map(|namer| namer.chat(&token)));
        }
        let mut parts = Vec::new();
        for piece in step.pieces {
            self.shown.show(piece, &mut parts);
        }
        for call in step.calls {
            self.shown.call(call, &mut parts);
        }
        if let Some(reason) = step.finish {
            self.shown.end(reason, &mut parts);
            self.finish = Some(reason);
        }
        parts
    }

    fn called(&mut self, call: ToolCall) -> Called {
        let index = self.calls;
        self.calls += 1;
        Called {
            id: call_id(),
            function: CalledFunction {
                index,
                name: call.name,
                arguments: call.arguments,
            },
        }
    }

    fn line<'a>(&'a self, thinking: &'a str, text: &'a str) -> Line<'a> {
        Line::new(self.call.endpoint, &self.model, thinking, text)
    }

    /// The last line, or the only one.
    fn last<'a>(&'a self, thinking: &'a str, text: &'a str, generation: &Generation) -> Line<'a> {
        let (usage, timings) = (generation.usage(), generation.timings());
        Line {
            done: true,
            done_reason: Some(match self.finish {
                // Ollama has no word for an end in a call.
                None | Some(FinishReason::ToolCalls) => FinishReason::Stop.as_str(),
                Some(reason) => reason.as_str(),
            }),
            context: self.context.as_deref().unwrap_or_default(),
            logprobs: &self.logprobs,
            counts: Counts {
                total_duration: nanos(self.call.arrived.elapsed()),
                load_duration: nanos(self.call.loaded - self.call.arrived),
                prompt_eval_count: usage.prompt_tokens as u64,
                prompt_eval_duration: nanos(timings.prompt),
                eval_count: usage.completion_tokens as u64,
                eval_duration: nanos(timings.output),
            },
            ..self.line(thinking, text)
        }
    }
}

impl Narrator for Reply {
    const FRAMING: Framing = Framing::Lines;

    async fn whole(mut self, mut generation: Generation) -> Result<Response, ApiError> {
        let (mut thinking, mut text, mut calls) = (String::new(), String::new(), Vec::new());
        while let Some(step) = generation.next().await? {
            for part in self.take(step) {
                match part {
                    Part::Thought(more) => thinking.push_str(&more),
                    Part::Answer(more) => text.push_str(&more),
                    Part::Call(call) => calls.push(self.called(call)),
                }
            }
        }
        let mut line = self.last(&thinking, &text, &generation);
        if let Some(message) = &mut line.message {
            message.tool_calls = &calls;
        }
        whole(&line)
    }

    fn begin(&mut self, _events: &mut Events) -> Result<(), ApiError> {
        Ok(())
    }

    fn step(&mut self, step: Step, events: &mut Events) -> Result<(), ApiError> {
        for part in self.take(step) {
            let (thinking, text, calls) = match part {
                Part::Thought(thinking) => (thinking, String::new(), None),
                Part::Answer(text) => (String::new(), text, None),
                Part::Call(call) => (String::new(), String::new(), Some(self.called(call))),
            };
            let logprobs = std::mem::take(&mut self.logprobs);
            let mut line = self.line(&thinking, &text);
            line.logprobs = &logprobs;
            if let Some(message) = &mut line.message {
                message.tool_calls = calls.as_slice();
            }
            events.push(&line)?;
        }
        Ok(())
    }

    /// Lines have no comments, and empty ones break clients: a line without text says as little.
    fn silence(&mut self, events: &mut Events) -> Result<(), ApiError> {
        events.push(&self.line("", ""))
    }

    fn usage(&mut self, generation: &Generation, events: &mut Events) -> Result<(), ApiError> {
        events.push(&self.last("", "", generation))
    }
}
