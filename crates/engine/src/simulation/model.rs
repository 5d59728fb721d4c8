//! A model whose logits and states depend on the tokens found in its simulated KV blocks, and on nothing else.
//!
//! A wrong table, a stale block or a wrong position changes the answer. It also says so itself: every step checks what
//! [`Segment`] promises, and complaints end in [`Script::violations`].

use std::sync::{Arc, Mutex, MutexGuard};

use crate::model::{BLOCK_TOKENS, LanguageModel, ModelError, ModelShape, Segment, Wanted};
use crate::sampler::random::{draw, draw_below, mix};

/// What lies in one slot of a block: position and token.
pub(super) type Cell = Option<(usize, u32)>;

/// Random numbers that one seed gives.
#[derive(Debug, Clone)]
pub(super) struct Dice {
    seed: u64,
    thrown: u64,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, thrown: 0 }
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.thrown += 1;
        usize::try_from(draw_below(self.seed, self.thrown, end as u64)).unwrap()
    }

    pub(super) fn between(&mut self, least: usize, most: usize) -> usize {
        least + self.below(most - least + 1)
    }

    pub(super) fn one_in(&mut self, many: usize) -> bool {
        many > 0 && self.below(many) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// How often things go wrong: one in so many steps, 0 for never.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    pub(super) error: usize,
    pub(super) panic: usize,
    pub(super) not_a_number: usize,
    pub(super) build: usize,
    /// A step with this token in it always fails.
    pub(super) poison: Option<u32>,
}

/// What all models of a simulation share: the faults to come, and what was seen.
pub(super) struct Script {
    pub(super) dice: Dice,
    pub(super) faults: Faults,
    pub(super) violations: Vec<String>,
    /// By engine.
    pub(super) cells: Vec<Vec<Cell>>,
    pub(super) faults_done: usize,
    pub(super) rows_spoilt: usize,
    pub(super) models_alive: usize,
    /// Tokens computed, by all models.
    pub(super) rows: usize,
    pub(super) largest_step: usize,
}

impl Script {
    pub(super) fn new(seed: u64, engines: usize, faults: Faults) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            dice: Dice::new(mix(seed ^ 0xfa)),
            faults,
            violations: Vec::new(),
            cells: vec![Vec::new(); engines],
            faults_done: 0,
            rows_spoilt: 0,
            models_alive: 0,
            rows: 0,
            largest_step: 0,
        }))
    }

    fn throw(&mut self, many: usize) -> bool {
        let hit = self.dice.one_in(many);
        self.faults_done += usize::from(hit);
        hit
    }
}

/// One engine's model.
pub(super) struct ScriptedModel {
    engine: usize,
    shape: ModelShape,
    script: Arc<Mutex<Script>>,
}

/// A script may have been held when a fault was a panic: it is still good.
pub(super) fn lock(script: &Mutex<Script>) -> MutexGuard<'_, Script> {
    script.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl ScriptedModel {
    pub(super) fn build(engine: usize, shape: ModelShape, script: Arc<Mutex<Script>>) -> Result<Self, ModelError> {
        let mut held = lock(&script);
        let often = held.faults.build;
        if held.throw(often) {
            return Err(ModelError("scripted: cannot build".to_owned()));
        }
        held.models_alive += 1;
        held.cells[engine] = vec![None; shape.kv_blocks * BLOCK_TOKENS];
        drop(held);
        Ok(Self { engine, shape, script })
    }
}

impl Drop for ScriptedModel {
    fn drop(&mut self) {
        lock(&self.script).models_alive -= 1;
    }
}

impl LanguageModel for ScriptedModel {
    fn shape(&self) -> ModelShape {
        self.shape
    }

    fn forward(&mut self, batch: &[Segment<'_>], output: &mut Vec<f32>) -> Result<(), ModelError> {
        let mut script = lock(&self.script);
        let wrong = check(batch, &self.shape);
        script.violations.extend(wrong);
        let faults = script.faults;
        if script.throw(faults.error) {
            return Err(ModelError("scripted: error before the step".to_owned()));
        }
        let rows: usize = batch.iter().map(|segment| segment.tokens.len()).sum();
        script.rows += rows;
        script.largest_step = script.largest_step.max(rows);
        output.clear();
        for segment in batch {
            let cells = &mut script.cells[self.engine];
            for (position, token) in (segment.first_position..).zip(segment.tokens) {
                cells[cell(segment, position)] = Some((position, *token));
            }
        }
        let mut states = Vec::new();
        let mut spoilt = 0;
        for segment in batch {
            let seen = read(segment, &script.cells[self.engine]);
            let tokens = match seen {
                Ok(tokens) => tokens,
                Err(wrong) => {
                    script.violations.push(wrong);
                    continue;
                }
            };
            if faults.poison.is_some_and(|poison| tokens.contains(&poison)) {
                script.faults_done += 1;
                return Err(ModelError("scripted: poison".to_owned()));
            }
            let count = segment.wanted.states(segment.tokens.len());
            let (rows, first) = if segment.wanted == Wanted::Logits {
                output.extend(logits_after(&tokens, self.shape.vocabulary));
                (&mut *output, self.shape.vocabulary)
            } else {
                let ends = tokens.len() - count + 1..=tokens.len();
                states.extend(ends.flat_map(|end| state_after(&tokens[..end], self.shape.hidden)));
                (&mut states, count * self.shape.hidden)
            };
            if first > 0 && script.throw(faults.not_a_number) {
                spoilt += 1;
                let first = rows.len() - first;
                rows[first] = f32::NAN;
            }
        }
        output.append(&mut states);
        script.rows_spoilt += spoilt;
        if script.throw(faults.error) {
            return Err(ModelError("scripted: error after the step".to_owned()));
        }
        let panics = script.throw(faults.panic);
        drop(script);
        assert!(!panics, "scripted: panic");
        Ok(())
    }
}

/// The logits after these tokens: noise with a range of 8, the same for the same tokens.
pub(super) fn logits_after(tokens: &[u32], vocabulary: usize) -> Vec<f32> {
    let hash = tokens
        .iter()
        .fold(0, |hash, token| mix(hash ^ u64::from(*token)).wrapping_add(1));
    let logit = |id| f32::from(u16::try_from(draw(hash, id) >> 48).unwrap()) / 8192.0;
    (0..vocabulary as u64).map(logit).collect()
}

/// The last one's state after these tokens: noise from -4 to 4.
pub(super) fn state_after(tokens: &[u32], hidden: usize) -> Vec<f32> {
    let noise = logits_after(&[tokens, &[u32::MAX]].concat(), hidden);
    noise.into_iter().map(|value| value - 4.0).collect()
}

fn cell(segment: &Segment<'_>, position: usize) -> usize {
    segment.block_table[position / BLOCK_TOKENS] as usize * BLOCK_TOKENS + position % BLOCK_TOKENS
}

/// All tokens of a segment's sequence up to its last, as they lie in the blocks.
fn read(segment: &Segment<'_>, cells: &[Cell]) -> Result<Vec<u32>, String> {
    let end = segment.first_position + segment.tokens.len();
    let token = |position| match cells[cell(segment, position)] {
        Some((found, token)) if found == position => Ok(token),
        other => Err(format!("position {position} of {segment:?} holds {other:?}")),
    };
    (0..end).map(token).collect()
}

/// What is wrong with a batch.
fn check(batch: &[Segment<'_>], shape: &ModelShape) -> Vec<String> {
    let mut wrong = Vec::new();
    if batch.is_empty() {
        wrong.push("empty batch".to_owned());
    }
    for (index, segment) in batch.iter().enumerate() {
        let end = segment.first_position + segment.tokens.len();
        if segment.tokens.is_empty() || end > shape.context_tokens {
            wrong.push(format!("{end} positions in {segment:?}"));
        }
        if segment.block_table.len() < end.div_ceil(BLOCK_TOKENS) {
            wrong.push(format!("short table in {segment:?}"));
        }
        if segment.tokens.iter().any(|token| *token as usize >= shape.vocabulary) {
            wrong.push(format!("unknown token in {segment:?}"));
        }
        let mut table = segment.block_table.to_vec();
        table.sort_unstable();
        table.dedup();
        if table.len() != segment.block_table.len() || table.iter().any(|block| *block as usize >= shape.kv_blocks) {
            wrong.push(format!("blocks twice or out of range in {segment:?}"));
        }
        let written = segment.block_table.iter().skip(segment.first_position / BLOCK_TOKENS);
        let others = batch.iter().enumerate().filter(|(other, _)| *other != index);
        for (_, other) in others {
            if written.clone().any(|block| other.block_table.contains(block)) {
                wrong.push(format!("{segment:?} writes where {other:?} reads"));
            }
        }
    }
    wrong
}
