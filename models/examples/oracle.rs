//! Compares a model file of real size with the f32 oracle.
//!
//!     cargo run --release -p models --example oracle -- FILE.gguf [TOKENS] [f16|q8_0]
//!
//! The last word is how keys and values are stored, f16 if it is not given.
//!
//! The oracle is `candle-transformers`' model over the dequantised weights in f32, which takes four bytes of memory per
//! weight (7 GB for a 1.5b). A fixed prompt is run, then TOKENS greedy ones (32): both models are fed the oracle's
//! choice, so that every step compares the same history. Per step: the differences of the logarithmic probabilities of
//! the oracle's 20 likeliest tokens, the divergence KL(oracle | ours), and whether the likeliest token is the same.
//!
//! Tolerance: a mean KL of at most 1e-3 and a mean difference over the top 20 of at most 0.05; a different likeliest token
//! only where the oracle's margin between the two is below 0.1. What differs is the rounding of activations to 8 bits
//! (0.4 % of the largest of a block) and of keys and values to f16, or to 8 bits as well.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    unreachable_pub
)]

#[path = "../tests/decoder/truth.rs"]
mod truth;

use std::path::Path;
use std::time::Instant;

use engine::{BLOCK_TOKENS, LanguageModel, Segment, Wanted};
use library::Gguf;
use models::{CpuModel, KvFormat, Weights};

const PROMPT_TOKENS: usize = 24;
const TOP: usize = 20;

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let named = arguments.last().and_then(|name| KvFormat::from_name(name));
    if named.is_some() {
        arguments.pop();
    }
    let kv_format = named.unwrap_or(KvFormat::F16);
    let Some(path) = arguments.first() else {
        println!("usage: oracle FILE.gguf [TOKENS] [f16 | q8_0]");
        return;
    };
    let gguf = Gguf::open(Path::new(path)).unwrap();
    let start = Instant::now();
    let weights = Weights::load(&gguf, &|_| ()).unwrap();
    println!(
        "loaded {:.2} GB in {:.2} s",
        weights.bytes() as f64 / 1e9,
        start.elapsed().as_secs_f64()
    );
    let mut model = CpuModel::new(weights, 2048, 1024, kv_format).unwrap();
    let tokens = arguments.get(1).map_or(32, |tokens| tokens.parse().unwrap());
    compare(&gguf, &mut model, tokens);
}

/// Tokens that are spread over the vocabulary.
fn prompt(count: usize, vocabulary: usize) -> Vec<u32> {
    (0..count)
        .map(|index| ((index * 7919 + 13) % vocabulary.min(100_000)) as u32)
        .collect()
}

fn step(model: &mut CpuModel, tokens: &[u32], first_position: usize) -> Vec<f32> {
    let block_table: Vec<u32> = (0..((first_position + tokens.len()).div_ceil(BLOCK_TOKENS)) as u32).collect();
    let segment = Segment {
        tokens,
        first_position,
        block_table: &block_table,
        wanted: Wanted::Logits,
    };
    let mut logits = Vec::new();
    model.forward(&[segment], &mut logits).unwrap();
    logits
}

fn compare(gguf: &Gguf, model: &mut CpuModel, tokens: usize) {
    let mut truth = truth::Truth::new(gguf, PROMPT_TOKENS + tokens);
    println!("oracle ready");
    let mut next = prompt(PROMPT_TOKENS, model.shape().vocabulary);
    let (mut position, mut total, mut divergence) = (0, Gap::default(), None);
    for index in 0..tokens {
        let found = log_softmax(&step(model, &next, position));
        let expected = log_softmax(&truth.logits(&next, position));
        position += next.len();
        let (ours, theirs) = (likeliest(&found), likeliest(&expected));
        total.add(&Gap::between(&found, &expected));
        if ours != theirs && divergence.is_none() {
            divergence = Some((index, expected[theirs] - expected[ours]));
        }
        next = vec![theirs as u32];
    }
    let count = tokens as f64;
    println!("{tokens} greedy tokens after a prompt of {PROMPT_TOKENS}:");
    println!(
        "top-{TOP} log probabilities: mean difference {:.4}, largest {:.4}",
        total.mean / count,
        total.largest
    );
    println!(
        "KL(oracle | ours): mean {:.2e}, largest {:.2e}",
        total.kl / count,
        total.kl_largest
    );
    match divergence {
        None => println!("greedy tokens: all {tokens} the same"),
        Some((index, margin)) => {
            println!("greedy tokens: first differs at {index}, oracle's margin there {margin:.4}")
        }
    }
}

#[derive(Default)]
struct Gap {
    mean: f64,
    largest: f64,
    kl: f64,
    kl_largest: f64,
}

impl Gap {
    fn between(found: &[f64], expected: &[f64]) -> Gap {
        let mut order: Vec<usize> = (0..expected.len()).collect();
        order.sort_by(|a, b| expected[*b].total_cmp(&expected[*a]));
        let gaps: Vec<f64> = order[..TOP]
            .iter()
            .map(|token| (found[*token] - expected[*token]).abs())
            .collect();
        let kl = found
            .iter()
            .zip(expected)
            .map(|(found, expected)| expected.exp() * (expected - found))
            .sum();
        let largest = gaps.iter().copied().fold(0.0, f64::max);
        Gap {
            mean: gaps.iter().sum::<f64>() / TOP as f64,
            largest,
            kl,
            kl_largest: kl,
        }
    }

    fn add(&mut self, other: &Gap) {
        self.mean += other.mean;
        self.kl += other.kl;
        self.largest = self.largest.max(other.largest);
        self.kl_largest = self.kl_largest.max(other.kl_largest);
    }
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - most).exp()).sum();
    logits.iter().map(|logit| f64::from(logit - most) - sum.ln()).collect()
}

fn likeliest(values: &[f64]) -> usize {
    (0..values.len())
        .max_by(|a, b| values[*a].total_cmp(&values[*b]))
        .unwrap_or(0)
}
