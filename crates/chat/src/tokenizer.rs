//! The tokenizer: byte-level BPE over a model file's vocabulary.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use tokenizers::Model;
use tokenizers::models::bpe::{BPE, BpeBuilder};

use crate::grammar::GrammarFactory;
use crate::specials::{Part, Specials};
use crate::vocabulary::{ByteAlphabet, Kind, Token, decode_tokens};
use crate::words::Words;
use crate::{ChatError, Prompt, Vocabulary};

/// Different words whose tokens one call remembers: text repeats itself, and the memory of a call stays bounded.
const REMEMBERED_WORDS_MAX: usize = 16 * 1024;

/// Turns text into token ids and back. Cheap to clone; all clones share one vocabulary.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<Inner>,
}

struct Inner {
    bpe: BPE,
    words: Words,
    alphabet: ByteAlphabet,
    tokens: Vec<Token>,
    specials: Specials,
    think: Option<ThinkTokens>,
    bos: Option<u32>,
    eos: u32,
    end_tokens: Vec<u32>,
    add_bos: bool,
    add_eos: bool,
    /// Built when first asked for.
    grammars: OnceLock<Result<GrammarFactory, ChatError>>,
    spaces: OnceLock<Vec<u32>>,
}

/// The tokens around a thought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ThinkTokens {
    pub(crate) open: u32,
    pub(crate) close: u32,
}

impl Tokenizer {
    /// Builds the tokenizer of a model file.
    ///
    /// # Errors
    /// A model or pre-tokenizer we do not have, or a vocabulary that contradicts itself: lists of different lengths, ids
    /// out of range, a token twice, a merge of or into something that is no ordinary token, a byte without a token.
    pub fn new(vocabulary: Vocabulary) -> Result<Tokenizer, ChatError> {
        if vocabulary.model != "gpt2" {
            return Err(ChatError::UnknownModel {
                found: vocabulary.model.chars().take(64).collect(),
            });
        }
        let words = Words::named(&vocabulary.pre)?;
        let tokens = decode_tokens(&vocabulary)?;
        let alphabet = ByteAlphabet::new();
        let ordinary = ordinary_tokens(&vocabulary.tokens, &tokens)?;
        for byte in 0..=u8::MAX {
            if !ordinary.contains_key(alphabet.letter(byte).encode_utf8(&mut [0; 4]) as &str) {
                return Err(ChatError::BadVocabulary(format!("byte 0x{byte:02x} has no token")));
            }
        }
        let merges = merges(&vocabulary.merges, &ordinary)?;
        let ids = ordinary
            .into_iter()
            .map(|(text, id)| (text.to_owned(), id))
            .collect::<tokenizers::models::bpe::Vocab>();
        let bpe = BpeBuilder::new()
            .vocab_and_merges(ids, merges)
            .ignore_merges(words.whole_words_first)
            // The crate's cache is per thread and outlives the tokenizer; ours lives for one call.
            .cache_capacity(0)
            .build()
            .map_err(|error| ChatError::BadVocabulary(error.to_string()))?;
        let specials = Specials::of(&tokens);
        let think = specials.find("<think>").zip(specials.find("</think>"));
        let Vocabulary {
            bos,
            eos,
            end_tokens,
            add_bos,
            add_eos,
            ..
        } = vocabulary;
        let think = think.map(|(open, close)| ThinkTokens { open, close });
        let inner = Inner {
            bpe,
            words,
            alphabet,
            tokens,
            specials,
            think,
            bos,
            eos,
            end_tokens,
            add_bos,
            add_eos,
            grammars: OnceLock::new(),
            spaces: OnceLock::new(),
        };
        Ok(Tokenizer { inner: Arc::new(inner) })
    }

    /// Encodes text as text: whatever it contains, only ordinary tokens come out, and their bytes are the text's.
    ///
    /// # Errors
    /// `TooHardToSplit` rather than other tokens than the model was trained on.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, ChatError> {
        let mut ids = Vec::with_capacity(text.len() / 3);
        self.encode_onto(text, &mut ids)?;
        Ok(ids)
    }

    /// Encodes text as [`Tokenizer::encode`] does, behind one BOS if the model wants one before plain text.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_with_bos(&self, text: &str) -> Result<Vec<u32>, ChatError> {
        let mut ids: Vec<u32> = self.inner.bos.filter(|_| self.inner.add_bos).into_iter().collect();
        self.encode_onto(text, &mut ids)?;
        Ok(ids)
    }

    /// A prompt that its writer has rendered: what reads like a special token is one. For those only who may write them.
    pub fn prompt_as_written(&self, text: &str) -> Prompt {
        let mut prompt = Prompt::default();
        for part in self.inner.specials.split(text) {
            match part {
                Part::Special(id) => prompt.push_special(id),
                Part::Text(text) => prompt.push_text(&text),
            }
        }
        prompt
    }

    /// Encodes a text that is complete in at most `tokens_max` tokens, what is too many cut off: behind one BOS and before
    /// one EOS, if the model wants them.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_whole(&self, text: &str, tokens_max: usize) -> Result<Vec<u32>, ChatError> {
        let eos = Some(self.inner.eos).filter(|_| self.inner.add_eos);
        let mut ids = self.encode_with_bos(text)?;
        ids.truncate(tokens_max.saturating_sub(eos.iter().len()));
        ids.extend(eos);
        Ok(ids)
    }

    /// Encodes a rendered prompt: special tokens as they are, the text between them as text.
    ///
    /// The result begins with exactly one BOS, be it the template's or the one that the model file asks for; with none
    /// only if neither of them has one.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_prompt(&self, prompt: &Prompt) -> Result<Vec<u32>, ChatError> {
        let mut parts = prompt.parts();
        let mut wants_bos = self.inner.add_bos;
        while let ([Part::Special(first), rest @ ..], Some(bos)) = (parts, self.inner.bos)
            && *first == bos
        {
            wants_bos = true;
            parts = rest;
        }
        let mut ids: Vec<u32> = self.inner.bos.filter(|_| wants_bos).into_iter().collect();
        for part in parts {
            match part {
                Part::Special(id) => ids.push(*id),
                Part::Text(text) => self.encode_onto(text, &mut ids)?,
            }
        }
        Ok(ids)
    }

    fn encode_onto(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), ChatError> {
        let mut remembered: HashMap<&str, (usize, usize)> = HashMap::new();
        let mut letters = String::new();
        self.inner.words.for_each(text, |word| {
            if let Some(&(start, end)) = remembered.get(word) {
                ids.extend_from_within(start..end);
                return Ok(());
            }
            let start = ids.len();
            self.inner.alphabet.encode(word, &mut letters);
            let tokens = self
                .inner
                .bpe
                .tokenize(&letters)
                .map_err(|e| ChatError::BadVocabulary(e.to_string()))?;
            ids.extend(tokens.iter().map(|token| token.id));
            if remembered.len() < REMEMBERED_WORDS_MAX {
                remembered.insert(word, (start, ids.len()));
            }
            Ok(())
        })
    }

    /// The text of `ids`, special tokens shown; bytes that are no UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// `UnknownToken` for an id outside the vocabulary.
    pub fn decode(&self, ids: &[u32]) -> Result<String, ChatError> {
        let mut bytes = Vec::with_capacity(ids.len() * 4);
        for &id in ids {
            let token = self.token(id).ok_or(ChatError::UnknownToken {
                id,
                size: self.vocabulary_size(),
            })?;
            bytes.extend_from_slice(&token.bytes);
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The bytes a token stands for (a special token: its text); empty for an unknown id.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.token(id).map_or(&[], |token| &token.bytes)
    }

    /// The number of tokens; ids are below it.
    pub fn vocabulary_size(&self) -> usize {
        self.inner.tokens.len()
    }

    /// The tokens that end a reply.
    pub fn end_tokens(&self) -> &[u32] {
        &self.inner.end_tokens
    }

    /// Whether the vocabulary has tokens for `<think>` and `</think>`.
    pub fn has_thinking(&self) -> bool {
        self.inner.think.is_some()
    }

    pub(crate) fn think_tokens(&self) -> Option<ThinkTokens> {
        self.inner.think
    }

    pub(crate) fn specials(&self) -> &Specials {
        &self.inner.specials
    }

    pub(crate) fn special_texts(&self) -> impl Iterator<Item = &str> {
        let special = |token: &&Token| matches!(token.kind, Kind::Control | Kind::UserDefined);
        self.inner
            .tokens
            .iter()
            .filter(special)
            .filter_map(|token| std::str::from_utf8(&token.bytes).ok())
    }

    /// What makes grammars over this vocabulary. Built by the first caller, in half a second for a large one.
    pub(crate) fn grammars(&self) -> Result<&GrammarFactory, ChatError> {
        let inner = &self.inner;
        let build = || GrammarFactory::new(&inner.tokens, &inner.end_tokens);
        inner.grammars.get_or_init(build).as_ref().map_err(Clone::clone)
    }

    /// The tokens of nothing but white space, in order of ids.
    pub(crate) fn space_tokens(&self) -> &[u32] {
        let is_space = |token: &Token| {
            token.kind == Kind::Ordinary
                && !token.bytes.is_empty()
                && token.bytes.iter().all(|byte| b" \n\r\t".contains(byte))
        };
        self.inner.spaces.get_or_init(|| {
            let tokens = (0..).zip(&self.inner.tokens);
            tokens.filter(|(_, token)| is_space(token)).map(|(id, _)| id).collect()
        })
    }

    /// The token that text begins with, where the vocabulary has one.
    pub fn bos(&self) -> Option<u32> {
        self.inner.bos
    }

    /// The token that ends a turn.
    pub fn eos(&self) -> u32 {
        self.inner.eos
    }

    pub(crate) fn is_control(&self, id: u32) -> bool {
        self.token(id).is_some_and(|token| token.kind == Kind::Control)
    }

    fn token(&self, id: u32) -> Option<&Token> {
        self.inner.tokens.get(id as usize)
    }
}

/// The ordinary tokens by text: what merges may make. Special tokens are left out, so that no text can reach them.
fn ordinary_tokens<'t>(texts: &'t [String], tokens: &[Token]) -> Result<HashMap<&'t str, u32>, ChatError> {
    let mut ordinary = HashMap::with_capacity(texts.len());
    for ((text, token), id) in texts.iter().zip(tokens).zip(0..) {
        if token.kind != Kind::Ordinary {
            continue;
        }
        if let Some(first) = ordinary.insert(text.as_str(), id) {
            return Err(ChatError::BadVocabulary(format!(
                "tokens {first} and {id} have the same text"
            )));
        }
    }
    Ok(ordinary)
}

/// Splits and checks the merges. Of a merge that is listed twice the first counts.
fn merges(lines: &[String], ordinary: &HashMap<&str, u32>) -> Result<Vec<(String, String)>, ChatError> {
    let mut seen = HashSet::with_capacity(lines.len());
    let mut merges = Vec::with_capacity(lines.len());
    let mut joined = String::new();
    for (rank, line) in lines.iter().enumerate() {
        let Some((left, right)) = line.split_once(' ') else {
            return Err(ChatError::BadVocabulary(format!(
                "merge {rank} is not two texts with a space between"
            )));
        };
        joined.clear();
        joined.extend([left, right]);
        if [left, right, joined.as_str()]
            .iter()
            .any(|text| !ordinary.contains_key(text))
        {
            return Err(ChatError::BadVocabulary(format!(
                "merge {rank} is of or into something that is no ordinary token"
            )));
        }
        if seen.insert((left, right)) {
            merges.push((left.to_owned(), right.to_owned()));
        }
    }
    Ok(merges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{DEEPSEEK_SPECIALS, chatml, deepseek, deepseek_vocabulary, llama, special};
    use proptest::prelude::*;

    fn texts(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
        let ids = tokenizer.encode(text).unwrap();
        ids.iter().map(|id| tokenizer.decode(&[*id]).unwrap()).collect()
    }

    #[test]
    fn merges_are_applied_in_order_of_rank_within_words() {
        assert_eq!(
            texts(&deepseek(), "hello hello  hell"),
            ["hello", " hello", " ", " ", "hell"]
        );
        assert_eq!(texts(&deepseek(), "123"), ["1", "2", "3"]);
    }

    #[test]
    fn llama_takes_a_whole_word_that_is_a_token_before_any_merge() {
        let mut vocabulary = deepseek_vocabulary();
        vocabulary.merges.retain(|merge| merge != "hell o");
        let tokenizer = Tokenizer::new(vocabulary.clone()).unwrap();
        assert_eq!(texts(&tokenizer, "hello"), ["hell", "o"]);
        vocabulary.pre = "llama-bpe".into();
        let tokenizer = Tokenizer::new(vocabulary).unwrap();
        assert_eq!(texts(&tokenizer, "hello 123"), ["hello", " ", "12", "3"]);
    }

    proptest! {
        #[test]
        fn text_survives_the_way_there_and_back(text in ".{0,40}|[ \n\ta-z中<>|｜]{0,60}") {
            for tokenizer in [deepseek(), llama()] {
                prop_assert_eq!(tokenizer.decode(&tokenizer.encode(&text).unwrap()).unwrap(), text.clone());
            }
        }

        #[test]
        fn text_never_gives_a_special_token(
            parts in prop::collection::vec(prop::sample::select(vec![
                "<think>", "</think>", "<｜User｜>", "<｜Assistant｜>", "<tool_call>", "<", "｜", "x", " ", "[PAD0]",
                "<｜end▁of▁sentence｜>", "<|fim_prefix|>",
            ]), 0..8),
        ) {
            let tokenizer = deepseek();
            let text = parts.concat();
            let ids = tokenizer.encode(&text).unwrap();
            prop_assert!(ids.iter().all(|id| tokenizer.token(*id).unwrap().kind == Kind::Ordinary));
            prop_assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        }
    }

    #[test]
    fn even_a_whole_word_that_spells_a_special_token_is_text() {
        let mut vocabulary = deepseek_vocabulary();
        vocabulary.pre = "llama-bpe".into();
        vocabulary.tokens.push("secret".into());
        vocabulary.types.push(3);
        let tokenizer = Tokenizer::new(vocabulary).unwrap();
        assert_eq!(tokenizer.encode("secret").unwrap().len(), 6);
    }

    #[test]
    fn plain_text_gets_one_bos_where_the_model_wants_one() {
        let bos = special(&deepseek(), "<｜begin▁of▁sentence｜>");
        assert_eq!(deepseek().encode_with_bos("h").unwrap(), [bos, u32::from(b'h')]);
        assert_eq!(chatml(false).encode_with_bos("h").unwrap(), [u32::from(b'h')]);
    }

    #[test]
    fn a_whole_text_keeps_its_end_token_when_it_is_cut() {
        let mut vocabulary = deepseek_vocabulary();
        let (bos, eos) = (vocabulary.bos.unwrap(), vocabulary.eos);
        let plain = Tokenizer::new(vocabulary.clone()).unwrap();
        vocabulary.add_eos = true;
        let ended = Tokenizer::new(vocabulary).unwrap();
        let (a, b) = (u32::from(b'a'), u32::from(b'b'));
        assert_eq!(plain.encode_whole("ab", 9).unwrap(), [bos, a, b]);
        assert_eq!(plain.encode_whole("ab", 2).unwrap(), [bos, a]);
        assert_eq!(ended.encode_whole("ab", 9).unwrap(), [bos, a, b, eos]);
        assert_eq!(ended.encode_whole("ab", 3).unwrap(), [bos, a, eos]);
    }

    #[test]
    fn a_prompt_has_one_bos_whoever_wrote_it() {
        let tokenizer = deepseek();
        let bos = special(&tokenizer, "<｜begin▁of▁sentence｜>");
        for written in 0..3 {
            let mut prompt = Prompt::default();
            (0..written).for_each(|_| prompt.push_special(bos));
            prompt.push_text("h");
            assert_eq!(tokenizer.encode_prompt(&prompt).unwrap(), [bos, u32::from(b'h')]);
        }
    }

    #[test]
    fn words_span_neighbouring_texts_of_a_prompt() {
        let mut prompt = Prompt::default();
        prompt.push_text("hel");
        prompt.push_text("lo");
        let tokenizer = chatml(false);
        assert_eq!(
            tokenizer.encode_prompt(&prompt).unwrap(),
            tokenizer.encode("hello").unwrap()
        );
    }

    #[test]
    fn decoding_shows_special_tokens_and_refuses_unknown_ones() {
        let tokenizer = deepseek();
        assert_eq!(
            tokenizer.decode(&[special(&tokenizer, "<think>"), 0xE4]).unwrap(),
            "<think>\u{FFFD}"
        );
        let size = tokenizer.vocabulary_size();
        let id = u32::try_from(size).unwrap();
        assert_eq!(tokenizer.decode(&[id]), Err(ChatError::UnknownToken { id, size }));
        assert_eq!(tokenizer.token_bytes(id), b"");
        assert_eq!(tokenizer.token_bytes(0xE4), b"\xE4");
    }

    fn refused(change: impl Fn(&mut Vocabulary)) -> String {
        let mut vocabulary = deepseek_vocabulary();
        change(&mut vocabulary);
        Tokenizer::new(vocabulary).err().expect("refused").to_string()
    }

    #[test]
    fn a_broken_vocabulary_is_refused_with_its_fault() {
        let check = |change: &dyn Fn(&mut Vocabulary), expected: &str| {
            let message = refused(change);
            assert!(message.contains(expected), "{message:?} should say {expected:?}");
        };
        check(&|v| v.model = "llama".into(), "`llama`, only `gpt2`");
        check(
            &|v| v.pre = "tekken".into(),
            "`tekken`, known are deepseek-r1-qwen, qwen2, llama-bpe",
        );
        check(&|v| v.types.truncate(5), "but 5 token types");
        check(&|v| v.types[0x0A] = 3, "byte 0x0a has no token");
        check(&|v| v.tokens[256] = "A".into(), "tokens 65 and 256 have the same text");
        check(&|v| v.merges.push("nospace".into()), "merge 8 is not two texts");
        check(&|v| v.merges.push("h hello".into()), "merge 8 is of or into");
        check(&|v| v.eos = 9999, "token 9999 does not exist");
        check(&|v| v.bos = Some(9999), "token 9999 does not exist");
        check(&|v| v.end_tokens = vec![9999], "token 9999 does not exist");
    }

    #[test]
    fn a_merge_into_a_special_token_is_refused() {
        let message = refused(|vocabulary| vocabulary.types[260] = 3);
        assert!(message.contains("no ordinary token"), "{message}");
    }

    #[test]
    fn thinking_needs_both_tags() {
        assert!(deepseek().has_thinking() && chatml(true).has_thinking() && !chatml(false).has_thinking());
        let mut vocabulary = deepseek_vocabulary();
        let open = 256
            + 8
            + DEEPSEEK_SPECIALS
                .iter()
                .position(|(text, _)| *text == "<think>")
                .unwrap();
        vocabulary.tokens[open] = "<thin>".into();
        assert!(!Tokenizer::new(vocabulary).unwrap().has_thinking());
    }
}
