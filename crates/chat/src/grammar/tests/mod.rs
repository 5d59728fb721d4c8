//! Grammars against an independent validator, hostile schemas, and what stands around the JSON.

mod frames;
mod hostile;
mod random;

use std::sync::LazyLock;

use super::{GrammarState, Permit};
use crate::Tokenizer;
use crate::testing::deepseek_vocabulary;

/// Numbers by chance, the same for the same seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % end.max(1)
    }

    pub(crate) fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

/// All bytes, a few words, JSON's usual token pairs, the family's special tokens.
pub(crate) fn tokenizer() -> Tokenizer {
    static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
        let mut vocabulary = deepseek_vocabulary();
        for text in [
            "{\"", "\":", "\",", "\",Ġ\"", "\"}", "},", "[{", "}]", "[]", "ĊĠĠ", "true", "null", "25", "00",
        ] {
            vocabulary.tokens.push(text.to_owned());
            vocabulary.types.push(1);
        }
        Tokenizer::new(vocabulary).unwrap()
    });
    TOKENIZER.clone()
}

/// What may come next: tokens, and whether it may end.
pub(crate) fn allowed(tokenizer: &Tokenizer, state: &mut GrammarState) -> Option<(Vec<u32>, bool)> {
    match state.allow().unwrap() {
        Permit::Anything => None,
        Permit::Only { words, end } => {
            let holds = |id: &u32| words[*id as usize / 32] >> (id % 32) & 1 == 1;
            let ids = 0..u32::try_from(tokenizer.vocabulary_size()).unwrap();
            let tokens = ids.filter(holds).filter(|id| !tokenizer.end_tokens().contains(id));
            Some((tokens.collect(), end))
        }
    }
}

/// Walks by chance to the end of the answer; `None` if it becomes too long.
pub(crate) fn walk(
    tokenizer: &Tokenizer,
    state: &mut GrammarState,
    dice: &mut Dice,
    tokens_max: usize,
) -> Option<Vec<u32>> {
    let mut said = Vec::new();
    while said.len() < tokens_max {
        let (tokens, end) = allowed(tokenizer, state).expect("it has begun");
        if end && (tokens.is_empty() || dice.one_in(2)) {
            return Some(said);
        }
        assert!(!tokens.is_empty(), "stuck after {:?}", tokenizer.decode(&said));
        let weights: Vec<usize> = tokens
            .iter()
            .map(|token| weight(tokenizer.token_bytes(*token)))
            .collect();
        let mut point = dice.below(weights.iter().sum());
        let chosen = weights.iter().position(|weight| {
            let hit = point < *weight;
            point = point.saturating_sub(*weight);
            hit
        });
        let token = tokens[chosen.unwrap()];
        state.accept(token).unwrap();
        said.push(token);
    }
    None
}

/// What closes is likely, so that answers end; exponents are not, since few programs read large ones.
fn weight(bytes: &[u8]) -> usize {
    match bytes {
        [b'e' | b'E'] => 1,
        [b'"' | b'}' | b']', ..] => 20_000,
        [b','] => 4_000,
        _ => 100,
    }
}
