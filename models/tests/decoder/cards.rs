//! The decoder on a card (or its emulator): it agrees with the processor, and with itself however it is dealt out.

use engine::{LanguageModel, Segment, Wanted};
use models::{DeviceSpec, KvFormat, Layout, Model, Options, Placement, Share};

use crate::make::{CONTEXT_TOKENS, Noise, Recipe, Sequence, cpu_model_with};
use crate::placements::{kinds, layout, talk};

const CARD: &str = "cuda:0";

fn on(recipe: &Recipe, layout: Layout, kv_format: KvFormat) -> Model {
    let options = Options {
        context_tokens: CONTEXT_TOKENS,
        kv_format,
        step_rows_max: 160,
        sequences_max: 4,
    };
    Model::load(recipe.gguf(), layout, options, Box::new(|_| ())).unwrap()
}

/// The same with every device a card.
fn of_cards(mut layout: Layout) -> Layout {
    for share in &mut layout.shares {
        share.device = CARD.parse().unwrap();
    }
    layout
}

fn log_probabilities(logits: &[f32]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - most).exp()).sum();
    logits.iter().map(|logit| f64::from(logit - most) - sum.ln()).collect()
}

/// KL(expected | found).
fn divergence(expected: &[f32], found: &[f32]) -> f64 {
    let (expected, found) = (log_probabilities(expected), log_probabilities(found));
    let term = |(p, q): (&f64, &f64)| p.exp() * (p - q);
    expected.iter().zip(&found).map(term).sum()
}

#[test]
fn a_card_agrees_with_the_processor() {
    for architecture in ["qwen2", "llama", "qwen3"] {
        for (is_tied, format) in [(false, KvFormat::F16), (true, KvFormat::Q8_0)] {
            let recipe = Recipe {
                is_tied,
                ..Recipe::new(architecture, kinds)
            };
            let tokens = Noise(11).tokens(156, recipe.vocabulary);
            let expected = talk(&mut cpu_model_with(&recipe.gguf(), format), &tokens);
            let model = on(&recipe, of_cards(layout(Placement::Replicas, &recipe, 1)), format);
            let found = talk(&mut *model.engine(0).unwrap(), &tokens);
            let steps = expected.iter().zip(&found);
            let divergences: Vec<f64> = steps.map(|(expected, found)| divergence(expected, found)).collect();
            let mean = divergences.iter().sum::<f64>() / divergences.len() as f64;
            // Both round activations to 8 bits, the card in groups of 32, the processor of 256 for K blocks.
            assert!(
                mean < 1e-3,
                "{architecture}, {format:?}: the mean divergence is {mean:e} of {divergences:?}"
            );
        }
    }
}

#[test]
fn every_placement_on_cards_gives_the_bits_of_one_card() {
    let recipe = Recipe {
        layers: 4,
        heads: 8,
        kv_heads: 4,
        ..Recipe::new("qwen2", kinds)
    };
    let tokens = Noise(12).tokens(153, recipe.vocabulary);
    let alone = on(
        &recipe,
        of_cards(layout(Placement::Replicas, &recipe, 1)),
        KvFormat::F16,
    );
    // In one piece, as a pipeline's pieces may go through other kernels than the whole.
    let steps = |engine: &mut dyn LanguageModel| -> Vec<Vec<f32>> {
        let mut sequence = Sequence::new(3, tokens.len());
        let parts = [&tokens[..30], &tokens[30..31], &tokens[31..32]];
        parts
            .into_iter()
            .map(|part| {
                let mut logits = Vec::new();
                engine.forward(&[sequence.segment(part)], &mut logits).unwrap();
                sequence.position += part.len();
                logits
            })
            .collect()
    };
    let expected = steps(&mut *alone.engine(0).unwrap());
    for placement in [Placement::Replicas, Placement::Pipeline, Placement::Tensor] {
        let model = on(&recipe, of_cards(layout(placement, &recipe, 2)), KvFormat::F16);
        for index in 0..2 {
            let found = steps(&mut *model.engine(index).unwrap());
            assert!(found == expected, "{}, engine {index}", placement.name());
        }
    }
}

#[test]
fn layers_that_a_card_has_no_room_for_are_computed_by_the_processor() {
    let recipe = Recipe::new("qwen2", kinds);
    let tokens = Noise(13).tokens(152, recipe.vocabulary);
    let expected = talk(&mut cpu_model_with(&recipe.gguf(), KvFormat::F16), &tokens);
    let share = |device: DeviceSpec, layers| Share {
        device,
        layers,
        part: 0,
        parts: 1,
    };
    let layout = Layout {
        placement: Placement::Offload,
        shares: vec![share(CARD.parse().unwrap(), 0..2), share(DeviceSpec::CPU, 2..3)],
        engines: 1,
        kv_tokens: 2048,
    };
    let model = on(&recipe, layout, KvFormat::F16);
    let found = talk(&mut *model.engine(0).unwrap(), &tokens);
    for (expected, found) in expected.iter().zip(&found) {
        let divergence = divergence(expected, found);
        assert!(divergence < 1e-3, "{divergence:e}");
    }
}

#[test]
fn rows_of_several_sequences_are_told_apart_and_only_wanted_rows_answer() {
    let recipe = Recipe::new("qwen2", kinds);
    let model = on(
        &recipe,
        of_cards(layout(Placement::Replicas, &recipe, 1)),
        KvFormat::F16,
    );
    let mut engine = model.engine(0).unwrap();
    let prompts: Vec<Vec<u32>> = (0..3)
        .map(|seed| Noise(20 + seed).tokens(20, recipe.vocabulary))
        .collect();
    let alone: Vec<Vec<f32>> = prompts
        .iter()
        .map(|prompt| {
            let mut logits = Vec::new();
            let sequence = Sequence::new(40, 20);
            engine.forward(&[sequence.segment(prompt)], &mut logits).unwrap();
            logits
        })
        .collect();
    let sequences: Vec<Sequence> = (0..3).map(|index| Sequence::new(4 * index, 20)).collect();
    let segments: Vec<Segment> = sequences
        .iter()
        .zip(&prompts)
        .enumerate()
        .map(|(index, (sequence, prompt))| Segment {
            wanted: if index == 1 { Wanted::Nothing } else { Wanted::Logits },
            ..sequence.segment(prompt)
        })
        .collect();
    let mut logits = Vec::new();
    engine.forward(&segments, &mut logits).unwrap();
    assert_eq!(logits.len(), 2 * recipe.vocabulary);
    for (found, expected) in logits.chunks_exact(recipe.vocabulary).zip([&alone[0], &alone[2]]) {
        let divergence = divergence(expected, found);
        assert!(divergence < 1e-5, "{divergence:e}");
    }
}

#[test]
fn states_on_cards_are_near_the_processors_and_the_same_bits_however_they_are_dealt_out() {
    let recipe = Recipe::new("qwen2", kinds);
    let tokens = Noise(14).tokens(30, recipe.vocabulary);
    let states = |engine: &mut dyn LanguageModel, wanted| {
        let sequence = Sequence::new(3, tokens.len());
        let segment = Segment {
            wanted,
            ..sequence.segment(&tokens)
        };
        let mut output = Vec::new();
        // Logits of the same rows beside them, as both are read out of the same registers.
        let beside = Sequence::new(20, tokens.len());
        engine
            .forward(&[segment, beside.segment(&tokens)], &mut output)
            .unwrap();
        output.split_off(recipe.vocabulary)
    };
    let expected = states(&mut cpu_model_with(&recipe.gguf(), KvFormat::F16), Wanted::EveryState);
    let mut of_one_card = Vec::new();
    for placement in [Placement::Replicas, Placement::Pipeline, Placement::Tensor] {
        let model = on(&recipe, of_cards(layout(placement, &recipe, 2)), KvFormat::F16);
        let engine = &mut *model.engine(1).unwrap();
        let found = states(engine, Wanted::EveryState);
        assert!(
            found.ends_with(&states(engine, Wanted::LastState)),
            "{}",
            placement.name()
        );
        if of_one_card.is_empty() {
            of_one_card.clone_from(&found);
        }
        assert!(found == of_one_card, "{}", placement.name());
    }
    let dot = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let rows = of_one_card
        .chunks_exact(recipe.hidden)
        .zip(expected.chunks_exact(recipe.hidden));
    for (found, expected) in rows {
        let cosine = dot(found, expected) / (dot(found, found) * dot(expected, expected)).sqrt();
        assert!(cosine > 0.999, "{cosine}");
    }
}
