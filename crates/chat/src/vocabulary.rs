//! The vocabulary as the model file states it, and its checked form: the bytes and the kind of every token.

use std::collections::HashMap;

use crate::ChatError;

/// A GGUF file's `tokenizer.ggml.*` keys as plain data.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    /// `tokenizer.ggml.model`: the algorithm; `gpt2` is byte-level BPE.
    pub model: String,
    /// `tokenizer.ggml.pre`: how text is cut into words before the merges.
    pub pre: String,
    /// Token texts by id; ordinary ones in GPT-2's byte alphabet, special ones as they are.
    pub tokens: Vec<String>,
    /// Token types by id: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
    pub types: Vec<u32>,
    /// Merges in order of rank, each two texts with a space between.
    pub merges: Vec<String>,
    /// The token that begins a text.
    pub bos: Option<u32>,
    /// The token that ends a reply.
    pub eos: u32,
    /// All tokens that end a reply, `eos` among them.
    pub end_tokens: Vec<u32>,
    /// Whether plain text gets a `bos` in front.
    pub add_bos: bool,
    /// Whether plain text that is a whole, not the beginning of one, gets `eos` behind it.
    pub add_eos: bool,
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text: the only kind that encoding user text may give.
    Ordinary,
    /// Structure that a reader never sees: `<｜User｜>`.
    Control,
    /// Structure that a reader may see: `<think>`, `<tool_call>`.
    UserDefined,
    /// Padding and the like.
    Unused,
}

/// One token, decoded.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) bytes: Box<[u8]>,
    pub(crate) kind: Kind,
}

const CONTROL: u32 = 3;
const USER_DEFINED: u32 = 4;
const NORMAL: u32 = 1;

/// Checks the lists against each other and decodes every token.
pub(crate) fn decode_tokens(vocabulary: &Vocabulary) -> Result<Vec<Token>, ChatError> {
    if vocabulary.types.len() != vocabulary.tokens.len() {
        return Err(ChatError::BadVocabulary(format!(
            "{} tokens but {} token types",
            vocabulary.tokens.len(),
            vocabulary.types.len()
        )));
    }
    let ends = vocabulary.end_tokens.iter().copied();
    for id in ends.chain(vocabulary.bos).chain([vocabulary.eos]) {
        if id as usize >= vocabulary.tokens.len() {
            return Err(ChatError::UnknownToken {
                id,
                size: vocabulary.tokens.len(),
            });
        }
    }
    let alphabet = ByteAlphabet::new();
    let decode = |(text, kind): (&String, &u32)| match *kind {
        NORMAL => Token {
            bytes: alphabet.decode(text),
            kind: Kind::Ordinary,
        },
        CONTROL => Token {
            bytes: text.as_bytes().into(),
            kind: Kind::Control,
        },
        USER_DEFINED => Token {
            bytes: text.as_bytes().into(),
            kind: Kind::UserDefined,
        },
        _ => Token {
            bytes: text.as_bytes().into(),
            kind: Kind::Unused,
        },
    };
    Ok(vocabulary.tokens.iter().zip(&vocabulary.types).map(decode).collect())
}

/// GPT-2's way to write any byte as a printable character.
///
/// Printable Latin-1 bytes stand for themselves; the other 68 take the code points from U+0100 on, in order.
pub(crate) struct ByteAlphabet {
    letters: [char; 256],
    bytes: HashMap<char, u8>,
}

impl ByteAlphabet {
    pub(crate) fn new() -> ByteAlphabet {
        let mut letters = ['\0'; 256];
        let mut bytes = HashMap::with_capacity(256);
        let mut spare = '\u{100}'..;
        for (byte, letter) in (0..=u8::MAX).zip(&mut letters) {
            let itself = matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
            *letter = if itself {
                char::from(byte)
            } else {
                spare.next().unwrap_or_default()
            };
            bytes.insert(*letter, byte);
        }
        ByteAlphabet { letters, bytes }
    }

    /// The letter that stands for `byte`.
    pub(crate) fn letter(&self, byte: u8) -> char {
        self.letters[byte as usize]
    }

    /// Writes `text`'s bytes as letters over `into`.
    pub(crate) fn encode(&self, text: &str, into: &mut String) {
        into.clear();
        into.extend(text.bytes().map(|byte| self.letter(byte)));
    }

    /// Reads letters back; a text with a character outside the alphabet was never encoded and stands for itself.
    fn decode(&self, text: &str) -> Box<[u8]> {
        let bytes: Option<Box<[u8]>> = text.chars().map(|letter| self.bytes.get(&letter).copied()).collect();
        bytes.unwrap_or_else(|| text.as_bytes().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_alphabet_has_256_letters_and_reads_itself_back() {
        let alphabet = ByteAlphabet::new();
        assert_eq!(alphabet.bytes.len(), 256);
        assert_eq!(
            (alphabet.letter(b' '), alphabet.letter(b'\n'), alphabet.letter(b'a')),
            ('Ġ', 'Ċ', 'a')
        );
        let mut letters = String::new();
        alphabet.encode("中 \u{7f}é", &mut letters);
        assert_eq!(alphabet.decode(&letters).as_ref(), "中 \u{7f}é".as_bytes());
    }

    #[test]
    fn a_text_outside_the_alphabet_stands_for_itself() {
        assert_eq!(ByteAlphabet::new().decode("a b").as_ref(), b"a b");
    }
}
