//! Finds special tokens in template text: a trie over their texts, so that the cost does not grow with their number.

use crate::vocabulary::{Kind, Token};

/// A stretch of text between two special tokens, or such a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// A control or user-defined token.
    Special(u32),
    /// Text that gives ordinary tokens only.
    Text(String),
}

/// All control and user-defined tokens by their text.
#[derive(Debug)]
pub(crate) struct Specials {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    next: Vec<(u8, usize)>,
    token: Option<u32>,
}

impl Specials {
    /// Collects the special ones of `tokens`.
    pub(crate) fn of(tokens: &[Token]) -> Specials {
        let mut specials = Specials {
            nodes: vec![Node::default()],
        };
        for (token, id) in tokens.iter().zip(0..) {
            if matches!(token.kind, Kind::Control | Kind::UserDefined) && !token.bytes.is_empty() {
                specials.insert(&token.bytes, id);
            }
        }
        specials
    }

    fn insert(&mut self, text: &[u8], id: u32) {
        let mut node = 0;
        for &byte in text {
            node = match self.step(node, byte) {
                Some(next) => next,
                None => {
                    let next = self.nodes.len();
                    self.nodes.push(Node::default());
                    self.nodes[node].next.push((byte, next));
                    next
                }
            };
        }
        self.nodes[node].token.get_or_insert(id);
    }

    fn step(&self, node: usize, byte: u8) -> Option<usize> {
        self.nodes[node]
            .next
            .iter()
            .find(|(key, _)| *key == byte)
            .map(|(_, next)| *next)
    }

    /// The token whose text is exactly `text`.
    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        match self.longest_at(text.as_bytes()) {
            Some((id, bytes)) if bytes == text.len() => Some(id),
            _ => None,
        }
    }

    /// The longest special token that `text` begins with, and its length.
    fn longest_at(&self, text: &[u8]) -> Option<(u32, usize)> {
        let mut node = 0;
        let mut longest = None;
        for (at, &byte) in text.iter().enumerate() {
            let Some(next) = self.step(node, byte) else {
                break;
            };
            node = next;
            longest = self.nodes[node].token.map(|id| (id, at + 1)).or(longest);
        }
        longest
    }

    /// Cuts `text` at special tokens: the leftmost first, the longest of those that begin together.
    pub(crate) fn split(&self, text: &str) -> Vec<Part> {
        let mut parts = Vec::new();
        let (mut start, mut at) = (0, 0);
        while at < text.len() {
            let Some((id, bytes)) = self.longest_at(&text.as_bytes()[at..]) else {
                at += 1;
                continue;
            };
            if start < at {
                parts.push(Part::Text(text[start..at].to_owned()));
            }
            parts.push(Part::Special(id));
            at += bytes;
            start = at;
        }
        if start < text.len() {
            parts.push(Part::Text(text[start..].to_owned()));
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specials(texts: &[&str]) -> Specials {
        let token = |text: &&str| Token {
            bytes: text.as_bytes().into(),
            kind: Kind::Control,
        };
        Specials::of(&texts.iter().map(token).collect::<Vec<_>>())
    }

    fn check(texts: &[&str], text: &str, expected: &[&str]) {
        let found: Vec<String> = specials(texts)
            .split(text)
            .into_iter()
            .map(|part| match part {
                Part::Special(id) => format!("#{id}"),
                Part::Text(text) => text,
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn text_is_cut_at_special_tokens() {
        check(&["<a>", "<b>"], "x<a><b>中<c", &["x", "#0", "#1", "中<c"]);
    }

    #[test]
    fn of_two_that_begin_together_the_longer_wins() {
        check(&["<a", "<a>"], "<a><ab", &["#1", "#0", "b"]);
    }

    #[test]
    fn a_token_is_found_by_its_whole_text_only() {
        let specials = specials(&["<a", "<a>"]);
        assert_eq!(
            (specials.find("<a>"), specials.find("<a"), specials.find("<")),
            (Some(1), Some(0), None)
        );
        assert_eq!(specials.find("<a>b"), None);
    }
}
