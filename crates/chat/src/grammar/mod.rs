//! Answers of a promised form: JSON, JSON of a schema, a call of a tool.
//!
//! A [`Grammar`] is what a request asks for; a [`GrammarState`] walks through one answer and says before every token
//! which may come. The parser is llguidance's; around it stand the thought, in which everything may be said, and the tags
//! of a tool call. A grammar's text is made of ordinary tokens only: no control token can come out of it.

mod bounds;
mod closed;
mod factory;
mod state;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use llguidance::Matcher;
use serde_json::{Map, Value, json};

pub(crate) use factory::GrammarFactory;
pub use state::{GrammarState, Permit};

use crate::{ChatError, Start, Tokenizer};

/// White space between JSON's parts: at most a space, or a line's end and its indentation, so that none goes on forever.
const WHITE_SPACE: &str = r"[\x20]|\r?\n[\x20\x09]{0,40}";

/// A form that answers can be held to. Cheap to clone.
#[derive(Clone)]
pub struct Grammar {
    tokenizer: Tokenizer,
    branches: Arc<[Branch]>,
}

/// One way through a grammar: tokens as they are, JSON, tokens as they are.
struct Branch {
    opening: Arc<[u32]>,
    json: Matcher,
    closing: Arc<[u32]>,
}

impl Branch {
    /// Another one that shares nothing which could make one answer depend on another.
    fn copy(&self) -> Branch {
        Branch {
            opening: Arc::clone(&self.opening),
            json: self.json.deep_clone(),
            closing: Arc::clone(&self.closing),
        }
    }
}

/// Text around JSON: special tokens by id.
pub(crate) struct Frame {
    pub(crate) opening: Vec<u32>,
    pub(crate) closing: Vec<u32>,
    /// Whose schema it is, for errors.
    pub(crate) name: Option<String>,
    /// What the JSON between them must be.
    pub(crate) schema: Value,
}

impl Grammar {
    /// Any JSON object.
    ///
    /// # Errors
    /// `BadSchema` if the vocabulary cannot write JSON.
    pub fn json_object(tokenizer: &Tokenizer) -> Result<Grammar, ChatError> {
        Grammar::json_schema(tokenizer, &json!({ "type": "object" }))
    }

    /// JSON that this schema allows. An object that lists its properties has no others unless it says that it may.
    ///
    /// # Errors
    /// `BadSchema` for one that is too large, allows nothing, or asks for what cannot be held to, and why.
    pub fn json_schema(tokenizer: &Tokenizer, schema: &Value) -> Result<Grammar, ChatError> {
        let frame = Frame {
            opening: Vec::new(),
            closing: Vec::new(),
            name: None,
            schema: schema.clone(),
        };
        Grammar::framed(tokenizer, vec![frame])
    }

    /// One of several frames, with its JSON between.
    pub(crate) fn framed(tokenizer: &Tokenizer, frames: Vec<Frame>) -> Result<Grammar, ChatError> {
        let branch = |frame: Frame| {
            let json = matcher(tokenizer, frame.schema).map_err(|error| match (error, &frame.name) {
                (ChatError::BadSchema(reason), Some(name)) => {
                    ChatError::BadSchema(format!("in the parameters of `{name}`: {reason}"))
                }
                (error, _) => error,
            })?;
            Ok(Branch {
                opening: frame.opening.into(),
                json,
                closing: frame.closing.into(),
            })
        };
        let branches: Result<Vec<Branch>, ChatError> = frames.into_iter().map(branch).collect();
        Ok(Grammar {
            tokenizer: tokenizer.clone(),
            branches: branches?.into(),
        })
    }

    /// The state before an answer's first token. In a thought the grammar waits for its end.
    #[must_use]
    pub fn begin(&self, start: Start) -> GrammarState {
        GrammarState::new(self, start == Start::Thought)
    }
}

/// The parser of one schema, with its first mask computed: what is too hard shows here and not in the answer.
fn matcher(tokenizer: &Tokenizer, schema: Value) -> Result<Matcher, ChatError> {
    bounds::check(&schema)?;
    let mut schema = match schema {
        Value::Object(schema) => schema,
        Value::Bool(true) => Map::new(),
        Value::Bool(false) => return Err(ChatError::BadSchema("it is `false`, which allows nothing".into())),
        _ => return Err(ChatError::BadSchema("it must be an object".into())),
    };
    closed::drop_idle(&mut schema);
    // Our own, whatever the client wrote there.
    schema.insert("x-guidance".into(), json!({ "whitespace_pattern": WHITE_SPACE }));
    if closed::has_one_of(&schema) {
        compiled(tokenizer, schema.clone())?;
    }
    compiled(tokenizer, closed::closed(schema))
}

fn compiled(tokenizer: &Tokenizer, schema: Map<String, Value>) -> Result<Matcher, ChatError> {
    let mut matcher = tokenizer.grammars()?.matcher(Value::Object(schema));
    match matcher.compute_mask() {
        Ok(_) => Ok(matcher),
        Err(error) => Err(ChatError::BadSchema(factory::reason(&error.to_string()))),
    }
}
