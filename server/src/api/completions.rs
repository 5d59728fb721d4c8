//! `POST /v1/completions`: goes on from a text or from token ids, without template and without think split.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use chat::{Piece, Start};

use super::Api;
use super::body::JsonBody;
use super::check::{self, CompletionRequest, Options, PromptSource};
use super::error::ApiError;
use super::framing::Framing;
use super::generation::{Generation, Step};
use super::logprobs::TokenNamer;
use super::sse::{Events, Narrator};
use super::submit::head;
use super::text::refused_text;
use super::wire::completion::{Choice, Logprobs};
use super::wire::json::json_response;
use super::wire::reply::{Envelope, Head};
use super::wire::request::GenerateRequest;
use crate::http::RequestId;
use crate::roster::Lease;

/// Goes on from one or several prompts, whole or as a stream.
pub(crate) async fn create(
    State(api): State<Arc<Api>>,
    Extension(request_id): Extension<RequestId>,
    JsonBody(request): JsonBody<GenerateRequest>,
) -> Result<Response, ApiError> {
    let name = check::model(&request.model)?;
    let framing = check::streams(&request)?.then_some(Framing::Events);
    let answer = async move |api: Arc<Api>, model: Lease| {
        let CompletionRequest { prompts, options } = check::completion_request(request, &api.rules(&model))?;
        let encoding = model.clone();
        let encode = move || {
            let each = |prompt| match prompt {
                PromptSource::Ids(ids) => Ok(ids),
                PromptSource::Text(text) => encoding
                    .tokenizer
                    .encode_with_bos(&text)
                    .map_err(|error| refused_text("prompt", error)),
            };
            prompts.into_iter().map(each).collect()
        };
        let prompts: Vec<Vec<u32>> = api.text_lane.run(encode).await?;
        let choices = prompts.len() * options.choices;
        let submitted = api.submit(&model, prompts, Start::Raw, &options, request_id).await?;
        let reply = Reply::new(&model, choices, &options);
        api.deliver(submitted, reply, options.delivery).await
    };
    api.with_model(name, framing, answer).await
}

/// A reply in the making, whole or streamed.
struct Reply {
    head: Head,
    namer: TokenNamer,
    with_logprobs: bool,
    /// Characters of each choice's text so far, for `text_offset`.
    characters: Vec<usize>,
}

impl Reply {
    fn new(model: &Lease, choices: usize, options: &Options) -> Reply {
        Reply {
            head: head(model, "cmpl", "text_completion", options),
            namer: TokenNamer {
                tokenizer: model.tokenizer.clone(),
                names: options.token_names,
            },
            with_logprobs: options.sampling.logprobs.is_some(),
            characters: vec![0; choices],
        }
    }

    fn choice(&self, index: usize) -> Choice {
        let logprobs = self.with_logprobs.then(Logprobs::default);
        Choice {
            index,
            text: String::new(),
            logprobs,
            finish_reason: None,
        }
    }

    /// Adds a step to a choice, the whole of it or a streamed event.
    fn take(&mut self, step: Step, choice: &mut Choice) {
        for piece in step.pieces {
            let (Piece::Thought(text) | Piece::Answer(text)) = piece;
            choice.text.push_str(&text);
        }
        if let (Some(token), Some(logprobs)) = (&step.token, &mut choice.logprobs)
            && let Some(characters) = self.characters.get_mut(step.choice)
        {
            self.namer.completion(token, characters, logprobs);
        }
        choice.finish_reason = choice.finish_reason.or(step.finish);
    }

    fn push(&self, choice: Choice, events: &mut Events) -> Result<(), ApiError> {
        events.push(&Envelope {
            head: &self.head,
            choices: &[choice],
            usage: None,
        })
    }
}

/// One event per generated token, even where its text is empty, so that a client can count and time them; the reason of
/// the end comes in an event of its own.
impl Narrator for Reply {
    async fn whole(mut self, mut generation: Generation) -> Result<Response, ApiError> {
        let mut choices: Vec<Choice> = (0..self.characters.len()).map(|index| self.choice(index)).collect();
        while let Some(step) = generation.next().await? {
            if let Some(choice) = choices.get_mut(step.choice) {
                self.take(step, choice);
            }
        }
        json_response(&Envelope {
            head: &self.head,
            choices: &choices,
            usage: Some(generation.usage()),
        })
    }

    fn begin(&mut self, _events: &mut Events) -> Result<(), ApiError> {
        Ok(())
    }

    fn step(&mut self, step: Step, events: &mut Events) -> Result<(), ApiError> {
        let index = step.choice;
        let finish = if step.token.is_some() { step.finish } else { None };
        let mut choice = self.choice(index);
        self.take(step, &mut choice);
        if finish.is_some() {
            choice.finish_reason = None;
            self.push(choice, events)?;
            choice = self.choice(index);
            choice.finish_reason = finish;
        }
        self.push(choice, events)
    }

    fn usage(&mut self, generation: &Generation, events: &mut Events) -> Result<(), ApiError> {
        events.push(&Envelope::<Choice> {
            head: &self.head,
            choices: &[],
            usage: Some(generation.usage()),
        })
    }
}
