//! Cuts text into the words that merges never cross.
//!
//! The patterns are the ones that llama.cpp uses for these names, which for Qwen and Llama 3 differ from the models' own
//! only in spelling the contractions out. Text is not normalised first: Qwen's own tokenizer would apply NFC, llama.cpp
//! (whose files these are) does not, and a reply could no longer quote its prompt byte for byte.

use tokenizers::utils::SysRegex;

use crate::ChatError;

/// The longest word handed to the merges. A longer one (a megabyte without a space) is cut here, so that its cost stays
/// linear in memory and time; no vocabulary has a token that long.
pub(crate) const WORD_BYTES_MAX: usize = 8 * 1024;

/// The longest run of white space that the pattern sees in one piece: its look-ahead keeps a stack entry per character.
const SPACES_MAX: usize = 8 * 1024;

const DIGIT_BY_DIGIT: &str = concat!(
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
const THREE_DIGITS: &str = concat!(
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// A pre-tokenizer: its names in llama.cpp, its pattern, and whether a whole word that is a token skips the merges.
struct Style {
    names: &'static [&'static str],
    pattern: &'static str,
    whole_words_first: bool,
}

const STYLES: [Style; 2] = [
    Style {
        names: &["deepseek-r1-qwen", "qwen2"],
        pattern: DIGIT_BY_DIGIT,
        whole_words_first: false,
    },
    Style {
        names: &["llama-bpe", "llama3", "llama-v3"],
        pattern: THREE_DIGITS,
        whole_words_first: true,
    },
];

/// The splitter of one vocabulary.
#[derive(Debug)]
pub(crate) struct Words {
    pattern: SysRegex,
    pub(crate) whole_words_first: bool,
}

impl Words {
    /// Finds the splitter by its name in the file (`tokenizer.ggml.pre`).
    pub(crate) fn named(name: &str) -> Result<Words, ChatError> {
        let Some(style) = STYLES.iter().find(|style| style.names.contains(&name)) else {
            let known: Vec<&str> = STYLES.iter().flat_map(|style| style.names).copied().collect();
            let found = name.chars().take(64).collect();
            return Err(ChatError::UnknownPreTokenizer {
                found,
                known: known.join(", "),
            });
        };
        let pattern = SysRegex::new(style.pattern).map_err(|error| ChatError::BadVocabulary(error.to_string()))?;
        Ok(Words {
            pattern,
            whole_words_first: style.whole_words_first,
        })
    }

    /// Calls `take` with each word of `text`, in order; the words joined are the text.
    ///
    /// # Errors
    /// `TooHardToSplit` if the pattern engine stopped early. It reports its limits by ending the iteration, so the only
    /// sign is a rest without words, which the merges would turn into tokens silently.
    pub(crate) fn for_each<'t>(
        &self,
        text: &'t str,
        mut take: impl FnMut(&'t str) -> Result<(), ChatError>,
    ) -> Result<(), ChatError> {
        let mut done = 0;
        for stretch in stretches(text) {
            let mut at = 0;
            for (start, end) in self.pattern.find_iter(stretch) {
                if start != at {
                    break;
                }
                for word in short_parts(&stretch[start..end]) {
                    take(word)?;
                }
                at = end;
            }
            if at != stretch.len() {
                return Err(ChatError::TooHardToSplit {
                    at: done + at,
                    bytes: text.len(),
                });
            }
            done += at;
        }
        Ok(())
    }
}

/// Cuts `text` inside runs of white space longer than [`SPACES_MAX`].
fn stretches(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (stretch, after) = rest.split_at(stretch_bytes(rest));
        rest = after;
        (!stretch.is_empty()).then_some(stretch)
    })
}

fn stretch_bytes(text: &str) -> usize {
    let mut run_start = 0;
    for (at, letter) in text.char_indices() {
        if !letter.is_whitespace() {
            run_start = at + letter.len_utf8();
        } else if at - run_start >= SPACES_MAX {
            return at;
        }
    }
    text.len()
}

/// Cuts a word into parts of at most [`WORD_BYTES_MAX`] bytes, between characters.
fn short_parts(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let (part, after) = rest.split_at(rest.floor_char_boundary(WORD_BYTES_MAX));
        rest = after;
        (!part.is_empty()).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(name: &str, text: &str) -> Vec<String> {
        let mut words = Vec::new();
        let splitter = Words::named(name).unwrap();
        splitter
            .for_each(text, |word| {
                words.push(word.to_owned());
                Ok(())
            })
            .unwrap();
        words
    }

    fn check(name: &str, text: &str, expected: &[&str]) {
        assert_eq!(split(name, text), expected, "{name} on {text:?}");
    }

    #[test]
    fn qwen_splits_numbers_into_digits() {
        check("deepseek-r1-qwen", "in 2025", &["in", " ", "2", "0", "2", "5"]);
        check("qwen2", "in 2025", &["in", " ", "2", "0", "2", "5"]);
    }

    #[test]
    fn llama_splits_numbers_by_threes() {
        check("llama-bpe", "x12345", &["x", "123", "45"]);
        check("llama3", "x12345", &["x", "123", "45"]);
    }

    #[test]
    fn words_keep_the_space_before_them() {
        check("qwen2", "a  b, c!\n\n d", &["a", " ", " b", ",", " c", "!\n\n", " d"]);
    }

    #[test]
    fn contractions_are_words() {
        check("qwen2", "I'm he'LL", &["I", "'m", " he", "'LL"]);
    }

    #[test]
    fn space_at_the_end_stays_together() {
        check("qwen2", "a   ", &["a", "   "]);
        check("qwen2", "a \n  \n b", &["a", " \n  \n", " b"]);
    }

    #[test]
    fn chinese_words_take_one_sign_in_front() {
        check("qwen2", "你好。世界！", &["你好", "。世界", "！"]);
    }

    #[test]
    fn words_joined_are_the_text_and_none_is_longer_than_the_limit() {
        for letter in [" ", "a", "\n", "中", "👩‍👩‍👧", "!", "\t\u{3000}", "1", "e\u{301}"] {
            let text = letter.repeat(3 * WORD_BYTES_MAX / letter.len() + 7);
            for name in ["qwen2", "llama-bpe"] {
                let words = split(name, &text);
                assert!(words.concat() == text, "{name} loses text of {letter:?}");
                assert!(words.iter().all(|word| word.len() <= WORD_BYTES_MAX));
            }
        }
    }

    #[test]
    fn a_word_at_the_limit_is_whole_and_one_past_it_is_cut() {
        let word = "a".repeat(WORD_BYTES_MAX);
        assert_eq!(split("qwen2", &word).len(), 1);
        assert_eq!(
            split("qwen2", &(word + "a"))
                .iter()
                .map(String::len)
                .collect::<Vec<_>>(),
            [WORD_BYTES_MAX, 1]
        );
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let message = Words::named("tekken").unwrap_err().to_string();
        assert!(
            message.contains("`tekken`") && message.contains("deepseek-r1-qwen, qwen2, llama-bpe"),
            "{message}"
        );
    }
}
