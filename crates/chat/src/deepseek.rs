//! The prompt of the DeepSeek-R1 family, by hand.
//!
//! Files made before February 2025 carry a template that leaves it to the model whether to think, so the file's own is
//! not asked. The strings are those of the later template, with two differences: the system text is all system messages,
//! and a conversation that ends in a tool's output still gets the opening of a reply.

use crate::prompt::{Message, Prompt, Role, Thinking};
use crate::specials::Specials;
use crate::tokenizer::{ThinkTokens, Tokenizer};

/// The tokens that the family's prompts are made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeepSeek {
    bos: Option<u32>,
    eos: u32,
    user: u32,
    assistant: u32,
    think: ThinkTokens,
}

impl DeepSeek {
    /// The family's prompt, if the vocabulary is of the family.
    pub(crate) fn of(tokenizer: &Tokenizer) -> Option<DeepSeek> {
        let specials = tokenizer.specials();
        Some(DeepSeek {
            bos: tokenizer.bos().or_else(|| specials.find("<｜begin▁of▁sentence｜>")),
            eos: tokenizer.eos(),
            user: specials.find("<｜User｜>")?,
            assistant: specials.find("<｜Assistant｜>")?,
            think: tokenizer.think_tokens()?,
        })
    }

    /// Renders `messages`, which [`crate::prompt::history`] has prepared.
    pub(crate) fn render(&self, messages: &[Message], thinking: Thinking, specials: &Specials) -> Prompt {
        let mut turns = Turns {
            prompt: Prompt::default(),
            specials,
            after_tool: false,
            wrote_outputs: false,
        };
        if let Some(bos) = self.bos {
            turns.prompt.push_special(bos);
        }
        for message in messages {
            self.turn(message, &mut turns);
        }
        if turns.after_tool {
            turns.tag("<｜tool▁outputs▁end｜>");
        }
        let mut prompt = turns.prompt;
        prompt.push_special(self.assistant);
        open_thought(&mut prompt, self.think, thinking);
        prompt
    }

    fn turn(&self, message: &Message, turns: &mut Turns<'_>) {
        match message.role {
            Role::System => {}
            Role::User => turns.prompt.push_special(self.user),
            Role::Assistant if turns.after_tool => turns.tag("<｜tool▁outputs▁end｜>"),
            Role::Assistant => turns.prompt.push_special(self.assistant),
            Role::Tool => turns.open_tool_output(),
        }
        turns.prompt.push_text(&message.content);
        match message.role {
            Role::Assistant => turns.prompt.push_special(self.eos),
            Role::Tool => turns.tag("<｜tool▁output▁end｜>"),
            Role::System | Role::User => {}
        }
        turns.after_tool = message.role == Role::Tool;
    }
}

/// A prompt in the making, and what the template remembers from turn to turn.
struct Turns<'s> {
    prompt: Prompt,
    specials: &'s Specials,
    after_tool: bool,
    wrote_outputs: bool,
}

impl Turns<'_> {
    /// Writes a tag that only some vocabularies of the family have as a token.
    fn tag(&mut self, text: &str) {
        match self.specials.find(text) {
            Some(id) => self.prompt.push_special(id),
            None => self.prompt.push_text(text),
        }
    }

    /// The list of outputs is opened once in a conversation, as the family's template does it.
    fn open_tool_output(&mut self) {
        if self.wrote_outputs {
            self.prompt.push_text("\n");
        } else {
            self.tag("<｜tool▁outputs▁begin｜>");
        }
        self.wrote_outputs = true;
        self.tag("<｜tool▁output▁begin｜>");
    }
}

/// Ends a prompt in an open thought, or in an empty one.
pub(crate) fn open_thought(prompt: &mut Prompt, think: ThinkTokens, thinking: Thinking) {
    prompt.push_special(think.open);
    match thinking {
        Thinking::Forced => prompt.push_text("\n"),
        Thinking::Skipped => {
            prompt.push_text("\n\n");
            prompt.push_special(think.close);
            prompt.push_text("\n\n");
        }
    }
}
