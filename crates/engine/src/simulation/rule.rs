//! A scripted constraint: what it allows depends on the tokens it heard, so one heard twice or missed changes the answer.

use super::model::Dice;
use crate::constraint::{Allowed, Constraint, ConstraintError, Mask};
use crate::sampler::random::{draw_below, mix};

/// When a rule breaks, counted in tokens it heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breaks {
    Never,
    WithError(usize),
    WithPanic(usize),
}

/// A rule by chance.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    seed: u64,
    /// It says nothing before it heard so many tokens.
    sleeps: usize,
    heard: usize,
    hash: u64,
    pub(super) breaks: Breaks,
}

impl Rule {
    pub(super) fn new(dice: &mut Dice) -> Self {
        Self {
            seed: dice.below(1000) as u64,
            sleeps: dice.pick(&[0, 0, 3]),
            heard: 0,
            hash: 0,
            breaks: Breaks::Never,
        }
    }

    fn throw(&self, index: u64, end: u64) -> u64 {
        draw_below(mix(self.seed ^ self.hash), index, end)
    }
}

impl Constraint for Rule {
    fn allow(&mut self, mask: &mut Mask) -> Result<Allowed, ConstraintError> {
        match self.breaks {
            Breaks::WithError(after) if self.heard >= after => Err(ConstraintError("scripted".to_owned())),
            Breaks::WithPanic(after) if self.heard >= after => panic!("scripted: the rule panics"),
            _ if self.heard < self.sleeps && self.seed.is_multiple_of(2) => Ok(Allowed::Anything),
            _ if self.heard < self.sleeps => Ok(Allowed::AnythingButEnd),
            _ => {
                // One time in thirty nothing at all, which ends the answer.
                let many = if self.throw(0, 30) == 0 {
                    0
                } else {
                    1 + self.throw(1, 4)
                };
                for index in 0..many {
                    // Token 0 is the end token, which is not the mask's concern: it must not count here.
                    mask.allow(u32::try_from(self.throw(2 + index, 8)).unwrap());
                }
                Ok(Allowed::Masked {
                    end: self.throw(9, 6) == 0,
                })
            }
        }
    }

    fn accept(&mut self, token: u32) -> Result<(), ConstraintError> {
        self.heard += 1;
        self.hash = mix(self.hash ^ u64::from(token) << 8 ^ self.heard as u64);
        Ok(())
    }

    fn copy(&self) -> Box<dyn Constraint> {
        Box::new(self.clone())
    }
}
