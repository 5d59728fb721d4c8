//! What all grammars of one vocabulary share: its tokens as a trie of bytes, and the limits of the parser.

use std::sync::Arc;

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenizerEnv};
use llguidance::{Matcher, ParserFactory, panic_utils};
use serde_json::Value;

use crate::ChatError;
use crate::vocabulary::{Kind, Token};

/// So much of a reason is shown.
const REASON_CHARS_MAX: usize = 300;

/// Makes parsers for one vocabulary. Large: built when the first grammar is asked for.
pub(crate) struct GrammarFactory {
    parsers: ParserFactory,
}

impl GrammarFactory {
    /// Builds the trie. Tokens that are not ordinary text are left out of it: no grammar can reach them.
    pub(crate) fn new(tokens: &[Token], end_tokens: &[u32]) -> Result<GrammarFactory, ChatError> {
        let words: Vec<Vec<u8>> = tokens
            .iter()
            .map(|token| {
                if token.kind == Kind::Ordinary {
                    token.bytes.to_vec()
                } else {
                    Vec::new()
                }
            })
            .collect();
        // Panics on a vocabulary that it was not made for, such as one with a token of a thousand bytes.
        let parsers = panic_utils::catch_unwind(|| {
            let size = u32::try_from(words.len())?;
            let info = TokRxInfo::new(size, end_tokens.first().copied().unwrap_or_default());
            let trie = TokTrie::from(&info, &words);
            let trie = if end_tokens.is_empty() {
                trie
            } else {
                trie.with_eos_tokens(end_tokens)
            };
            let env: TokEnv = Arc::new(Vocabulary { trie });
            let slices = SlicedBiasComputer::json_slices();
            ParserFactory::new(&env, InferenceCapabilities::default(), &slices)
        });
        let mut parsers = parsers.map_err(|error| {
            ChatError::BadSchema(format!(
                "this vocabulary has no grammars: {}",
                reason(&error.to_string())
            ))
        })?;
        parsers.quiet();
        *parsers.limits_mut() = limits();
        Ok(GrammarFactory { parsers })
    }

    /// A parser for a schema; one that is in error for a schema that it cannot do.
    pub(crate) fn matcher(&self, schema: Value) -> Matcher {
        Matcher::new(self.parsers.create_parser(TopLevelGrammar::from_json_schema(schema)))
    }
}

/// What one schema may cost. On a processor of 2020 the fuels are some 20 ms for a schema and 10 ms for a token.
fn limits() -> ParserLimits {
    ParserLimits {
        initial_lexer_fuel: 1_000_000,
        step_lexer_fuel: 150_000,
        step_max_items: 50_000,
        max_items_in_row: 2_000,
        // A state is 1 to 2 kB, and a string with a bounded length needs one for each of its characters.
        max_lexer_states: 32_000,
        max_grammar_size: 100_000,
        precompute_large_lexemes: true,
        verbose_errors: false,
    }
}

/// The first line of an error of the parser, without its trimmings.
pub(crate) fn reason(error: &str) -> String {
    let line = error
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or("unknown");
    let line = line
        .strip_prefix("panic: ")
        .map_or(line, |_| "it is too unusual for the parser");
    let mut letters = line.chars();
    // Lower case, unless the first word is a name.
    let first = letters.next().into_iter().flat_map(char::to_lowercase);
    let mut reason: String = first.chain(letters.take(REASON_CHARS_MAX)).collect();
    if line.chars().nth(1).is_some_and(char::is_uppercase) {
        reason = line.chars().take(REASON_CHARS_MAX).collect();
    }
    reason.trim_end_matches('.').to_owned()
}

/// The vocabulary as the parser sees it.
struct Vocabulary {
    trie: TokTrie,
}

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<u32> {
        self.trie.greedy_tokenize(bytes)
    }

    /// Nothing is forced: how a forced text is cut into tokens is the model's choice, as everywhere.
    fn tokenize_is_canonical(&self) -> bool {
        false
    }
}
