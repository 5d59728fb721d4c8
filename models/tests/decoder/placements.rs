//! A model dealt to several devices computes what one device computes, to the last bit.

use std::sync::Barrier;
use std::time::Duration;

use engine::{LanguageModel, Segment};
use library::{Gguf, TensorType};
use models::{DeviceSpec, KvFormat, Layout, Model, Options, Placement, Share};

use crate::make::{CONTEXT_TOKENS, Noise, Recipe, Sequence, cpu_model};

pub fn kinds(name: &str) -> TensorType {
    match name {
        name if name.ends_with("ffn_down.weight") => TensorType::Q6K,
        name if name.ends_with("attn_v.weight") => TensorType::Q8_0,
        "output.weight" => TensorType::Q6K,
        _ => TensorType::Q4K,
    }
}

/// Layers of `shares` on the processor; of a tensor placement, the parts.
pub fn layout(placement: Placement, recipe: &Recipe, devices: usize) -> Layout {
    let share = |index: usize| {
        let cut = |index: usize| index * recipe.layers / devices;
        let layers = match placement {
            Placement::Pipeline | Placement::Offload => cut(index)..cut(index + 1),
            Placement::Replicas | Placement::Tensor => 0..recipe.layers,
        };
        let is_cut = placement == Placement::Tensor;
        Share {
            device: DeviceSpec::CPU,
            layers,
            part: if is_cut { index } else { 0 },
            parts: if is_cut { devices } else { 1 },
        }
    };
    Layout {
        placement,
        shares: (0..devices).map(share).collect(),
        engines: devices,
        kv_tokens: 160 * 16,
    }
}

pub fn model(gguf: Gguf, layout: Layout) -> Model {
    let options = Options {
        context_tokens: CONTEXT_TOKENS,
        kv_format: KvFormat::F16,
        step_rows_max: 512,
        sequences_max: 8,
    };
    Model::load(gguf, layout, options, Box::new(|_| ())).unwrap()
}

fn run(model: &mut dyn LanguageModel, sequence: &mut Sequence, tokens: &[u32]) -> Vec<f32> {
    let mut logits = Vec::new();
    model.forward(&[sequence.segment(tokens)], &mut logits).unwrap();
    sequence.position += tokens.len();
    logits
}

/// A prompt long enough to be cut in pieces, then some tokens one by one: the logits after each step.
pub fn talk(model: &mut dyn LanguageModel, tokens: &[u32]) -> Vec<Vec<f32>> {
    let mut sequence = Sequence::new(3, tokens.len());
    let (prompt, rest) = tokens.split_at(150);
    let mut steps = vec![run(model, &mut sequence, prompt)];
    steps.extend(rest.chunks(1).map(|token| run(model, &mut sequence, token)));
    steps
}

#[test]
fn every_placement_gives_the_bits_of_one_device() {
    for architecture in ["qwen2", "llama", "qwen3"] {
        for is_tied in [false, true] {
            let recipe = Recipe {
                kv_heads: 4,
                heads: 8,
                layers: 4,
                vocabulary: 301,
                is_tied,
                ..Recipe::new(architecture, kinds)
            };
            let tokens = Noise(9).tokens(156, recipe.vocabulary);
            let expected = talk(&mut cpu_model(&recipe.gguf()), &tokens);
            for placement in Placement::ALL {
                for devices in [1, 2, 3] {
                    let model = model(recipe.gguf(), layout(placement, &recipe, devices));
                    for index in 0..devices {
                        let mut engine = model.engine(index).unwrap();
                        let found = talk(&mut *engine, &tokens);
                        assert!(
                            found == expected,
                            "{architecture}, tied {is_tied}, {} over {devices}, engine {index}",
                            placement.name()
                        );
                    }
                }
            }
        }
    }
}

/// Two engines at work at the same time, each with sequences of its own: `rounds` steps of each.
fn both(model: &Model, recipe: &Recipe, rounds: usize) {
    let gguf = recipe.gguf();
    let start = Barrier::new(2);
    std::thread::scope(|scope| {
        for index in 0..2 {
            let (gguf, start) = (&gguf, &start);
            scope.spawn(move || {
                let mut alone = cpu_model(gguf);
                let mut engine = model.engine(index).unwrap();
                let seed = 40 + index as u64;
                let tokens = Noise(seed).tokens(rounds + 30, recipe.vocabulary);
                let mut sequences = [Sequence::new(2, tokens.len()), Sequence::new(60, tokens.len())];
                start.wait();
                let mut last = Vec::new();
                for chunk in std::iter::once(&tokens[..30]).chain(tokens[30..].chunks(1)) {
                    let batch: Vec<Segment> = sequences.iter().map(|sequence| sequence.segment(chunk)).collect();
                    engine.forward(&batch, &mut last).unwrap();
                    sequences
                        .iter_mut()
                        .for_each(|sequence| sequence.position += chunk.len());
                }
                let expected = Sequence::new(7, tokens.len()).run(&mut alone, &tokens);
                assert!(
                    last == [&expected[..], &expected[..]].concat(),
                    "engine {index}, seed {seed}"
                );
            });
        }
    });
}

#[test]
fn engines_of_one_placement_at_the_same_time_do_not_meet_in_each_others_rows() {
    for placement in Placement::ALL {
        let recipe = Recipe::new("qwen2", kinds);
        both(&model(recipe.gguf(), layout(placement, &recipe, 2)), &recipe, 20);
    }
}

#[test]
fn the_devices_of_a_pipeline_are_named_and_timed() {
    let recipe = Recipe {
        layers: 4,
        ..Recipe::new("qwen2", kinds)
    };
    let model = model(recipe.gguf(), layout(Placement::Pipeline, &recipe, 2));
    both(&model, &recipe, 60);
    let status = model.devices().unwrap();
    assert_eq!(status.builds, 1);
    let names: Vec<&str> = status.devices.iter().map(|device| &device.name[..]).collect();
    assert_eq!(names, ["cpu#0", "cpu#1"]);
    assert!(
        status.devices.iter().all(|device| device.busy > Duration::ZERO),
        "{status:?}"
    );
}

#[test]
fn a_device_that_cannot_be_opened_is_named_and_opened_anew_when_asked_again() {
    let recipe = Recipe::new("qwen2", kinds);
    for placement in [Placement::Pipeline, Placement::Tensor] {
        let mut layout = layout(placement, &recipe, 2);
        layout.shares[1].device = "cuda:7".parse().unwrap();
        let model = model(recipe.gguf(), layout);
        for index in [0, 1, 0] {
            let error = model.engine(index).err().unwrap().to_string();
            assert!(error.contains("cuda:7"), "{error}");
        }
    }
}

#[test]
fn more_parts_than_key_heads_are_refused() {
    let recipe = Recipe::new("qwen2", kinds);
    let options = Options {
        context_tokens: 64,
        kv_format: KvFormat::F16,
        step_rows_max: 16,
        sequences_max: 1,
    };
    let layout = layout(Placement::Tensor, &recipe, 3);
    let error = Model::load(recipe.gguf(), layout, options, Box::new(|_| ()))
        .err()
        .unwrap();
    assert!(error.to_string().contains("too few rows"), "{error}");
}
