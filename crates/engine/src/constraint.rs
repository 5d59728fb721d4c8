//! A rule on what one sequence may say, made elsewhere (a grammar, a schema) and asked before every token.
//!
//! It is host state like the sampler: it goes where the sequence goes, and hears of each token once, when it is chosen.
//! What is computed again after a preemption or a failure is not chosen again.

use std::fmt;

/// Which tokens may come next, and a memory of those that came. The same tokens must always give the same masks.
///
/// One that panics or errs ends its own sequence and nothing else.
pub trait Constraint: Send + Sync + fmt::Debug {
    /// Says what may come next: adds to `mask`, which holds nothing, or leaves it alone if everything may.
    ///
    /// # Errors
    /// When it cannot say.
    fn allow(&mut self, mask: &mut Mask) -> Result<Allowed, ConstraintError>;

    /// Hears which token was chosen. Never an end token.
    ///
    /// # Errors
    /// When it cannot go on from there.
    fn accept(&mut self, token: u32) -> Result<(), ConstraintError>;

    /// Another one in the same state. Shares nothing that could make one's answer depend on the other's.
    fn copy(&self) -> Box<dyn Constraint>;
}

impl Clone for Box<dyn Constraint> {
    fn clone(&self) -> Self {
        (**self).copy()
    }
}

/// The answer of [`Constraint::allow`]. End tokens are not the mask's concern: they follow `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// Every token, as without a constraint.
    Anything,
    /// Every token, but it must not end here.
    AnythingButEnd,
    /// What the mask holds.
    Masked {
        /// Whether it may end here. If it may and the mask holds nothing, or nothing at all is allowed, it ends.
        end: bool,
    },
}

/// Why a constraint cannot go on, in words for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConstraintError(pub String);

/// A set of tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mask {
    /// 32 tokens each, the lowest id in the lowest bit.
    words: Vec<u32>,
    vocabulary: usize,
}

impl Mask {
    /// Empties it, for ids below `vocabulary`.
    pub fn reset(&mut self, vocabulary: usize) {
        self.vocabulary = vocabulary;
        self.words.clear();
        self.words.resize(vocabulary.div_ceil(32), 0);
    }

    /// Adds a token; one that does not exist is left out.
    pub fn allow(&mut self, token: u32) {
        if (token as usize) < self.vocabulary
            && let Some(word) = self.words.get_mut(token as usize / 32)
        {
            *word |= 1 << (token % 32);
        }
    }

    /// Adds tokens given as bits, 32 a word, the lowest id in the lowest bit.
    pub fn allow_words(&mut self, words: &[u32]) {
        for (word, more) in self.words.iter_mut().zip(words) {
            *word |= more;
        }
        let last_bits = self.vocabulary % 32;
        if let (Some(last), 1..) = (self.words.last_mut(), last_bits) {
            *last &= (1 << last_bits) - 1;
        }
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Whether it holds this token.
    #[must_use]
    pub fn holds(&self, token: u32) -> bool {
        let word = self.words.get(token as usize / 32);
        word.is_some_and(|word| word >> (token % 32) & 1 == 1)
    }

    /// Adds every token.
    pub(crate) fn allow_all(&mut self) {
        self.words.fill(u32::MAX);
        self.allow_words(&[]);
    }

    /// Takes a token out.
    pub(crate) fn forbid(&mut self, token: u32) {
        if let Some(word) = self.words.get_mut(token as usize / 32) {
            *word &= !(1 << (token % 32));
        }
    }

    /// Writes `logits` to `into`, those of tokens that it does not hold as minus infinity.
    pub(crate) fn apply(&self, logits: &[f32], into: &mut Vec<f32>) {
        into.clear();
        into.reserve(logits.len());
        for (word, logits) in self.words.iter().zip(logits.chunks(32)) {
            match *word {
                0 => into.extend(logits.iter().map(|_| f32::NEG_INFINITY)),
                u32::MAX => into.extend_from_slice(logits),
                word => into.extend((0..).zip(logits).map(|(bit, logit)| {
                    let allowed = word >> bit & 1 == 1;
                    if allowed { *logit } else { f32::NEG_INFINITY }
                })),
            }
        }
        into.resize(logits.len(), f32::NEG_INFINITY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(mask: &Mask) -> Vec<u32> {
        (0..200).filter(|token| mask.holds(*token)).collect()
    }

    #[test]
    fn a_mask_holds_what_was_added_and_nothing_past_the_vocabulary() {
        let mut mask = Mask::default();
        mask.reset(70);
        assert!(mask.is_empty());
        [0, 31, 32, 69, 70, 5000]
            .into_iter()
            .for_each(|token| mask.allow(token));
        assert_eq!(held(&mask), [0, 31, 32, 69]);
        mask.forbid(31);
        mask.forbid(5000);
        assert_eq!(held(&mask), [0, 32, 69]);
        mask.reset(35);
        mask.allow_words(&[1, u32::MAX, u32::MAX]);
        assert_eq!(held(&mask), [0, 32, 33, 34]);
        mask.reset(64);
        mask.allow_words(&[0, u32::MAX]);
        assert_eq!(held(&mask), (32..64).collect::<Vec<u32>>());
        mask.reset(40);
        mask.allow_all();
        assert_eq!(held(&mask), (0..40).collect::<Vec<u32>>());
    }

    #[test]
    fn what_is_not_held_is_minus_infinity() {
        let mut mask = Mask::default();
        let logits: Vec<f32> = (0_u8..100).map(f32::from).collect();
        let mut masked = vec![7.0; 3];
        mask.reset(100);
        (32..64).chain([2, 99]).for_each(|token| mask.allow(token));
        mask.apply(&logits, &mut masked);
        assert_eq!(masked.len(), 100);
        for (token, logit) in (0_u32..).zip(&masked) {
            let expected = if mask.holds(token) {
                logits[token as usize]
            } else {
                f32::NEG_INFINITY
            };
            assert_eq!(*logit, expected, "{token}");
        }
        mask.reset(40);
        mask.allow_all();
        mask.apply(&logits, &mut masked);
        assert!(
            masked[40..].iter().all(|logit| *logit == f32::NEG_INFINITY),
            "tokens it knows nothing of"
        );
    }
}
