//! Turns generated tokens into pieces of thought and answer.

use crate::stop::StopScanner;
use crate::tokenizer::{ThinkTokens, Tokenizer};
use crate::tools::ToolFormat;
use crate::utf8::Utf8Decoder;

/// Where a reply begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Inside a thought: the prompt ended in `<think>\n`.
    Thought,
    /// In the answer. A model that opens a thought all the same is let into it.
    Answer,
    /// Nowhere: plain text, tags included.
    Raw,
}

/// Some text of a reply; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Reasoning.
    Thought(String),
    /// What the user asked for.
    Answer(String),
}

/// Decodes one reply, token by token.
///
/// The pieces joined depend on the generated text alone, not on how tokens cut it. A thought ends at the `</think>`
/// token (in a vocabulary without one: at the word). White space at either end of the thought and at the start of the
/// answer is dropped; so is a `<think>` that opens the thought again. Stop strings count in the answer. Control tokens
/// are not shown.
pub struct ReplyDecoder {
    tokenizer: Tokenizer,
    think: Option<ThinkTokens>,
    state: State,
    utf8: Utf8Decoder,
    stop: StopScanner,
    close: StopScanner,
    /// White space at the end of the thought so far.
    space: String,
    thought_tokens: usize,
    /// Control tokens that are shown all the same.
    shown: Vec<u32>,
}

/// What the next character belongs to. `fresh`: no character of it has come yet, white space aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Thought { fresh: bool },
    Answer { fresh: bool },
    Raw,
    Stopped,
}

impl ReplyDecoder {
    /// Starts a reply; `stop` are the strings that end it.
    pub fn new(tokenizer: &Tokenizer, start: Start, stop: &[String]) -> ReplyDecoder {
        let think = tokenizer.think_tokens();
        let close = if think.is_none() {
            vec!["</think>".to_owned()]
        } else {
            Vec::new()
        };
        ReplyDecoder {
            tokenizer: tokenizer.clone(),
            think,
            state: match start {
                Start::Thought => State::Thought { fresh: true },
                Start::Answer => State::Answer { fresh: true },
                Start::Raw => State::Raw,
            },
            utf8: Utf8Decoder::default(),
            stop: StopScanner::new(stop),
            close: StopScanner::new(&close),
            space: String::new(),
            thought_tokens: 0,
            shown: Vec::new(),
        }
    }

    /// Shows the tags of tool calls too, where they are control tokens: for a [`crate::ToolCallParser`] behind it.
    #[must_use]
    pub fn showing_tools(mut self, format: ToolFormat) -> ReplyDecoder {
        let specials = self.tokenizer.specials();
        self.shown = format.tags().iter().filter_map(|tag| specials.find(tag)).collect();
        self
    }

    /// Takes the next token; gives what can be shown now, a thought before an answer.
    pub fn push(&mut self, token: u32) -> Vec<Piece> {
        let mut out = Pieces::default();
        if matches!(self.state, State::Thought { .. }) {
            self.thought_tokens += 1;
        }
        if !self.is_tag(token, &mut out) {
            let mut text = String::new();
            let bytes = if self.shown.contains(&token) {
                self.tokenizer.token_bytes(token)
            } else {
                shown_bytes(&self.tokenizer, self.think, token)
            };
            self.utf8.push(bytes, &mut text);
            self.take(&text, &mut out);
        }
        out.into_vec()
    }

    /// Ends the reply: gives what was held back.
    pub fn finish(&mut self) -> Vec<Piece> {
        let mut out = Pieces::default();
        self.end_character(&mut out);
        match self.state {
            State::Thought { fresh } => {
                let mut text = String::new();
                self.close.release(&mut text);
                self.take_thought(&text, fresh, &mut out);
            }
            State::Answer { .. } | State::Raw => self.stop.release(&mut out.answer),
            State::Stopped => {}
        }
        self.state = State::Stopped;
        out.into_vec()
    }

    /// Whether a stop string has come: nothing more will be shown.
    pub fn stopped(&self) -> bool {
        self.state == State::Stopped
    }

    /// Tokens spent on the thought, `</think>` included.
    pub fn thought_tokens(&self) -> usize {
        self.thought_tokens
    }

    /// Handles a think tag where it is one; elsewhere it is text like any other.
    fn is_tag(&mut self, token: u32, out: &mut Pieces) -> bool {
        let Some(think) = self.think.filter(|think| token == think.open || token == think.close) else {
            return false;
        };
        self.end_character(out);
        let opens = token == think.open;
        self.state = match self.state {
            State::Thought { fresh: true } if opens => State::Thought { fresh: true },
            State::Thought { .. } if !opens => State::Answer { fresh: true },
            State::Answer { fresh: true } if opens && self.thought_tokens == 0 => {
                self.thought_tokens = 1;
                State::Thought { fresh: true }
            }
            _ => return false,
        };
        self.space.clear();
        true
    }

    /// A character that has begun cannot go on behind a tag or the end.
    fn end_character(&mut self, out: &mut Pieces) {
        let mut text = String::new();
        self.utf8.finish(&mut text);
        self.take(&text, out);
    }

    fn take(&mut self, text: &str, out: &mut Pieces) {
        match self.state {
            State::Thought { fresh } => {
                let mut inside = String::new();
                let behind = self.close.push(text, &mut inside);
                self.take_thought(&inside, fresh, out);
                if let Some(behind) = behind {
                    self.space.clear();
                    self.state = State::Answer { fresh: true };
                    self.take(behind, out);
                }
            }
            State::Answer { fresh: true } => {
                let text = text.trim_start();
                if !text.is_empty() {
                    self.state = State::Answer { fresh: false };
                    self.take(text, out);
                }
            }
            State::Answer { fresh: false } | State::Raw => {
                if self.stop.push(text, &mut out.answer).is_some() {
                    self.state = State::Stopped;
                }
            }
            State::Stopped => {}
        }
    }

    fn take_thought(&mut self, text: &str, fresh: bool, out: &mut Pieces) {
        let text = if fresh { text.trim_start() } else { text };
        let shown = text.trim_end();
        if !shown.is_empty() {
            self.state = State::Thought { fresh: false };
            out.thought.push_str(&self.space);
            out.thought.push_str(shown);
            self.space.clear();
        }
        self.space.push_str(&text[shown.len()..]);
    }
}

/// What a reader sees of a token: nothing of control tokens; of think tags, where they are text, the tag.
fn shown_bytes(tokenizer: &Tokenizer, think: Option<ThinkTokens>, token: u32) -> &[u8] {
    let is_tag = think.is_some_and(|think| token == think.open || token == think.close);
    if tokenizer.is_control(token) && !is_tag {
        &[]
    } else {
        tokenizer.token_bytes(token)
    }
}

/// What one token brought.
#[derive(Default)]
struct Pieces {
    thought: String,
    answer: String,
}

impl Pieces {
    fn into_vec(self) -> Vec<Piece> {
        let thought = (!self.thought.is_empty()).then_some(Piece::Thought(self.thought));
        let answer = (!self.answer.is_empty()).then_some(Piece::Answer(self.answer));
        thought.into_iter().chain(answer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{chatml, deepseek, special};
    use proptest::prelude::*;

    /// What a model may generate: text as bytes, which tokens cut anywhere, and special tokens.
    #[derive(Debug, Clone)]
    enum Item {
        Bytes(Vec<u8>),
        Open,
        Close,
        Control,
    }

    /// Bytes one token each, or as the tokenizer would cut them.
    fn tokens(tokenizer: &Tokenizer, items: &[Item], bytewise: bool) -> Vec<u32> {
        let mut ids = Vec::new();
        for item in items {
            match item {
                Item::Open => ids.push(special(tokenizer, "<think>")),
                Item::Close => ids.push(special(tokenizer, "</think>")),
                Item::Control => ids.push(special(tokenizer, "<｜User｜>")),
                Item::Bytes(bytes) => match std::str::from_utf8(bytes) {
                    Ok(text) if !bytewise => ids.extend(tokenizer.encode(text).unwrap()),
                    _ => ids.extend(bytes.iter().map(|byte| byte_token(tokenizer, *byte))),
                },
            }
        }
        ids
    }

    fn byte_token(tokenizer: &Tokenizer, byte: u8) -> u32 {
        (0..256).find(|id| tokenizer.token_bytes(*id) == [byte]).unwrap()
    }

    fn decode(tokenizer: &Tokenizer, start: Start, stop: &[String], ids: &[u32]) -> (String, String, bool) {
        let mut decoder = ReplyDecoder::new(tokenizer, start, stop);
        let mut pieces: Vec<Piece> = ids.iter().flat_map(|id| decoder.push(*id)).collect();
        let stopped = decoder.stopped();
        pieces.extend(decoder.finish());
        let (mut thought, mut answer) = (String::new(), String::new());
        for piece in pieces {
            match piece {
                Piece::Thought(text) => {
                    assert!(answer.is_empty() && !text.is_empty());
                    thought.push_str(&text);
                }
                Piece::Answer(text) => {
                    assert!(!text.is_empty());
                    answer.push_str(&text);
                }
            }
        }
        (thought, answer, stopped)
    }

    /// Text between tags, each stretch as `from_utf8_lossy` has it, tags as `tag` wants them shown.
    fn plain(items: &[Item]) -> String {
        let mut bytes = Vec::new();
        for item in items {
            match item {
                Item::Bytes(more) => bytes.extend(more),
                Item::Open => bytes.extend(b"<think>"),
                Item::Close => bytes.extend(b"</think>"),
                Item::Control => {}
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn until_stop(text: &str, stop: &[String]) -> (String, bool) {
        for (at, letter) in text.char_indices() {
            let read = &text[..at + letter.len_utf8()];
            if let Some(bytes) = stop
                .iter()
                .filter(|stop| read.ends_with(stop.as_str()))
                .map(String::len)
                .max()
            {
                return (read[..read.len() - bytes].to_owned(), true);
            }
        }
        (text.to_owned(), false)
    }

    /// The decoder's definition on the whole reply at once.
    fn reference(items: &[Item], start: Start, stop: &[String]) -> (String, String, bool) {
        let opens_first = |items: &[Item]| {
            items
                .iter()
                .position(|item| matches!(item, Item::Open))
                .filter(|at| plain(&items[..*at]).trim().is_empty())
        };
        let answer = |items: &[Item]| until_stop(plain(items).trim_start(), stop);
        match start {
            Start::Raw => {
                let (text, stopped) = until_stop(&plain(items), stop);
                (String::new(), text, stopped)
            }
            Start::Answer => match opens_first(items) {
                Some(at) => reference(&items[at + 1..], Start::Thought, stop),
                None => {
                    let (text, stopped) = answer(items);
                    (String::new(), text, stopped)
                }
            },
            Start::Thought => {
                let close = items.iter().position(|item| matches!(item, Item::Close));
                let mut thought = &items[..close.unwrap_or(items.len())];
                while let Some(at) = opens_first(thought) {
                    thought = &thought[at + 1..];
                }
                let (text, stopped) = answer(close.map_or(&[], |at| &items[at + 1..]));
                (plain(thought).trim().to_owned(), text, stopped)
            }
        }
    }

    fn any_item() -> impl Strategy<Value = Item> {
        let text = prop::sample::select(vec![
            "hello", " ", "\n", "ll", "中", "é", "👩", "<think>", "</think>", "12", "h",
        ]);
        prop_oneof![
            8 => text.prop_map(|text| Item::Bytes(text.into())),
            1 => prop::collection::vec(prop::sample::select(vec![0xE4, 0xB8, 0xAD, 0xF0, 0x9F, 0x80]), 1..4)
                .prop_map(Item::Bytes),
            1 => Just(Item::Open),
            1 => Just(Item::Close),
            1 => Just(Item::Control),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_cut_gives_what_the_whole_reply_means(
            items in prop::collection::vec(any_item(), 0..16),
            start in prop::sample::select(vec![Start::Thought, Start::Answer, Start::Raw]),
            stop in prop::collection::vec(prop::sample::select(vec!["lo", "llo", "\n\n", "中h", "</think>"]), 0..3),
        ) {
            let tokenizer = deepseek();
            let stop: Vec<String> = stop.into_iter().map(str::to_owned).collect();
            let expected = reference(&items, start, &stop);
            for bytewise in [true, false] {
                let ids = tokens(&tokenizer, &items, bytewise);
                let (thought, answer, stopped) = decode(&tokenizer, start, &stop, &ids);
                // A stop string may also be complete only with the end of a last, broken character.
                prop_assert_eq!((&thought, &answer), (&expected.0, &expected.1));
                prop_assert!(!stopped || expected.2);
            }
        }
    }

    fn check(start: Start, items: &[Item], thought: &str, answer: &str) {
        let tokenizer = deepseek();
        let ids = tokens(&tokenizer, items, true);
        let found = decode(&tokenizer, start, &[], &ids);
        assert_eq!(found, (thought.to_owned(), answer.to_owned(), false), "{items:?}");
    }

    fn text(text: &str) -> Item {
        Item::Bytes(text.into())
    }

    #[test]
    fn a_thought_ends_at_its_tag_and_loses_the_space_around_it() {
        check(
            Start::Thought,
            &[text("a b\n"), Item::Close, text("\n\nc d\n")],
            "a b",
            "c d\n",
        );
    }

    #[test]
    fn a_generated_opening_tag_is_dropped() {
        check(
            Start::Thought,
            &[text("\n"), Item::Open, text("\na"), Item::Close, text("b")],
            "a",
            "b",
        );
        check(
            Start::Answer,
            &[Item::Open, text("\na"), Item::Close, text("b")],
            "a",
            "b",
        );
    }

    #[test]
    fn later_tags_are_text() {
        check(
            Start::Thought,
            &[text("a"), Item::Open, Item::Close, text("b"), Item::Close],
            "a<think>",
            "b</think>",
        );
        check(
            Start::Raw,
            &[Item::Open, text(" a"), Item::Close],
            "",
            "<think> a</think>",
        );
    }

    #[test]
    fn the_word_is_no_tag_where_there_is_a_token() {
        check(
            Start::Thought,
            &[text("a</think>b"), Item::Close, text("c")],
            "a</think>b",
            "c",
        );
    }

    #[test]
    fn the_word_is_the_tag_where_there_is_no_token() {
        let tokenizer = chatml(false);
        let mut decoder = ReplyDecoder::new(&tokenizer, Start::Thought, &[]);
        let ids = tokenizer.encode("a\n</think>\n\nb</think>").unwrap();
        let mut pieces: Vec<Piece> = ids.iter().flat_map(|id| decoder.push(*id)).collect();
        pieces.extend(decoder.finish());
        assert_eq!(pieces.first(), Some(&Piece::Thought("a".into())));
        let answer: String = pieces[1..]
            .iter()
            .map(|piece| if let Piece::Answer(text) = piece { text } else { "" })
            .collect();
        assert_eq!(answer, "b</think>");
        assert_eq!(decoder.thought_tokens(), "a\n</think>".len());
    }

    #[test]
    fn a_thought_cut_off_is_a_thought() {
        check(Start::Thought, &[text("a b \n")], "a b", "");
    }

    #[test]
    fn thought_tokens_count_both_tags() {
        let tokenizer = deepseek();
        let mut decoder = ReplyDecoder::new(&tokenizer, Start::Thought, &[]);
        for id in tokens(&tokenizer, &[Item::Open, text("ab"), Item::Close, text("cd")], true) {
            decoder.push(id);
        }
        assert_eq!(decoder.thought_tokens(), 4);
    }

    #[test]
    fn a_stop_string_counts_in_the_answer_only_and_ends_it() {
        let tokenizer = deepseek();
        let ids = tokens(&tokenizer, &[text("x12"), Item::Close, text("a12b")], true);
        let found = decode(&tokenizer, Start::Thought, &["12".into()], &ids);
        assert_eq!(found, ("x12".into(), "a".into(), true));
    }

    #[test]
    fn nothing_comes_after_the_end_and_unknown_tokens_are_empty() {
        let tokenizer = deepseek();
        let mut decoder = ReplyDecoder::new(&tokenizer, Start::Answer, &[]);
        assert_eq!(decoder.push(u32::MAX), []);
        assert_eq!(decoder.push(byte_token(&tokenizer, 0xE4)), []);
        assert_eq!(decoder.finish(), [Piece::Answer("\u{FFFD}".into())]);
        assert_eq!(
            (decoder.push(byte_token(&tokenizer, b'a')), decoder.finish()),
            (vec![], vec![])
        );
    }
}
