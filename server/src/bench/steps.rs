//! The model's own steps, without an engine: a prompt, one stream after it, several sequences at once.

use std::sync::Arc;
use std::time::Instant;

use engine::{BLOCK_TOKENS, LanguageModel, Segment, Wanted};
use models::{CpuModel, Weights};

use super::SEED;
use super::plan::Plan;
use super::progress::Progress;
use crate::failure::Failure;

/// Prompt tokens of one step: a longer prompt takes several, so that memory stays bounded.
const STEP_TOKENS_MAX: usize = 512;

/// Seconds, each the median of the rounds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Steps {
    /// From an empty cache to the logits after the prompt.
    pub(super) prefill_s: f64,
    /// One sequence's tokens after that prompt, all together.
    pub(super) decode_s: f64,
    /// One step of each batch size, in the plan's order.
    pub(super) batch_step_s: Vec<f64>,
}

/// Measures with a model of its own over `weights`.
///
/// # Errors
/// No memory for the KV cache, no threads, or a step that failed.
pub(super) fn measure(weights: &Arc<Weights>, plan: &Plan, progress: &Progress) -> Result<Steps, Failure> {
    let mut runner = Runner::new(weights, plan)?;
    let (mut prefill, mut decode) = (Vec::new(), Vec::new());
    let mut batches = vec![Vec::new(); plan.batches.len()];
    // The shared beginning of all sequences, and the first use of every buffer: not measured.
    runner.prompt(plan.short_prompt_tokens)?;
    for round in 1..=plan.rounds {
        for (times, sequences) in batches.iter_mut().zip(&plan.batches) {
            progress.next(format!("batch of {sequences}, round {round} of {}", plan.rounds));
            times.push(runner.batch(*sequences, plan)?);
        }
    }
    for round in 1..=plan.rounds {
        progress.next(format!(
            "{} prompt tokens, round {round} of {}",
            plan.prompt_tokens, plan.rounds
        ));
        prefill.push(runner.prompt(plan.prompt_tokens)?);
        progress.next(format!(
            "{} tokens after it, round {round} of {}",
            plan.decode_tokens, plan.rounds
        ));
        decode.push(runner.decode(plan)?);
    }
    Ok(Steps {
        prefill_s: median(prefill),
        decode_s: median(decode),
        batch_step_s: batches.into_iter().map(median).collect(),
    })
}

/// A model and what its steps are made of.
struct Runner {
    model: CpuModel,
    tokens: Vec<u32>,
    block_table: Vec<u32>,
    logits: Vec<f32>,
}

impl Runner {
    fn new(weights: &Arc<Weights>, plan: &Plan) -> Result<Runner, Failure> {
        let alone = (plan.prompt_tokens + plan.decode_tokens).max(plan.short_prompt_tokens + plan.batch_steps);
        let own_blocks = plan.batch_steps.div_ceil(BLOCK_TOKENS);
        let shared_blocks = plan.short_prompt_tokens.div_ceil(BLOCK_TOKENS);
        let together = shared_blocks + plan.sequences_max() * own_blocks;
        let kv_blocks = alone.div_ceil(BLOCK_TOKENS).max(together);
        let model = CpuModel::with_threads(Arc::clone(weights), alone, kv_blocks, plan.kv, plan.threads)
            .map_err(|error| Failure::Model(error.to_string()))?;
        let vocabulary = model.shape().vocabulary;
        let last_id = u32::try_from(kv_blocks).unwrap_or(u32::MAX);
        Ok(Runner {
            model,
            tokens: pseudo_random(SEED, alone, vocabulary),
            block_table: (0..last_id).collect(),
            logits: Vec::new(),
        })
    }

    /// Computes the first `count` tokens from an empty cache. Returns the seconds.
    fn prompt(&mut self, count: usize) -> Result<f64, Failure> {
        let start = Instant::now();
        let mut first_position = 0;
        while first_position < count {
            let end = (first_position + STEP_TOKENS_MAX).min(count);
            let segment = Segment {
                tokens: &self.tokens[first_position..end],
                first_position,
                block_table: &self.block_table,
                wanted: if end == count { Wanted::Logits } else { Wanted::Nothing },
            };
            step(&mut self.model, &[segment], &mut self.logits)?;
            first_position = end;
        }
        Ok(start.elapsed().as_secs_f64())
    }

    /// Computes the tokens after the prompt one by one. Returns the seconds of all.
    fn decode(&mut self, plan: &Plan) -> Result<f64, Failure> {
        let start = Instant::now();
        for position in plan.prompt_tokens..plan.prompt_tokens + plan.decode_tokens {
            let segment = Segment {
                tokens: &self.tokens[position..=position],
                first_position: position,
                block_table: &self.block_table,
                wanted: Wanted::Logits,
            };
            step(&mut self.model, &[segment], &mut self.logits)?;
        }
        Ok(start.elapsed().as_secs_f64())
    }

    /// Decodes `sequences` sequences together that share their prompt and go on each in blocks of its own. Returns the
    /// seconds of one step.
    fn batch(&mut self, sequences: usize, plan: &Plan) -> Result<f64, Failure> {
        let tables = tables(sequences, plan);
        let start = Instant::now();
        for position in plan.short_prompt_tokens..plan.short_prompt_tokens + plan.batch_steps {
            let segment = |(sequence, block_table)| {
                // A token of its own for each sequence.
                let at = (position + sequence) % self.tokens.len();
                Segment {
                    tokens: &self.tokens[at..=at],
                    first_position: position,
                    block_table,
                    wanted: Wanted::Logits,
                }
            };
            let batch: Vec<Segment<'_>> = tables.iter().map(Vec::as_slice).enumerate().map(segment).collect();
            step(&mut self.model, &batch, &mut self.logits)?;
        }
        Ok(start.elapsed().as_secs_f64() / plan.batch_steps as f64)
    }
}

fn step(model: &mut CpuModel, batch: &[Segment<'_>], logits: &mut Vec<f32>) -> Result<(), Failure> {
    model
        .forward(batch, logits)
        .map_err(|error| Failure::Model(error.to_string()))
}

/// Each sequence's blocks: those of the shared prompt, then its own.
fn tables(sequences: usize, plan: &Plan) -> Vec<Vec<u32>> {
    let shared = plan.short_prompt_tokens / BLOCK_TOKENS;
    let own = plan.batch_steps.div_ceil(BLOCK_TOKENS);
    let id = |block: usize| u32::try_from(block).unwrap_or(u32::MAX);
    let table = |sequence: usize| {
        let first = shared + sequence * own;
        (0..shared).chain(first..first + own).map(id).collect()
    };
    (0..sequences).map(table).collect()
}

/// `count` token ids below `vocabulary`, the same for the same seed.
///
/// Source: SplitMix64, Steele, Lea and Flood 2014.
pub(super) fn pseudo_random(seed: u64, count: usize, vocabulary: usize) -> Vec<u32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let id = (mixed ^ (mixed >> 31)) % vocabulary.max(1) as u64;
        u32::try_from(id).unwrap_or(0)
    };
    (0..count).map(|_| next()).collect()
}

/// The middle one, or the mean of the two in the middle.
pub(super) fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    let upper = times.len() / 2;
    let middle = times.get(upper).copied().unwrap_or(f64::NAN);
    match times.get(upper.wrapping_sub(1)) {
        Some(lower) if times.len().is_multiple_of(2) => f64::midpoint(*lower, middle),
        _ => middle,
    }
}

#[cfg(test)]
mod tests {
    use super::super::arguments::{Arguments, Words};
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(vec![7.0]), 7.0);
    }

    #[test]
    fn the_same_seed_gives_the_same_ids_below_the_vocabulary() {
        let ids = pseudo_random(7, 1000, 50);
        assert_eq!(ids, pseudo_random(7, 1000, 50));
        assert_ne!(ids, pseudo_random(8, 1000, 50));
        assert!((0..50).all(|id| ids.contains(&id)) && ids.iter().all(|id| *id < 50));
    }

    #[test]
    fn sequences_share_their_prompt_and_nothing_they_write() {
        let plan = Plan::new(&Arguments::check(&Words::default()).unwrap(), 4096).unwrap();
        let tables = tables(3, &plan);
        let shared = plan.short_prompt_tokens / BLOCK_TOKENS;
        assert!(tables.iter().all(|table| table[..shared] == tables[0][..shared]));
        let mut own: Vec<u32> = tables.iter().flat_map(|table| table[shared..].to_vec()).collect();
        own.extend(&tables[0][..shared]);
        let count = own.len();
        own.sort_unstable();
        own.dedup();
        assert_eq!(own.len(), count, "{tables:?}");
    }
}
