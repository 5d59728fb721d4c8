//! Models on devices, and conversations run through their engines.

use std::path::Path;
use std::sync::Barrier;
use std::time::Instant;

use engine::{BLOCK_TOKENS, LanguageModel, Segment, Wanted};
use library::Gguf;
use models::{DeviceSpec, KvFormat, Layout, Model, Options, Placement, Share};

use crate::file::Noise;

/// Token rows of a step at most: prompts go in pieces of this length.
pub const STEP_ROWS_MAX: usize = 512;

/// Sequences of a step at most.
const SEQUENCES_MAX: usize = 16;

pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Where a model lies: `devices` in the order of its layers or parts.
pub fn layout(placement: Placement, devices: &[&str], layers: usize, kv_tokens: usize) -> Outcome<Layout> {
    let count = devices.len();
    let cut = |index: usize| index * layers / count;
    let share = |(index, device): (usize, &&str)| {
        let is_cut = placement == Placement::Tensor;
        Ok(Share {
            device: device.parse::<DeviceSpec>()?,
            layers: match placement {
                Placement::Pipeline | Placement::Offload => cut(index)..cut(index + 1),
                Placement::Replicas | Placement::Tensor => 0..layers,
            },
            part: if is_cut { index } else { 0 },
            parts: if is_cut { count } else { 1 },
        })
    };
    let shares: Outcome<Vec<Share>> = devices.iter().enumerate().map(share).collect();
    Ok(Layout {
        placement,
        shares: shares?,
        // An offloaded model has one engine for each device but the processor.
        engines: devices
            .iter()
            .filter(|device| placement != Placement::Offload || **device != "cpu")
            .count(),
        kv_tokens: kv_tokens.next_multiple_of(BLOCK_TOKENS),
    })
}

/// Opens the file at `path` on the devices of `layout`.
pub fn load(path: &Path, layout: Layout, kv_format: KvFormat) -> Outcome<Model> {
    let options = Options {
        context_tokens: layout.kv_tokens,
        kv_format,
        step_rows_max: STEP_ROWS_MAX,
        sequences_max: SEQUENCES_MAX,
    };
    Ok(Model::load(Gguf::open(path)?, layout, options, Box::new(|_| ()))?)
}

/// What is said to a model: some prompts, and how many tokens follow each.
pub struct Talk {
    pub prompts: Vec<Vec<u32>>,
    pub tokens: usize,
}

impl Talk {
    /// Prompts of these lengths.
    pub fn new(lengths: &[usize], tokens: usize, vocabulary: usize) -> Talk {
        let mut noise = Noise(20_261);
        let prompts = lengths.iter().map(|length| noise.tokens(*length, vocabulary)).collect();
        Talk { prompts, tokens }
    }

    /// Cache that one engine needs.
    pub fn kv_tokens(&self) -> usize {
        self.prompts.iter().map(|prompt| self.span(prompt)).sum()
    }

    /// Tokens of a conversation, in whole blocks.
    fn span(&self, prompt: &[u32]) -> usize {
        (prompt.len() + self.tokens).next_multiple_of(BLOCK_TOKENS)
    }
}

/// What a model answered: of each prompt, the logits after it and after each token but the last.
pub type Logits = Vec<Vec<Vec<f32>>>;

/// The likeliest tokens of an answer.
pub fn tokens_of(answer: &Logits) -> Vec<Vec<u32>> {
    let tokens = |steps: &Vec<Vec<f32>>| steps.iter().map(|logits| likeliest(logits)).collect();
    answer.iter().map(tokens).collect()
}

pub fn likeliest(logits: &[f32]) -> u32 {
    let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
    best.unwrap_or(0) as u32
}

/// Runs the talk: the prompts one after another, then all conversations together, a token of each in a step.
///
/// The tokens that follow are `said`, or the likeliest ones where nothing is said.
pub fn answer(engine: &mut dyn LanguageModel, talk: &Talk, said: Option<&[Vec<u32>]>) -> Outcome<Logits> {
    let tables = tables(talk);
    let mut answers = Logits::new();
    for (prompt, table) in talk.prompts.iter().zip(&tables) {
        answers.push(vec![read(engine, prompt, table)?]);
    }
    let mut logits = Vec::new();
    for index in 1..talk.tokens {
        let next: Vec<[u32; 1]> = answers
            .iter()
            .enumerate()
            .map(|(prompt, steps)| [said.map_or_else(|| likeliest(&steps[index - 1]), |said| said[prompt][index - 1])])
            .collect();
        let rows = talk.prompts.iter().zip(&tables).zip(&next);
        let batch: Vec<Segment<'_>> = rows
            .map(|((prompt, block_table), tokens)| Segment {
                tokens,
                first_position: prompt.len() + index - 1,
                block_table,
                wanted: Wanted::Logits,
            })
            .collect();
        engine.forward(&batch, &mut logits).map_err(|error| error.to_string())?;
        let width = logits.len() / answers.len();
        for (steps, row) in answers.iter_mut().zip(logits.chunks(width)) {
            steps.push(row.to_vec());
        }
    }
    Ok(answers)
}

/// Each conversation's blocks, in falling order so that no order is taken for granted.
fn tables(talk: &Talk) -> Vec<Vec<u32>> {
    let mut first = 0;
    let table = |prompt: &Vec<u32>| {
        let blocks = (talk.span(prompt) / BLOCK_TOKENS) as u32;
        first += blocks;
        (first - blocks..first).rev().collect()
    };
    talk.prompts.iter().map(table).collect()
}

/// Reads a prompt from an empty cache, in pieces, and returns the logits after it.
pub fn read(engine: &mut dyn LanguageModel, prompt: &[u32], block_table: &[u32]) -> Outcome<Vec<f32>> {
    let mut logits = Vec::new();
    for (index, tokens) in prompt.chunks(STEP_ROWS_MAX).enumerate() {
        let first_position = index * STEP_ROWS_MAX;
        let segment = Segment {
            tokens,
            first_position,
            block_table,
            wanted: if first_position + tokens.len() == prompt.len() {
                Wanted::Logits
            } else {
                Wanted::Nothing
            },
        };
        engine
            .forward(&[segment], &mut logits)
            .map_err(|error| error.to_string())?;
    }
    Ok(logits)
}

/// Runs the talk through every engine of the model at once, each on a thread of its own. The first failure is returned
/// after all have ended.
pub fn answers(model: &Model, talk: &Talk, said: Option<&[Vec<u32>]>) -> Outcome<Vec<Logits>> {
    let engines = model.layout().engines;
    let start = Barrier::new(engines);
    let run = |index: usize| {
        let engine = model.engine(index);
        // Who could not be made must not let the others wait.
        start.wait();
        answer(&mut *engine?, talk, said)
    };
    let found: Vec<Outcome<Logits>> = std::thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> = (0..engines).map(|index| scope.spawn(move || run(index))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Outcome<Logits>>| {
            thread
                .join()
                .unwrap_or_else(|_| Err("the engine's thread panicked".into()))
        };
        threads.into_iter().map(join).collect()
    });
    found.into_iter().collect()
}

/// What `work` gives, and the seconds that it took.
pub fn timed<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<(T, f64)> {
    let start = Instant::now();
    let result = work()?;
    Ok((result, start.elapsed().as_secs_f64()))
}
