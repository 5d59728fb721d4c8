//! Text to tokens and back: prompt templates, the tokenizer, the reply decoder.
//!
//! A request passes here twice. On the way in, [`ChatTemplate`] turns messages into a [`Prompt`], whose control tokens
//! and user text stay apart, and [`Tokenizer`] turns that into ids. On the way out, [`ReplyDecoder`] turns ids into
//! pieces of thought and answer.

mod error;
mod tokenizer;
mod vocabulary;
mod words;

mod prompt;
mod specials;

mod deepseek;
mod jinja;
mod shield;
mod template;
mod tojson;

mod grammar;
mod reply;
mod stop;
mod tools;
mod utf8;

#[cfg(test)]
mod testing;

pub use error::ChatError;
pub use grammar::{Grammar, GrammarState, Permit};
pub use prompt::{Message, Prompt, Role, Thinking};
pub use reply::{Piece, ReplyDecoder, Start};
pub use template::ChatTemplate;
pub use tokenizer::Tokenizer;
pub use tools::{ToolCall, ToolCallParser, ToolFormat, ToolFunction, ToolPiece};
pub use vocabulary::Vocabulary;
