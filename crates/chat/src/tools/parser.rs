//! Finds calls in an answer that arrives in pieces.

use serde_json::Value;

use super::{CALL_BEGIN, CALL_END, SEPARATOR, ToolCall, ToolFormat};

/// Some of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolPiece {
    /// Text for the reader; never empty.
    Text(String),
    /// A whole call.
    Call(ToolCall),
}

/// Tells calls from text.
///
/// The pieces depend on the text alone, not on how it was cut. A call comes when it is whole; white space before and
/// behind it is dropped. What begins like a call and is none is given as text.
#[derive(Debug)]
pub struct ToolCallParser {
    format: ToolFormat,
    /// Text that may be of a call, or white space before one.
    held: String,
    /// Whether `held` begins inside a call's tags.
    inside: bool,
    /// White space that stood before the call being read.
    before: String,
    /// Whether a call was the last thing given.
    after_call: bool,
}

impl ToolCallParser {
    /// Starts an answer.
    #[must_use]
    pub fn new(format: ToolFormat) -> ToolCallParser {
        ToolCallParser {
            format,
            held: String::new(),
            inside: false,
            before: String::new(),
            after_call: false,
        }
    }

    /// Takes more of the answer; gives what is certain now.
    pub fn push(&mut self, text: &str) -> Vec<ToolPiece> {
        // A tag cannot have ended before what is new, less a tag's length.
        let mut look_from = self.held.len().saturating_sub(self.tag().len());
        self.held.push_str(text);
        let mut out = Vec::new();
        while let Some(at) = self.find_tag(look_from) {
            self.pass_tag(at, &mut out);
            look_from = 0;
        }
        if !self.inside {
            let certain = self.certain_bytes();
            let text: String = self.held.drain(..certain).collect();
            self.give(&text, &mut out);
        }
        out
    }

    /// Ends the answer: gives what was held back. A call whose closing tag is missing counts if it is whole.
    pub fn finish(&mut self) -> Vec<ToolPiece> {
        let mut out = Vec::new();
        let held = std::mem::take(&mut self.held);
        if self.inside {
            let (open, _) = tags(self.format);
            self.end_call(&held, &format!("{open}{held}"), &mut out);
        } else if !(self.after_call && held.trim().is_empty()) {
            self.give(&held, &mut out);
        }
        out
    }

    /// The tag that would change where we are.
    fn tag(&self) -> &'static str {
        let (open, close) = tags(self.format);
        if self.inside { close } else { open }
    }

    fn find_tag(&self, from: usize) -> Option<usize> {
        let from = self.held.floor_char_boundary(from);
        self.held[from..].find(self.tag()).map(|at| from + at)
    }

    /// Goes past the tag that stands at `at`.
    fn pass_tag(&mut self, at: usize, out: &mut Vec<ToolPiece>) {
        let (open, close) = tags(self.format);
        let rest = self.held.split_off(at + self.tag().len());
        let mut body = std::mem::replace(&mut self.held, rest);
        body.truncate(at);
        if self.inside {
            self.inside = false;
            self.end_call(&body, &format!("{open}{body}{close}"), out);
        } else {
            let text = body.trim_end();
            self.before = body[text.len()..].to_owned();
            self.give(text, out);
            self.inside = true;
        }
    }

    /// Gives the calls in `body`, or all of it as text.
    fn end_call(&mut self, body: &str, whole: &str, out: &mut Vec<ToolPiece>) {
        let before = std::mem::take(&mut self.before);
        match calls(self.format, body) {
            Some(calls) => {
                out.extend(calls.into_iter().map(ToolPiece::Call));
                self.after_call = true;
            }
            None => self.give(&format!("{before}{whole}"), out),
        }
    }

    fn give(&mut self, text: &str, out: &mut Vec<ToolPiece>) {
        let text = if self.after_call { text.trim_start() } else { text };
        if text.is_empty() {
            return;
        }
        self.after_call = false;
        match out.last_mut() {
            Some(ToolPiece::Text(last)) => last.push_str(text),
            _ => out.push(ToolPiece::Text(text.to_owned())),
        }
    }

    /// How much of what is held can be neither a tag's beginning nor white space before one.
    fn certain_bytes(&self) -> usize {
        let tag = self.tag();
        let starts = self.held.char_indices().map(|(at, _)| at);
        let begun = starts
            .rev()
            .take(tag.len())
            .filter(|at| tag.starts_with(&self.held[*at..]))
            .last();
        let before = begun.unwrap_or(self.held.len());
        self.held[..before].trim_end().len()
    }
}

fn tags(format: ToolFormat) -> (&'static str, &'static str) {
    let tags = format.tags();
    (tags[0], tags[1])
}

/// The calls between two tags; `None` if it is anything else.
fn calls(format: ToolFormat, body: &str) -> Option<Vec<ToolCall>> {
    match format {
        ToolFormat::Hermes => Some(vec![hermes(body)?]),
        ToolFormat::DeepSeek => {
            let calls = body.split(CALL_BEGIN).skip(1).map(deepseek);
            let calls: Vec<ToolCall> = calls.collect::<Option<_>>()?;
            (!calls.is_empty() && body.trim_start().starts_with(CALL_BEGIN)).then_some(calls)
        }
    }
}

fn hermes(body: &str) -> Option<ToolCall> {
    let mut call: Value = serde_json::from_str(body.trim()).ok()?;
    let name = call.get("name")?.as_str().filter(|name| !name.is_empty())?.to_owned();
    let arguments = call
        .get_mut("arguments")
        .map_or(Value::Object(serde_json::Map::new()), Value::take);
    arguments.is_object().then_some(ToolCall { name, arguments })
}

fn deepseek(call: &str) -> Option<ToolCall> {
    let call = call.trim_end().strip_suffix(CALL_END).unwrap_or(call);
    let (_, call) = call.split_once(SEPARATOR)?;
    let (name, arguments) = call.split_once('\n')?;
    let name = name.trim();
    let arguments = arguments.trim().strip_prefix("```json")?;
    let arguments = arguments.strip_suffix("```").unwrap_or(arguments);
    let arguments: Value = serde_json::from_str(arguments.trim()).ok()?;
    (!name.is_empty() && arguments.is_object()).then(|| ToolCall {
        name: name.to_owned(),
        arguments,
    })
}
