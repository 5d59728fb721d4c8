//! `POST /v1/chat/completions`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use chat::{Message, Piece, Start, Thinking, ToolCall};
use serde_json::Value;
use uuid::Uuid;

use super::Api;
use super::body::JsonBody;
use super::check::{self, ChatRequest, Delivery, Options, Showing};
use super::error::ApiError;
use super::framing::Framing;
use super::generation::{Generation, Step};
use super::logprobs::TokenNamer;
use super::sse::{Events, Narrator};
use super::submit::head;
use super::text::refused_text;
use super::wire::chat::{self as wire, Choice, ChunkChoice, Delta, Logprobs, TokenLogprob};
use super::wire::json::json_response;
use super::wire::reply::{Envelope, FinishReason, Head};
use super::wire::request::GenerateRequest;
use crate::http::RequestId;
use crate::roster::Lease;

/// Answers a conversation, whole or as a stream.
pub(crate) async fn create(
    State(api): State<Arc<Api>>,
    Extension(request_id): Extension<RequestId>,
    JsonBody(request): JsonBody<GenerateRequest>,
) -> Result<Response, ApiError> {
    let name = check::model(&request.model)?;
    let framing = check::streams(&request)?.then_some(Framing::Events);
    let answer = async move |api: Arc<Api>, model: Lease| {
        let ChatRequest {
            messages,
            thinking,
            showing,
            options,
        } = check::chat_request(request, &api.rules(&model))?;
        let tools = options.tools.offered.clone();
        let (prompt, start) = api.prompt(&model, messages, tools, thinking).await?;
        let submitted = api.submit(&model, vec![prompt], start, &options, request_id).await?;
        let reply = Reply::new(&model, showing, &options);
        api.deliver(submitted, reply, options.delivery).await
    };
    api.with_model(name, framing, answer).await
}

impl Api {
    /// The tokens of a conversation, and what the reply to it begins with. A model's name may ask for no thought.
    ///
    /// * `tools`  in OpenAI's form, only for a model that knows tools
    ///
    /// # Errors
    /// What the template or the tokenizer cannot take.
    pub(crate) async fn prompt(
        &self,
        model: &Lease,
        messages: Vec<Message>,
        tools: Vec<Value>,
        thinking: Thinking,
    ) -> Result<(Vec<u32>, Start), ApiError> {
        let thinking = asked_of(model, thinking);
        let model = model.clone();
        let start = start(&model, thinking);
        let encode = move || conversation_tokens(&model, &model.opening.before(messages), &tools, thinking);
        Ok((self.text_lane.run(encode).await?, start))
    }
}

/// Whether the model thinks after all: its name may ask for no thought.
pub(crate) fn asked_of(model: &Lease, thinking: Thinking) -> Thinking {
    if model.skips_thought {
        Thinking::Skipped
    } else {
        thinking
    }
}

/// What the reply to a prompt rendered so begins with.
pub(crate) fn start(model: &Lease, thinking: Thinking) -> Start {
    if model.template.starts_in_thought(thinking) {
        Start::Thought
    } else {
        Start::Answer
    }
}

/// The tokens of a whole conversation, its opening included. Takes milliseconds.
///
/// * `tools`  in OpenAI's form, only for a model that knows tools
///
/// # Errors
/// What the template or the tokenizer cannot take.
pub(crate) fn conversation_tokens(
    model: &Lease,
    messages: &[Message],
    tools: &[Value],
    thinking: Thinking,
) -> Result<Vec<u32>, ApiError> {
    let prompt = model.template.render_with_tools(messages, tools, thinking);
    let tokens = prompt.and_then(|prompt| model.tokenizer.encode_prompt(&prompt));
    tokens.map_err(|error| refused_text("messages", error))
}

/// A reply in the making, whole or streamed: the one place that decides what is thought, answer, or not shown.
struct Reply {
    head: Head,
    namer: TokenNamer,
    with_logprobs: bool,
    choices: Vec<ChoiceSoFar>,
}

/// What is known of one choice between its steps.
struct ChoiceSoFar {
    shown: Shown,
    /// Of tokens whose text is still held back.
    logprobs: Vec<TokenLogprob>,
    /// Calls of tools so far.
    calls: usize,
}

/// Some text as the client sees it.
pub(crate) enum Part {
    Thought(String),
    Answer(String),
    Call(ToolCall),
}

impl Reply {
    fn new(model: &Lease, showing: Showing, options: &Options) -> Reply {
        let object = match options.delivery {
            Delivery::Whole => "chat.completion",
            Delivery::Streamed { .. } => "chat.completion.chunk",
        };
        let choice = |_| ChoiceSoFar {
            shown: Shown::new(showing),
            logprobs: Vec::new(),
            calls: 0,
        };
        Reply {
            head: head(model, "chatcmpl", object, options),
            namer: TokenNamer {
                tokenizer: model.tokenizer.clone(),
                names: options.token_names,
            },
            with_logprobs: options.sampling.logprobs.is_some(),
            choices: (0..options.choices).map(choice).collect(),
        }
    }

    /// The parts that a step adds to its choice, and the log probabilities that are due with them.
    fn take(&mut self, step: Step) -> (Vec<Part>, Vec<TokenLogprob>) {
        let Some(choice) = self.choices.get_mut(step.choice) else {
            return (Vec::new(), Vec::new());
        };
        if let Some(token) = step.token.filter(|_| self.with_logprobs) {
            choice.logprobs.push(self.namer.chat(&token));
        }
        let mut parts = Vec::new();
        step.pieces
            .into_iter()
            .for_each(|piece| choice.shown.show(piece, &mut parts));
        for call in step.calls {
            choice.shown.call(call, &mut parts);
        }
        if let Some(reason) = step.finish {
            choice.shown.end(reason, &mut parts);
        }
        let is_due = !parts.is_empty() || step.finish.is_some();
        (
            parts,
            if is_due {
                std::mem::take(&mut choice.logprobs)
            } else {
                Vec::new()
            },
        )
    }

    /// The place of a choice's next call among its calls.
    fn next_call(&mut self, index: usize) -> Option<usize> {
        let calls = &mut self.choices.get_mut(index)?.calls;
        *calls += 1;
        Some(*calls - 1)
    }

    fn push(
        &self,
        events: &mut Events,
        index: usize,
        delta: Delta,
        logprobs: Vec<TokenLogprob>,
        finish_reason: Option<FinishReason>,
    ) -> Result<(), ApiError> {
        let logprobs = (!logprobs.is_empty()).then_some(Logprobs { content: logprobs });
        let choice = ChunkChoice {
            index,
            delta,
            logprobs,
            finish_reason,
        };
        events.push(&Envelope {
            head: &self.head,
            choices: &[choice],
            usage: None,
        })
    }
}

impl Narrator for Reply {
    async fn whole(mut self, mut generation: Generation) -> Result<Response, ApiError> {
        let choice = |index| Choice {
            index,
            message: wire::Message {
                role: "assistant",
                content: String::new(),
                refusal: None,
                reasoning_content: String::new(),
                tool_calls: Vec::new(),
            },
            logprobs: self.with_logprobs.then(Logprobs::default),
            finish_reason: FinishReason::Stop,
        };
        let mut choices: Vec<Choice> = (0..self.choices.len()).map(choice).collect();
        while let Some(step) = generation.next().await? {
            let (index, finish) = (step.choice, step.finish);
            let (parts, logprobs) = self.take(step);
            let Some(choice) = choices.get_mut(index) else {
                continue;
            };
            for part in parts {
                match part {
                    Part::Thought(text) => choice.message.reasoning_content.push_str(&text),
                    Part::Answer(text) => choice.message.content.push_str(&text),
                    Part::Call(call) => choice.message.tool_calls.push(called(call, None)),
                }
            }
            if let Some(all) = &mut choice.logprobs {
                all.content.extend(logprobs);
            }
            choice.finish_reason = finish.unwrap_or(choice.finish_reason);
        }
        json_response(&Envelope {
            head: &self.head,
            choices: &choices,
            usage: Some(generation.usage()),
        })
    }

    fn begin(&mut self, events: &mut Events) -> Result<(), ApiError> {
        (0..self.choices.len()).try_for_each(|index| {
            self.push(
                events,
                index,
                Delta::Role {
                    role: "assistant",
                    content: "",
                },
                Vec::new(),
                None,
            )
        })
    }

    fn step(&mut self, step: Step, events: &mut Events) -> Result<(), ApiError> {
        let (index, finish) = (step.choice, step.finish);
        let (parts, mut logprobs) = self.take(step);
        for part in parts {
            let delta = match part {
                Part::Thought(text) => Delta::Thought {
                    reasoning_content: text,
                },
                Part::Answer(text) => Delta::Answer { content: text },
                Part::Call(call) => Delta::Calls {
                    tool_calls: [called(call, self.next_call(index))],
                },
            };
            self.push(events, index, delta, std::mem::take(&mut logprobs), None)?;
        }
        match finish {
            Some(_) => self.push(events, index, Delta::Nothing {}, logprobs, finish),
            None => Ok(()),
        }
    }

    fn usage(&mut self, generation: &Generation, events: &mut Events) -> Result<(), ApiError> {
        events.push(&Envelope::<ChunkChoice> {
            head: &self.head,
            choices: &[],
            usage: Some(generation.usage()),
        })
    }
}

/// A call as the wire has it.
fn called(call: ToolCall, index: Option<usize>) -> wire::ToolCall {
    wire::ToolCall {
        index,
        id: call_id(),
        r#type: "function",
        function: wire::CalledFunction {
            name: call.name,
            arguments: call.arguments.to_string(),
        },
    }
}

/// `call_` and eight letters or digits, by which the tool's result will name the call.
pub(crate) fn call_id() -> String {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let bytes = Uuid::new_v4().into_bytes();
    let letter = |byte: &u8| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]);
    format!("call_{}", bytes.iter().rev().take(8).map(letter).collect::<String>())
}

/// How the thought of one choice is shown.
pub(crate) struct Shown {
    showing: Showing,
    tags: Tags,
}

/// Which think tags have been written into the answer.
#[derive(PartialEq)]
enum Tags {
    None,
    Opened,
    Closed,
}

impl Shown {
    /// Of a reply that begins.
    pub(crate) fn new(showing: Showing) -> Shown {
        Shown {
            showing,
            tags: Tags::None,
        }
    }

    /// Adds what is seen of a piece.
    pub(crate) fn show(&mut self, piece: Piece, parts: &mut Vec<Part>) {
        match (self.showing, piece) {
            (Showing::Split, Piece::Thought(text)) => parts.push(Part::Thought(text)),
            (Showing::Hidden, Piece::Thought(_)) => {}
            (Showing::Inline, Piece::Thought(text)) => {
                // Tags are parts of their own: LobeChat finds only whole ones, alone in their chunk.
                if self.tags == Tags::None {
                    self.tags = Tags::Opened;
                    parts.push(Part::Answer("<think>\n".to_owned()));
                }
                parts.push(Part::Answer(text));
            }
            (_, Piece::Answer(text)) => {
                self.close(parts);
                parts.push(Part::Answer(text));
            }
        }
    }

    /// A call is no text: tags that are open end before it.
    pub(crate) fn call(&mut self, call: ToolCall, parts: &mut Vec<Part>) {
        self.close(parts);
        parts.push(Part::Call(call));
    }

    /// A reply that ends by itself inside the thought leaves no tag open; one that was cut shows where.
    pub(crate) fn end(&mut self, reason: FinishReason, parts: &mut Vec<Part>) {
        if reason == FinishReason::Stop {
            self.close(parts);
        }
    }

    fn close(&mut self, parts: &mut Vec<Part>) {
        if self.tags == Tags::Opened {
            self.tags = Tags::Closed;
            parts.push(Part::Answer("\n</think>\n\n".to_owned()));
        }
    }
}
