//! Logits against the f32 oracle, for every architecture, in every kind of format.

use library::TensorType;

use models::KvFormat;

use crate::make::{Noise, Recipe, Sequence, cpu_model_with};
use crate::truth::Truth;

/// The K formats as a Q4_K_M file mixes them.
fn q4_k_m(name: &str) -> TensorType {
    match name {
        "output.weight" | "blk.0.attn_v.weight" | "blk.0.ffn_down.weight" | "blk.2.ffn_down.weight" => TensorType::Q6K,
        _ => TensorType::Q4K,
    }
}

/// One of every format.
fn everything(name: &str) -> TensorType {
    match name {
        "token_embd.weight" => TensorType::Q5_0,
        "output.weight" => TensorType::Bf16,
        name if name.ends_with("attn_q.weight") => TensorType::Q2K,
        name if name.ends_with("attn_k.weight") => TensorType::Q3K,
        name if name.ends_with("attn_v.weight") => TensorType::Q5K,
        name if name.ends_with("attn_output.weight") => TensorType::Q4_0,
        name if name.ends_with("ffn_gate.weight") => TensorType::Q8_0,
        name if name.ends_with("ffn_up.weight") => TensorType::F16,
        _ => TensorType::Q6K,
    }
}

/// How far the logits of all positions of a sequence are off, as roots of mean squares.
struct Gap {
    difference: f32,
    spread: f32,
}

fn gap(recipe: &Recipe, kv_format: KvFormat, tokens: usize) -> Gap {
    let gguf = recipe.gguf();
    let (mut model, mut truth) = (cpu_model_with(&gguf, kv_format), Truth::new(&gguf, tokens));
    let tokens = Noise(recipe.seed + 1).tokens(tokens, recipe.vocabulary);
    let mut sequence = Sequence::new(3, tokens.len());
    let (mut differences, mut squares, mut count) = (0.0f32, 0.0f32, 0);
    for (position, token) in tokens.iter().enumerate() {
        let found = sequence.run(&mut model, &[*token]);
        let expected = truth.logits(&[*token], position);
        for (found, expected) in found.iter().zip(&expected) {
            assert!(found.is_finite());
            differences += (found - expected).powi(2);
            squares += expected.powi(2);
            count += 1;
        }
    }
    let root = |sum: f32| (sum / count as f32).sqrt();
    Gap {
        difference: root(differences),
        spread: root(squares),
    }
}

fn check(recipe: &Recipe, tokens: usize, tolerance: f32) {
    check_with(recipe, KvFormat::F16, tokens, tolerance);
}

fn check_with(recipe: &Recipe, kv_format: KvFormat, tokens: usize, tolerance: f32) {
    let gap = gap(recipe, kv_format, tokens);
    let (name, share) = (recipe.architecture, gap.difference / gap.spread);
    println!("{name}: off by {share} of logits that spread by {}", gap.spread);
    assert!(
        gap.spread > 0.5,
        "{name}: logits that spread by {} show nothing",
        gap.spread
    );
    assert!(
        share < tolerance,
        "{name}: off by {share} of the spread, allowed {tolerance}"
    );
}

/// With plain weights only the cache's f16 (half of 2^-11 of each key and value, on average less) and the order of sums
/// differ.
const PLAIN: f32 = 1e-3;
/// Activations are rounded to steps of 1/127 of the largest of a block, which is some three times the usual one: 0.7 % of
/// noise in each product, five products deep a layer, three layers and the output.
const QUANTISED: f32 = 0.05;

#[test]
fn f32_weights_give_the_oracles_logits() {
    for architecture in ["qwen2", "llama", "qwen3"] {
        check(&Recipe::new(architecture, |_| TensorType::F32), 40, PLAIN);
    }
}

/// A cache of 8 bits rounds keys and values to steps of 1/127 of the largest of 32: 0.7 % of noise in each, three layers.
const EIGHT_BITS: f32 = 0.02;

#[test]
fn a_cache_of_eight_bits_gives_nearly_the_oracles_logits() {
    for architecture in ["qwen2", "llama", "qwen3"] {
        let recipe = Recipe::new(architecture, |_| TensorType::F32);
        check_with(&recipe, KvFormat::Q8_0, 40, EIGHT_BITS);
    }
}

#[test]
fn half_weights_give_the_oracles_logits() {
    check(&Recipe::new("qwen2", |_| TensorType::F16), 20, PLAIN);
    check(&Recipe::new("llama", |_| TensorType::Bf16), 20, PLAIN);
}

#[test]
fn q4_k_m_weights_give_the_oracles_logits() {
    for architecture in ["qwen2", "llama", "qwen3"] {
        check(&Recipe::new(architecture, q4_k_m), 40, QUANTISED);
    }
}

#[test]
fn every_format_gives_the_oracles_logits() {
    check(&Recipe::new("qwen2", everything), 20, QUANTISED);
    check(&Recipe::new("qwen3", everything), 20, QUANTISED);
}

#[test]
fn shapes_that_fill_no_k_block_give_the_oracles_logits() {
    // Qwen2.5 0.5b's proportions: seven query heads a key head, columns that are no multiple of 256.
    let plain = Recipe {
        hidden: 224,
        heads: 7,
        kv_heads: 1,
        head_dim: 32,
        ffn: 352,
        is_tied: true,
        ..Recipe::new("qwen2", |_| TensorType::F32)
    };
    check(&plain, 20, PLAIN);
    check(
        &Recipe {
            kinds: |_| TensorType::Q8_0,
            ..plain
        },
        20,
        QUANTISED,
    );
}

#[test]
fn an_output_tied_to_the_embedding_gives_the_oracles_logits() {
    for architecture in ["llama", "qwen3"] {
        check(
            &Recipe {
                is_tied: true,
                ..Recipe::new(architecture, |_| TensorType::F32)
            },
            10,
            PLAIN,
        );
    }
}

#[test]
fn rotary_factors_give_the_oracles_logits() {
    check(
        &Recipe {
            has_factors: true,
            ..Recipe::new("llama", |_| TensorType::F32)
        },
        40,
        PLAIN,
    );
}

#[test]
fn positions_past_a_thousand_give_the_oracles_logits() {
    for architecture in ["qwen2", "llama", "qwen3"] {
        let recipe = Recipe {
            layers: 2,
            has_factors: architecture == "llama",
            ..Recipe::new(architecture, |_| TensorType::F32)
        };
        let gguf = recipe.gguf();
        let (mut model, mut truth) = (cpu_model_with(&gguf, KvFormat::F16), Truth::new(&gguf, 1100));
        let tokens = Noise(9).tokens(1060, recipe.vocabulary);
        let mut sequence = Sequence::new(0, tokens.len());
        let (history, last) = tokens.split_at(1050);
        sequence.run(&mut model, history);
        truth.logits(history, 0);
        for (index, token) in last.iter().enumerate() {
            let found = sequence.run(&mut model, &[*token]);
            let expected = truth.logits(&[*token], 1050 + index);
            for (found, expected) in found.iter().zip(&expected) {
                // The tolerance of plain weights at its worst logit, and angles of a thousand radians that two f32
                // frequencies put apart.
                assert!(
                    (found - expected).abs() < 3.0 * PLAIN,
                    "{architecture}: {found} against {expected}"
                );
            }
        }
    }
}
