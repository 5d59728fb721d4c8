//! Chooses and runs the chat template of a model.

use crate::ChatError;
use crate::deepseek::{DeepSeek, open_thought};
use crate::jinja::Jinja;
use crate::prompt::{Message, Prompt, Role, Thinking, history};
use crate::shield::Shield;
use crate::specials::Part;
use crate::tokenizer::{ThinkTokens, Tokenizer};

/// Turns messages into a prompt the way the model was trained.
pub struct ChatTemplate {
    tokenizer: Tokenizer,
    source: Source,
}

enum Source {
    DeepSeek(DeepSeek),
    File {
        jinja: Jinja,
        shield: Shield,
        think: Think,
    },
}

/// How a model's thoughts are marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Think {
    /// By tokens of their own.
    Tokens(ThinkTokens),
    /// By the words `<think>` and `</think>`, which the template writes.
    Words,
    /// It does not think.
    Never,
}

const OPEN: &str = "<think>";
const EMPTY_AFTER_OPEN: &str = "\n\n</think>\n\n";

impl ChatTemplate {
    /// Chooses the template: ours for a DeepSeek-R1 vocabulary, whatever the file says; else the file's own.
    ///
    /// The file's template is tried on one message at once, so that a broken one is found at start and not by a user.
    ///
    /// # Errors
    /// `NoTemplate` or `BadTemplate`; `TemplateRefused` or `TemplateFailed` if the trial fails.
    pub fn for_model(
        jinja: Option<&str>,
        tokenizer: &Tokenizer,
    ) -> Result<ChatTemplate, ChatError> {
        let tokenizer = tokenizer.clone();
        if let Some(deepseek) = DeepSeek::of(&tokenizer) {
            return Ok(ChatTemplate {
                tokenizer,
                source: Source::DeepSeek(deepseek),
            });
        }
        let text = |id: u32| String::from_utf8_lossy(tokenizer.token_bytes(id)).into_owned();
        let bos = tokenizer.bos().map(text).unwrap_or_default();
        let jinja = Jinja::new(
            jinja.ok_or(ChatError::NoTemplate)?,
            bos,
            text(tokenizer.eos()),
        )?;
        let shield = Shield::new(tokenizer.special_texts())?;
        let trial = jinja.render(
            &[Message {
                role: Role::User,
                content: "hello".into(),
            }],
            Thinking::Forced,
        )?;
        let think = match tokenizer.think_tokens() {
            Some(tokens) => Think::Tokens(tokens),
            None if trial.trim_end().ends_with(OPEN) => Think::Words,
            None => Think::Never,
        };
        Ok(ChatTemplate {
            tokenizer,
            source: Source::File {
                jinja,
                shield,
                think,
            },
        })
    }

    /// Renders a conversation up to the opening of the reply.
    ///
    /// All system messages are joined in front and earlier thoughts are left out; for a model that thinks the prompt ends
    /// in `<think>\n`, or in an empty thought if thinking is skipped.
    ///
    /// # Errors
    /// `TemplateRefused` or `TemplateFailed`, from the model file's template only.
    pub fn render(&self, messages: &[Message], thinking: Thinking) -> Result<Prompt, ChatError> {
        let mut turns = history(messages, self.thinks());
        let (jinja, shield, think) = match &self.source {
            Source::DeepSeek(deepseek) => {
                return Ok(deepseek.render(&turns, thinking, self.tokenizer.specials()));
            }
            Source::File {
                jinja,
                shield,
                think,
            } => (jinja, shield, think),
        };
        for turn in &mut turns {
            turn.content = shield.protect(&turn.content);
        }
        let rendered = jinja.render(&turns, thinking)?;
        let mut prompt = Prompt::default();
        for part in self.tokenizer.specials().split(&rendered) {
            match part {
                Part::Special(id) => prompt.push_special(id),
                Part::Text(text) => prompt.push_text(&shield.restore(&text)),
            }
        }
        match think {
            Think::Tokens(tokens) => {
                drop_opened_thought(&mut prompt, *tokens);
                open_thought(&mut prompt, *tokens, thinking);
            }
            Think::Words => open_worded_thought(&mut prompt, thinking),
            Think::Never => {}
        }
        Ok(prompt)
    }

    /// Where the template comes from, for the start-up lines.
    pub fn name(&self) -> &str {
        match self.source {
            Source::DeepSeek(_) => "deepseek-r1 (built in)",
            Source::File { .. } => "from the model file",
        }
    }

    /// Whether a reply to a prompt rendered so begins inside a thought.
    pub fn starts_in_thought(&self, thinking: Thinking) -> bool {
        thinking == Thinking::Forced && self.thinks()
    }

    fn thinks(&self) -> bool {
        !matches!(
            self.source,
            Source::File {
                think: Think::Never,
                ..
            }
        )
    }
}

/// Takes back a thought that the template itself opened, or opened and closed, at the very end.
fn drop_opened_thought(prompt: &mut Prompt, think: ThinkTokens) {
    let kept = match prompt.parts() {
        [kept @ .., Part::Special(open)] if *open == think.open => kept.len(),
        [kept @ .., Part::Special(open), Part::Text(space)]
            if *open == think.open && is_blank(space) =>
        {
            kept.len()
        }
        [
            kept @ ..,
            Part::Special(open),
            Part::Text(inner),
            Part::Special(close),
            Part::Text(space),
        ] if (*open, *close) == (think.open, think.close) && is_blank(inner) && is_blank(space) => {
            kept.len()
        }
        _ => return,
    };
    while prompt.parts().len() > kept {
        prompt.pop();
    }
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// Ends a prompt in an open or empty thought where the tags are plain words.
fn open_worded_thought(prompt: &mut Prompt, thinking: Thinking) {
    let last = match prompt.pop() {
        Some(Part::Text(text)) => text,
        Some(Part::Special(id)) => {
            prompt.push_special(id);
            String::new()
        }
        None => String::new(),
    };
    let end = last.trim_end();
    let end = end.strip_suffix("</think>").map_or(end, str::trim_end);
    let before = end.strip_suffix(OPEN).unwrap_or(&last);
    prompt.push_text(before);
    prompt.push_text(OPEN);
    prompt.push_text(match thinking {
        Thinking::Forced => "\n",
        Thinking::Skipped => EMPTY_AFTER_OPEN,
    });
}
