//! Keeps user text apart from template text through a Jinja render.
//!
//! A template joins both into one string, in which special tokens are then looked for. Before the render, every character
//! of user text that a special token could begin with is swapped for a private one, and a private mark is set around the
//! text, so that no special token can begin in it or reach into it. After the split the swap is undone. The mapping is
//! one to one for any text, private characters included, and keeps white space at the ends, since templates trim.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::ChatError;

/// Private-use plane 16: no vocabulary has tokens with these.
const BORDER: char = '\u{100000}';
const ESCAPE: char = '\u{100001}';
const STAND_INS: u32 = 0x10_0002;
const STAND_INS_MAX: u32 = 0x1000;
/// What follows [`ESCAPE`]: the escaped character, moved here.
const MOVED_BY: u32 = 0x8000;

/// The swap for one vocabulary.
#[derive(Debug)]
pub(crate) struct Shield {
    firsts: Vec<char>,
    keeps_edges: bool,
}

impl Shield {
    /// Prepares the swap for the texts of all special tokens.
    pub(crate) fn new<'t>(special_texts: impl Iterator<Item = &'t str>) -> Result<Shield, ChatError> {
        let mut firsts = BTreeSet::new();
        let mut keeps_edges = true;
        for text in special_texts {
            firsts.extend(text.chars().next());
            keeps_edges &= text.trim().len() == text.len();
            if text.chars().any(|letter| u32::from(letter) >= u32::from(BORDER)) {
                return Err(ChatError::BadVocabulary(
                    "a special token has a character of private-use plane 16".into(),
                ));
            }
        }
        let firsts: Vec<char> = firsts.into_iter().collect();
        if firsts.len() >= STAND_INS_MAX as usize {
            return Err(ChatError::BadVocabulary(format!(
                "special tokens begin with {} different characters, at most {STAND_INS_MAX} can be told from text",
                firsts.len()
            )));
        }
        Ok(Shield { firsts, keeps_edges })
    }

    /// `text` as a template may see it.
    pub(crate) fn protect(&self, text: &str) -> String {
        let (before, core, after) = if self.keeps_edges {
            trimmed(text)
        } else {
            ("", text, "")
        };
        let mut out = String::with_capacity(text.len() + 16);
        self.swap_onto(before, &mut out);
        if !core.is_empty() {
            out.push(BORDER);
            self.swap_onto(core, &mut out);
            out.push(BORDER);
        }
        self.swap_onto(after, &mut out);
        out
    }

    /// A value whose texts a template may see. Keys, and texts that are plain words, stay comparable: no mark is set around
    /// them.
    pub(crate) fn protect_value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) if is_word(text) => Value::String(self.swapped(text)),
            Value::String(text) => Value::String(self.protect(text)),
            Value::Array(items) => items.iter().map(|item| self.protect_value(item)).collect(),
            Value::Object(fields) => {
                let field = |(name, value): (&String, &Value)| (self.swapped(name), self.protect_value(value));
                Value::Object(fields.iter().map(field).collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    fn swapped(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        self.swap_onto(text, &mut out);
        out
    }

    fn swap_onto(&self, text: &str, out: &mut String) {
        for letter in text.chars() {
            let stand_in = self
                .firsts
                .binary_search(&letter)
                .ok()
                .and_then(|index| self.stand_in(index));
            if let Some(stand_in) = stand_in {
                out.push(stand_in);
            } else if let Some(moved) = self.is_private(letter).then(|| shifted(letter, MOVED_BY)).flatten() {
                out.extend([ESCAPE, moved]);
            } else {
                out.push(letter);
            }
        }
    }

    /// User text again, for a stretch of rendered text that holds no special token.
    pub(crate) fn restore(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            match letter {
                BORDER => {}
                ESCAPE => out.extend(
                    letters
                        .next()
                        .and_then(|moved| u32::from(moved).checked_sub(MOVED_BY).and_then(char::from_u32)),
                ),
                _ => out.push(self.original(letter)),
            }
        }
        out
    }

    fn stand_in(&self, index: usize) -> Option<char> {
        u32::try_from(index)
            .ok()
            .and_then(|index| char::from_u32(STAND_INS + index))
    }

    fn original(&self, letter: char) -> char {
        let index = u32::from(letter).checked_sub(STAND_INS);
        index
            .and_then(|index| self.firsts.get(index as usize))
            .copied()
            .unwrap_or(letter)
    }

    fn is_private(&self, letter: char) -> bool {
        matches!(letter, BORDER | ESCAPE) || self.original(letter) != letter
    }
}

fn is_word(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

fn shifted(letter: char, by: u32) -> Option<char> {
    char::from_u32(u32::from(letter) + by)
}

/// White space before, the rest, white space after.
fn trimmed(text: &str) -> (&str, &str, &str) {
    let (before, rest) = text.split_at(text.len() - text.trim_start().len());
    let (core, after) = rest.split_at(rest.trim_end().len());
    (before, core, after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shield() -> Shield {
        Shield::new(["<think>", "<|end|>", "｜x"].into_iter()).unwrap()
    }

    proptest! {
        #[test]
        fn any_text_comes_back_as_it_was(text in "[ \n<|a｜\u{100000}-\u{100005}\u{108000}-\u{108005}]{0,40}|.*") {
            let shield = shield();
            let protected = shield.protect(&text);
            prop_assert_eq!(shield.restore(&protected), text);
            prop_assert!(!protected.contains(['<', '｜']));
        }
    }

    #[test]
    fn white_space_stays_at_the_ends_where_templates_trim_it() {
        let shield = shield();
        assert_eq!(shield.restore(shield.protect(" \n<a> ").trim()), "<a>");
        assert_eq!(shield.protect(" \n"), " \n");
        assert_eq!(shield.protect(""), "");
    }

    #[test]
    fn a_special_token_cannot_reach_into_text_from_the_template() {
        let joined = format!("<thi{}>", shield().protect("nk"));
        assert!(!joined.contains("<think>"));
    }
}
