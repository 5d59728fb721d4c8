//! One answer on its way through a grammar: what may come next, token by token.

use super::{Branch, Grammar};
use crate::{ChatError, Tokenizer};

/// Tokens of white space that may stand between the thought and the answer.
const SPACES_MAX: usize = 2;
const CLOSE: &[u8] = b"</think>";

/// What may come next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permit {
    /// Any token but an end: the grammar has not begun.
    Anything,
    /// These tokens.
    Only {
        /// 32 tokens each, the lowest id in the lowest bit. End tokens mean nothing here.
        words: Vec<u32>,
        /// Whether the answer may end.
        end: bool,
    },
}

/// Where one answer is in its grammar. A copy goes its own way.
pub struct GrammarState {
    tokenizer: Tokenizer,
    place: Place,
    /// White space that may still come before the answer.
    spaces: usize,
    /// The ways that are still open.
    branches: Vec<Branch>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// In the thought; the bytes that could begin its closing word, where that is not a token.
    Thought(Vec<u8>),
    /// Before the token with this index of the opening.
    Opening(usize),
    /// In the JSON of the one way that is left.
    Json,
    /// Before the token with this index of the closing.
    Closing(usize),
}

impl Clone for GrammarState {
    fn clone(&self) -> Self {
        GrammarState {
            tokenizer: self.tokenizer.clone(),
            place: self.place.clone(),
            spaces: self.spaces,
            branches: self.branches.iter().map(Branch::copy).collect(),
        }
    }
}

impl std::fmt::Debug for GrammarState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrammarState")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl GrammarState {
    pub(super) fn new(grammar: &Grammar, in_thought: bool) -> GrammarState {
        let mut state = GrammarState {
            tokenizer: grammar.tokenizer.clone(),
            place: Place::Thought(Vec::new()),
            spaces: 0,
            branches: grammar.branches.iter().map(Branch::copy).collect(),
        };
        if !in_thought {
            state.open(0);
        }
        state
    }

    /// What may come next. The same answer until [`GrammarState::accept`].
    ///
    /// # Errors
    /// `GrammarFailed` when the parser is over its limits.
    pub fn allow(&mut self) -> Result<Permit, ChatError> {
        let mut words = vec![0; self.tokenizer.vocabulary_size().div_ceil(32)];
        let mut end = false;
        match self.place {
            Place::Thought(_) => return Ok(Permit::Anything),
            Place::Opening(index) => {
                let next = self.branches.iter().filter_map(|branch| branch.opening.get(index));
                next.for_each(|token| set(&mut words, *token));
            }
            Place::Json => {
                if let Some(branch) = self.branches.first_mut() {
                    let complete = branch.is_complete()?;
                    if !branch.json.is_stopped() {
                        let mask = branch.json.compute_mask().map_err(failed)?;
                        words
                            .iter_mut()
                            .zip(mask.as_slice())
                            .for_each(|(word, more)| *word = *more);
                    }
                    match branch.closing.first() {
                        Some(token) if complete => set(&mut words, *token),
                        Some(_) => {}
                        None => end = complete,
                    }
                }
            }
            Place::Closing(index) => match self.branches.first().and_then(|branch| branch.closing.get(index)) {
                Some(token) => set(&mut words, *token),
                None => end = true,
            },
        }
        if self.spaces > 0 {
            self.tokenizer
                .space_tokens()
                .iter()
                .for_each(|token| set(&mut words, *token));
        }
        Ok(Permit::Only { words, end })
    }

    /// Hears which token was chosen; never an end token.
    ///
    /// # Errors
    /// `GrammarFailed` for a token that was not allowed, or when the parser is over its limits.
    pub fn accept(&mut self, token: u32) -> Result<(), ChatError> {
        if self.spaces > 0 {
            if self.tokenizer.space_tokens().binary_search(&token).is_ok() {
                self.spaces -= 1;
                return Ok(());
            }
            self.spaces = 0;
        }
        match &mut self.place {
            Place::Thought(begun) => {
                let ended = match self.tokenizer.think_tokens() {
                    Some(think) => token == think.close,
                    None => closes(begun, self.tokenizer.token_bytes(token)),
                };
                if ended {
                    self.open(SPACES_MAX);
                }
            }
            Place::Opening(index) => {
                let index = *index;
                self.branches.retain(|branch| branch.opening.get(index) == Some(&token));
                if self.branches.is_empty() {
                    return Err(unexpected(token));
                }
                self.open_from(index + 1);
            }
            Place::Json => {
                let Some(branch) = self.branches.first_mut() else {
                    return Err(unexpected(token));
                };
                if branch.closing.first() == Some(&token) && branch.is_complete()? {
                    self.place = Place::Closing(1);
                } else {
                    branch.json.consume_token(token).map_err(failed)?;
                }
            }
            Place::Closing(index) => {
                let expected = self.branches.first().and_then(|branch| branch.closing.get(*index));
                if expected != Some(&token) {
                    return Err(unexpected(token));
                }
                *index += 1;
            }
        }
        Ok(())
    }

    /// The answer begins.
    fn open(&mut self, spaces: usize) {
        self.spaces = spaces;
        self.open_from(0);
    }

    /// Goes on in the openings, or in the JSON of the way whose opening is said.
    fn open_from(&mut self, index: usize) {
        match self.branches.iter().position(|branch| branch.opening.len() <= index) {
            Some(chosen) => {
                self.branches.swap(0, chosen);
                self.branches.truncate(1);
                self.place = Place::Json;
            }
            None => self.place = Place::Opening(index),
        }
    }
}

impl Branch {
    /// Whether the JSON could end here.
    fn is_complete(&mut self) -> Result<bool, ChatError> {
        if self.json.is_stopped() && !self.json.is_error() {
            return Ok(true);
        }
        self.json.is_accepting().map_err(failed)
    }
}

fn set(words: &mut [u32], token: u32) {
    if let Some(word) = words.get_mut(token as usize / 32) {
        *word |= 1 << (token % 32);
    }
}

/// Whether the thought's closing word ends in `bytes`; else remembers what could still become it.
fn closes(begun: &mut Vec<u8>, bytes: &[u8]) -> bool {
    begun.extend_from_slice(bytes);
    if begun.windows(CLOSE.len()).any(|window| window == CLOSE) {
        return true;
    }
    let kept = begun.len().min(CLOSE.len() - 1);
    begun.drain(..begun.len() - kept);
    false
}

fn failed(error: impl std::fmt::Display) -> ChatError {
    ChatError::GrammarFailed(super::factory::reason(&error.to_string()))
}

fn unexpected(token: u32) -> ChatError {
    ChatError::GrammarFailed(format!("token {token} was not allowed"))
}
