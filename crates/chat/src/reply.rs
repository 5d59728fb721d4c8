//! Turns generated tokens into pieces of thought and answer.

use crate::stop::StopScanner;
use crate::tokenizer::{ThinkTokens, Tokenizer};
use crate::utf8::Utf8Decoder;

/// Where a reply begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Inside a thought: the prompt ended in `<think>\n`.
    Thought,
    /// In the answer. A model that opens a thought all the same is let into it.
    Answer,
    /// Nowhere: plain text, tags included.
    Raw,
}

/// Some text of a reply; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Reasoning.
    Thought(String),
    /// What the user asked for.
    Answer(String),
}

/// Decodes one reply, token by token.
///
/// The pieces joined depend on the generated text alone, not on how tokens cut it. A thought ends at the `</think>`
/// token (in a vocabulary without one: at the word). White space at either end of the thought and at the start of the
/// answer is dropped; so is a `<think>` that opens the thought again. Stop strings count in the answer. Control tokens
/// are not shown.
pub struct ReplyDecoder {
    tokenizer: Tokenizer,
    think: Option<ThinkTokens>,
    state: State,
    utf8: Utf8Decoder,
    stop: StopScanner,
    close: StopScanner,
    /// White space at the end of the thought so far.
    space: String,
    thought_tokens: usize,
}

/// What the next character belongs to. `fresh`: no character of it has come yet, white space aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Thought { fresh: bool },
    Answer { fresh: bool },
    Raw,
    Stopped,
}

impl ReplyDecoder {
    /// Starts a reply; `stop` are the strings that end it.
    pub fn new(tokenizer: &Tokenizer, start: Start, stop: &[String]) -> ReplyDecoder {
        let think = tokenizer.think_tokens();
        let close = if think.is_none() {
            vec!["</think>".to_owned()]
        } else {
            Vec::new()
        };
        ReplyDecoder {
            tokenizer: tokenizer.clone(),
            think,
            state: match start {
                Start::Thought => State::Thought { fresh: true },
                Start::Answer => State::Answer { fresh: true },
                Start::Raw => State::Raw,
            },
            utf8: Utf8Decoder::default(),
            stop: StopScanner::new(stop),
            close: StopScanner::new(&close),
            space: String::new(),
            thought_tokens: 0,
        }
    }

    /// Takes the next token; gives what can be shown now, a thought before an answer.
    pub fn push(&mut self, token: u32) -> Vec<Piece> {
        let mut out = Pieces::default();
        if matches!(self.state, State::Thought { .. }) {
            self.thought_tokens += 1;
        }
        if !self.is_tag(token, &mut out) {
            let mut text = String::new();
            self.utf8
                .push(shown_bytes(&self.tokenizer, self.think, token), &mut text);
            self.take(&text, &mut out);
        }
        out.into_vec()
    }

    /// Ends the reply: gives what was held back.
    pub fn finish(&mut self) -> Vec<Piece> {
        let mut out = Pieces::default();
        self.end_character(&mut out);
        match self.state {
            State::Thought { fresh } => {
                let mut text = String::new();
                self.close.release(&mut text);
                self.take_thought(&text, fresh, &mut out);
            }
            State::Answer { .. } | State::Raw => self.stop.release(&mut out.answer),
            State::Stopped => {}
        }
        self.state = State::Stopped;
        out.into_vec()
    }

    /// Whether a stop string has come: nothing more will be shown.
    pub fn stopped(&self) -> bool {
        self.state == State::Stopped
    }

    /// Tokens spent on the thought, `</think>` included.
    pub fn thought_tokens(&self) -> usize {
        self.thought_tokens
    }

    /// Handles a think tag where it is one; elsewhere it is text like any other.
    fn is_tag(&mut self, token: u32, out: &mut Pieces) -> bool {
        let Some(think) = self
            .think
            .filter(|think| token == think.open || token == think.close)
        else {
            return false;
        };
        self.end_character(out);
        let opens = token == think.open;
        self.state = match self.state {
            State::Thought { fresh: true } if opens => State::Thought { fresh: true },
            State::Thought { .. } if !opens => State::Answer { fresh: true },
            State::Answer { fresh: true } if opens && self.thought_tokens == 0 => {
                self.thought_tokens = 1;
                State::Thought { fresh: true }
            }
            _ => return false,
        };
        self.space.clear();
        true
    }

    /// A character that has begun cannot go on behind a tag or the end.
    fn end_character(&mut self, out: &mut Pieces) {
        let mut text = String::new();
        self.utf8.finish(&mut text);
        self.take(&text, out);
    }

    fn take(&mut self, text: &str, out: &mut Pieces) {
        match self.state {
            State::Thought { fresh } => {
                let mut inside = String::new();
                let behind = self.close.push(text, &mut inside);
                self.take_thought(&inside, fresh, out);
                if let Some(behind) = behind {
                    self.space.clear();
                    self.state = State::Answer { fresh: true };
                    self.take(behind, out);
                }
            }
            State::Answer { fresh: true } => {
                let text = text.trim_start();
                if !text.is_empty() {
                    self.state = State::Answer { fresh: false };
                    self.take(text, out);
                }
            }
            State::Answer { fresh: false } | State::Raw => {
                if self.stop.push(text, &mut out.answer).is_some() {
                    self.state = State::Stopped;
                }
            }
            State::Stopped => {}
        }
    }

    fn take_thought(&mut self, text: &str, fresh: bool, out: &mut Pieces) {
        let text = if fresh { text.trim_start() } else { text };
        let shown = text.trim_end();
        if !shown.is_empty() {
            self.state = State::Thought { fresh: false };
            out.thought.push_str(&self.space);
            out.thought.push_str(shown);
            self.space.clear();
        }
        self.space.push_str(&text[shown.len()..]);
    }
}

/// What a reader sees of a token: nothing of control tokens; of think tags, where they are text, the tag.
fn shown_bytes(tokenizer: &Tokenizer, think: Option<ThinkTokens>, token: u32) -> &[u8] {
    let is_tag = think.is_some_and(|think| token == think.open || token == think.close);
    if tokenizer.is_control(token) && !is_tag {
        &[]
    } else {
        tokenizer.token_bytes(token)
    }
}

/// What one token brought.
#[derive(Default)]
struct Pieces {
    thought: String,
    answer: String,
}

impl Pieces {
    fn into_vec(self) -> Vec<Piece> {
        let thought = (!self.thought.is_empty()).then_some(Piece::Thought(self.thought));
        let answer = (!self.answer.is_empty()).then_some(Piece::Answer(self.answer));
        thought.into_iter().chain(answer).collect()
    }
}
