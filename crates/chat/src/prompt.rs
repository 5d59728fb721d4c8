//! Messages on their way to the model, and the rendered prompt.

use crate::specials::Part;
use crate::tools::ToolCall;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Standing instructions.
    System,
    /// The person who asks.
    User,
    /// The model, in earlier turns.
    Assistant,
    /// The result of a tool.
    Tool,
}

impl Role {
    /// The name that templates know it by.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        }
    }
}

/// One turn of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What they said; never control tokens, whatever it contains.
    pub content: String,
    /// The calls of tools that an assistant's turn made.
    pub tool_calls: Vec<ToolCall>,
}

impl Message {
    /// A turn without calls.
    pub fn new(role: Role, content: impl Into<String>) -> Message {
        Message {
            role,
            content: content.into(),
            tool_calls: Vec::new(),
        }
    }
}

/// Whether the model is to think before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thinking {
    /// The prompt ends in an open `<think>`.
    Forced,
    /// The prompt ends in an empty thought, `<think>\n\n</think>\n\n`.
    Skipped,
}

/// A rendered prompt: special tokens by id, and the text between them.
///
/// Text never becomes a special token again, so what a user writes cannot end a turn or forge a role.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prompt {
    parts: Vec<Part>,
}

impl Prompt {
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    pub(crate) fn push_special(&mut self, id: u32) {
        self.parts.push(Part::Special(id));
    }

    /// Adds text, joined to text that is already last: words may span both.
    pub(crate) fn push_text(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Text(last)) => last.push_str(text),
            _ => self.parts.push(Part::Text(text.to_owned())),
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Part> {
        self.parts.pop()
    }
}

/// The messages as templates get them: one system message, in front, and no earlier thoughts.
///
/// Templates differ in what they do with several system messages (keep the last, refuse, write them in the middle);
/// joined with a blank line, all of them are heard. Thoughts are dropped where the model's family thinks: it was trained
/// on histories without them.
pub(crate) fn history(messages: &[Message], drop_thoughts: bool) -> Vec<Message> {
    let of_system = |message: &&Message| message.role == Role::System;
    let system: Vec<&str> = messages
        .iter()
        .filter(of_system)
        .map(|message| message.content.as_str())
        .collect();
    let mut turns = Vec::with_capacity(messages.len());
    if !system.is_empty() {
        turns.push(Message::new(Role::System, system.join("\n\n")));
    }
    for message in messages.iter().filter(|message| message.role != Role::System) {
        let thinker = drop_thoughts && message.role == Role::Assistant;
        let content = if thinker {
            without_thought(&message.content)
        } else {
            &message.content
        };
        turns.push(Message {
            role: message.role,
            content: content.to_owned(),
            tool_calls: message.tool_calls.clone(),
        });
    }
    turns
}

/// What follows the last `</think>`, untrimmed. A thought that never ended (a reply cut off) leaves nothing.
fn without_thought(content: &str) -> &str {
    match content.rsplit_once("</think>") {
        Some((_, answer)) => answer,
        None if content.trim_start().starts_with("<think>") => "",
        None => content,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_last_closing_tag_is_kept_untrimmed() {
        for (content, expected) in [
            ("plain", "plain"),
            ("<think>\na\n</think>\n\nb ", "\n\nb "),
            ("a</think>b</think>c", "c"),
            ("\n<think>cut off", ""),
            ("about <think> tags", "about <think> tags"),
        ] {
            assert_eq!(without_thought(content), expected, "{content:?}");
        }
    }

    #[test]
    fn system_messages_come_first_as_one() {
        let say = |role, content: &str| Message::new(role, content);
        let turns = history(
            &[
                say(Role::System, "a"),
                say(Role::User, "u"),
                say(Role::System, "b"),
                say(Role::Assistant, "x</think>y"),
            ],
            true,
        );
        assert_eq!(
            turns,
            [
                say(Role::System, "a\n\nb"),
                say(Role::User, "u"),
                say(Role::Assistant, "y")
            ]
        );
    }
}
