//! The embedding of a text in the making: the states that count, added up in the order of their positions.

use crate::model::{Pooling, Wanted};

/// The sum of the states so far. One state comes out as it went in, to the last bit.
#[derive(Debug)]
pub(crate) struct Embedding {
    wants_every_state: bool,
    sum: Vec<f64>, // [hidden], empty before the first state
    states: f64,
}

impl Embedding {
    pub(crate) fn new(pooling: Pooling) -> Self {
        Self {
            wants_every_state: pooling == Pooling::Mean,
            sum: Vec::new(),
            states: 0.0,
        }
    }

    /// Whether tokens that were computed for others are no use, as their states are gone.
    pub(crate) fn wants_every_state(&self) -> bool {
        self.wants_every_state
    }

    /// What is wanted of a segment, which may end at the text's last token.
    pub(crate) fn wanted(&self, is_last: bool) -> Wanted {
        match (self.wants_every_state, is_last) {
            (true, _) => Wanted::EveryState,
            (false, true) => Wanted::LastState,
            (false, false) => Wanted::Nothing,
        }
    }

    /// Forgets all states: the text is computed from its beginning again.
    pub(crate) fn restart(&mut self) {
        self.sum.clear();
        self.states = 0.0;
    }

    /// Takes the next state, whatever chunk it came in.
    pub(crate) fn add(&mut self, state: &[f32]) {
        self.sum.resize(state.len(), 0.0);
        for (sum, value) in self.sum.iter_mut().zip(state) {
            *sum += f64::from(*value);
        }
        self.states += 1.0;
    }

    /// The mean of the states; `None` if they were not finite numbers.
    pub(crate) fn mean(&self) -> Option<Vec<f32>> {
        #[expect(clippy::cast_possible_truncation, reason = "a mean of f32 is rounded to f32")]
        let mean = |sum: &f64| (sum / self.states) as f32;
        let values: Vec<f32> = self.sum.iter().map(mean).collect();
        values.iter().all(|value| value.is_finite()).then_some(values)
    }
}
