//! Tools that a model may call: how a template writes calls, and how they are told from an answer's text.
//!
//! Which way a model was taught shows in its template's text. A template that does not print the tools it is given knows
//! none, whatever else it says of them.

mod parser;

use serde_json::Value;

pub use parser::{ToolCallParser, ToolPiece};

use crate::grammar::Frame;
use crate::{ChatError, Grammar, Tokenizer};

/// A call that the model made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// The function's name.
    pub name: String,
    /// Its arguments: an object, or in a conversation from elsewhere whatever was given.
    pub arguments: Value,
}

/// How calls are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolFormat {
    /// `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, as Hermes and Qwen do.
    Hermes,
    /// `<｜tool▁calls▁begin｜>` and so on, as DeepSeek's V3 and R1 do.
    DeepSeek,
}

/// A function that a call may be of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolFunction {
    /// Its name.
    pub name: String,
    /// The JSON schema of its arguments.
    pub parameters: Value,
}

const CALLS_BEGIN: &str = "<｜tool▁calls▁begin｜>";
const CALLS_END: &str = "<｜tool▁calls▁end｜>";
const CALL_BEGIN: &str = "<｜tool▁call▁begin｜>";
const CALL_END: &str = "<｜tool▁call▁end｜>";
const SEPARATOR: &str = "<｜tool▁sep｜>";

impl ToolFormat {
    /// The format that a template with this text asks for, if it is one we can read.
    pub(crate) fn of_template(source: &str) -> Option<ToolFormat> {
        if source.contains(CALLS_BEGIN) {
            Some(ToolFormat::DeepSeek)
        } else if source.contains("<tool_call>") && !source.contains("<function=") {
            Some(ToolFormat::Hermes)
        } else {
            None
        }
    }

    /// The texts that may be tokens of their own.
    pub(crate) fn tags(self) -> &'static [&'static str] {
        match self {
            ToolFormat::Hermes => &["<tool_call>", "</tool_call>"],
            ToolFormat::DeepSeek => &[CALLS_BEGIN, CALLS_END, CALL_BEGIN, CALL_END, SEPARATOR],
        }
    }

    /// What stands before and after the arguments of a call.
    fn around(self, name: &str) -> (String, String) {
        match self {
            ToolFormat::Hermes => (
                format!("<tool_call>\n{{\"name\": {}, \"arguments\":", Value::from(name)),
                "}\n</tool_call>".to_owned(),
            ),
            ToolFormat::DeepSeek => (
                format!("{CALLS_BEGIN}{CALL_BEGIN}function{SEPARATOR}{name}\n```json\n"),
                format!("\n```{CALL_END}{CALLS_END}"),
            ),
        }
    }
}

impl Grammar {
    /// One call of one of these functions, and nothing else.
    ///
    /// # Errors
    /// `BadSchema` for parameters that cannot be held to; its text names the function.
    pub fn tool_call(
        tokenizer: &Tokenizer,
        format: ToolFormat,
        functions: &[ToolFunction],
    ) -> Result<Grammar, ChatError> {
        let frame = |function: &ToolFunction| {
            let (before, after) = format.around(&function.name);
            Ok(Frame {
                opening: tokens(tokenizer, format, &before)?,
                closing: tokens(tokenizer, format, &after)?,
                name: Some(function.name.clone()),
                schema: function.parameters.clone(),
            })
        };
        let frames: Result<Vec<Frame>, ChatError> = functions.iter().map(frame).collect();
        Grammar::framed(tokenizer, frames?)
    }
}

/// `text` with the format's tags as tokens of their own, where the vocabulary has them.
fn tokens(tokenizer: &Tokenizer, format: ToolFormat, text: &str) -> Result<Vec<u32>, ChatError> {
    let mut ids = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let next = format
            .tags()
            .iter()
            .filter_map(|tag| Some((rest.find(tag)?, *tag)))
            .min();
        let (before, tag) = next.map_or((rest, ""), |(at, tag)| (&rest[..at], tag));
        ids.extend(tokenizer.encode(before)?);
        match tokenizer.specials().find(tag) {
            Some(id) => ids.push(id),
            None => ids.extend(tokenizer.encode(tag)?),
        }
        rest = &rest[before.len() + tag.len()..];
    }
    Ok(ids)
}

#[cfg(test)]
mod tests;
