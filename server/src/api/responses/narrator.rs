//! A response in the making: thought and answer become items, one open at a time, told whole or event by event.

use axum::response::Response;
use chat::Piece;
use uuid::Uuid;

use super::check::Asked;
use super::wire::{Beginning, Event, Failure, Incomplete, Item, Part, ResponseObject, Status};
use crate::api::check::Options;
use crate::api::error::ApiError;
use crate::api::framing::Framing;
use crate::api::generation::{Generation, Step};
use crate::api::sse::{Events, Narrator};
use crate::api::submit::head;
use crate::api::wire::json::json_response;
use crate::api::wire::reply::FinishReason;
use crate::roster::Lease;

/// What is known of the response so far.
pub(super) struct Reply {
    response: ResponseObject,
    open: Option<Open>,
    events_told: u64,
}

/// The item that is being written.
struct Open {
    kind: Kind,
    id: String,
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Thought,
    Answer,
}

/// The names of the events of one kind of item.
struct Names {
    part_added: &'static str,
    delta: &'static str,
    text_done: &'static str,
    part_done: &'static str,
}

impl Kind {
    fn names(self) -> &'static Names {
        match self {
            Kind::Thought => &Names {
                part_added: "response.reasoning_summary_part.added",
                delta: "response.reasoning_summary_text.delta",
                text_done: "response.reasoning_summary_text.done",
                part_done: "response.reasoning_summary_part.done",
            },
            Kind::Answer => &Names {
                part_added: "response.content_part.added",
                delta: "response.output_text.delta",
                text_done: "response.output_text.done",
                part_done: "response.content_part.done",
            },
        }
    }

    fn part(self, text: &str) -> Part {
        let text = text.to_owned();
        match self {
            Kind::Thought => Part::SummaryText { text },
            Kind::Answer => Part::OutputText {
                text,
                annotations: [],
                logprobs: [],
            },
        }
    }
}

impl Open {
    fn new(kind: Kind) -> Open {
        let prefix = match kind {
            Kind::Thought => "rs",
            Kind::Answer => "msg",
        };
        Open {
            kind,
            id: format!("{prefix}_{}", Uuid::new_v4().simple()),
            text: String::new(),
        }
    }

    /// The item with its one part, or as it begins, without.
    fn item(&self, status: Status) -> Item {
        let parts = match status {
            Status::InProgress => Vec::new(),
            _ => vec![self.kind.part(&self.text)],
        };
        let id = self.id.clone();
        match self.kind {
            Kind::Thought => Item::Reasoning {
                id,
                status,
                summary: parts,
            },
            Kind::Answer => Item::Message {
                id,
                status,
                role: "assistant",
                content: parts,
            },
        }
    }

    /// An event about the text of the item at `output_index`.
    fn event(&self, r#type: &'static str, output_index: usize) -> Event<'_> {
        let is_thought = self.kind == Kind::Thought;
        Event {
            r#type,
            output_index: Some(output_index),
            item_id: Some(&self.id),
            summary_index: is_thought.then_some(0),
            content_index: (!is_thought).then_some(0),
            ..Event::default()
        }
    }
}

impl Reply {
    pub(super) fn new(model: &Lease, asked: Asked, options: &Options) -> Reply {
        let head = head(model, "resp", "response", options);
        let beginning = Beginning {
            id: format!("resp_{}", Uuid::new_v4().simple()),
            created_at: head.created,
            model: head.model,
            temperature: options.sampling.temperature,
            top_p: options.sampling.top_p,
        };
        Reply {
            response: ResponseObject::begun(beginning, asked),
            open: None,
            events_told: 0,
        }
    }

    /// Puts the response as it is now into an event.
    fn tell_response(&mut self, r#type: &'static str, events: &mut Events) -> Result<(), ApiError> {
        let event = Event {
            r#type,
            response: Some(&self.response),
            ..Event::default()
        };
        tell(&mut self.events_told, event, events)
    }

    /// Puts more text into the item of its kind; another kind's is closed first.
    fn write(&mut self, kind: Kind, text: &str, events: &mut Events) -> Result<(), ApiError> {
        if self.open.as_ref().is_some_and(|open| open.kind != kind) {
            self.close(Status::Completed, events)?;
        }
        let (told, index, names) = (&mut self.events_told, self.response.output.len(), kind.names());
        if self.open.is_none() {
            let open = self.open.insert(Open::new(kind));
            let added = Event {
                r#type: "response.output_item.added",
                output_index: Some(index),
                item: Some(&open.item(Status::InProgress)),
                ..Event::default()
            };
            tell(told, added, events)?;
            let part = Event {
                part: Some(&kind.part("")),
                ..open.event(names.part_added, index)
            };
            tell(told, part, events)?;
        }
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        open.text.push_str(text);
        let delta = Event {
            delta: Some(text),
            logprobs: (kind == Kind::Answer).then_some([]),
            ..open.event(names.delta, index)
        };
        tell(told, delta, events)
    }

    /// Ends the item that is open, if one is.
    fn close(&mut self, status: Status, events: &mut Events) -> Result<(), ApiError> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let (told, index, names) = (&mut self.events_told, self.response.output.len(), open.kind.names());
        let text = Event {
            text: Some(&open.text),
            logprobs: (open.kind == Kind::Answer).then_some([]),
            ..open.event(names.text_done, index)
        };
        tell(told, text, events)?;
        let part = Event {
            part: Some(&open.kind.part(&open.text)),
            ..open.event(names.part_done, index)
        };
        tell(told, part, events)?;
        let item = open.item(status);
        let done = Event {
            r#type: "response.output_item.done",
            output_index: Some(index),
            item: Some(&item),
            ..Event::default()
        };
        tell(told, done, events)?;
        self.response.output.push(item);
        Ok(())
    }
}

/// Sends an event under the next number.
fn tell(told: &mut u64, mut event: Event<'_>, events: &mut Events) -> Result<(), ApiError> {
    event.sequence_number = *told;
    *told += 1;
    events.push_named(event.r#type, &event)
}

impl Narrator for Reply {
    const FRAMING: Framing = Framing::NamedEvents;

    async fn whole(mut self, mut generation: Generation) -> Result<Response, ApiError> {
        while let Some(step) = generation.next().await? {
            // Nobody hears the events.
            self.step(step, &mut Events::new(Self::FRAMING))?;
        }
        self.usage(&generation, &mut Events::new(Self::FRAMING))?;
        json_response(&self.response)
    }

    fn begin(&mut self, events: &mut Events) -> Result<(), ApiError> {
        self.tell_response("response.created", events)?;
        self.tell_response("response.in_progress", events)
    }

    fn step(&mut self, step: Step, events: &mut Events) -> Result<(), ApiError> {
        for piece in step.pieces {
            match piece {
                Piece::Thought(text) => self.write(Kind::Thought, &text, events)?,
                Piece::Answer(text) => self.write(Kind::Answer, &text, events)?,
            }
        }
        match step.finish {
            None => Ok(()),
            Some(FinishReason::Length) => {
                self.response.status = Status::Incomplete;
                self.response.incomplete_details = Some(Incomplete {
                    reason: "max_output_tokens",
                });
                self.close(Status::Incomplete, events)
            }
            Some(FinishReason::Stop | FinishReason::ToolCalls) => {
                self.response.status = Status::Completed;
                self.close(Status::Completed, events)
            }
        }
    }

    fn usage(&mut self, generation: &Generation, events: &mut Events) -> Result<(), ApiError> {
        self.response.usage = Some(generation.usage().into());
        let last = match self.response.status {
            Status::Incomplete => "response.incomplete",
            _ => "response.completed",
        };
        self.tell_response(last, events)
    }

    fn broken(&mut self, error: ApiError, events: &mut Events) -> Result<(), ApiError> {
        self.response.status = Status::Failed;
        self.response.error = Some(Failure {
            code: "server_error",
            message: error.to_string(),
        });
        self.tell_response("response.failed", events)
    }
}
