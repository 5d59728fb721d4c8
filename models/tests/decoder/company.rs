//! A row's logits depend on its own sequence only, to the last bit.

use engine::{LanguageModel, Segment, Wanted};
use library::TensorType;
use models::{CpuModel, KvFormat, Weights};

use crate::make::{CONTEXT_TOKENS, Noise, Recipe, Sequence, cpu_model, cpu_model_with};

fn mixed(name: &str) -> TensorType {
    match name {
        name if name.ends_with("ffn_down.weight") => TensorType::Q6K,
        name if name.ends_with("attn_v.weight") => TensorType::Q8_0,
        name if name.ends_with("attn_k.weight") => TensorType::F16,
        "output.weight" => TensorType::Q6K,
        _ => TensorType::Q4K,
    }
}

fn recipe() -> Recipe {
    Recipe::new("qwen2", mixed)
}

fn tokens(count: usize, seed: u64) -> Vec<u32> {
    Noise(seed).tokens(count, recipe().vocabulary)
}

/// The logits after the last token, in one step of its own.
fn alone(model: &mut CpuModel, tokens: &[u32]) -> Vec<f32> {
    Sequence::new(100, tokens.len()).run(model, tokens)
}

#[test]
fn whole_is_chunked_is_token_by_token() {
    for architecture in ["qwen2", "llama", "qwen3"] {
        let mut model = cpu_model(&Recipe::new(architecture, mixed).gguf());
        let tokens = tokens(101, 5);
        let whole = alone(&mut model, &tokens);
        for chunk in [1, 7, 16, 33, 64, 100] {
            let mut sequence = Sequence::new(0, tokens.len());
            let mut logits = Vec::new();
            for chunk in tokens.chunks(chunk) {
                logits = sequence.run(&mut model, chunk);
            }
            assert!(
                logits == whole,
                "{architecture}: chunks of {chunk} differ from the whole"
            );
        }
    }
}

/// Long enough for keys to be taken in two ranges.
#[test]
fn whole_is_chunked_in_every_format_of_the_cache() {
    let gguf = recipe().gguf();
    let tokens = tokens(270, 6);
    for format in KvFormat::ALL {
        let mut model = cpu_model_with(&gguf, format);
        let whole = alone(&mut model, &tokens);
        for chunk in [33, 128, 255, 269] {
            let mut sequence = Sequence::new(0, tokens.len());
            let mut logits = Vec::new();
            for chunk in tokens.chunks(chunk) {
                logits = sequence.run(&mut model, chunk);
            }
            assert!(logits == whole, "{format:?}: chunks of {chunk} differ from the whole");
        }
    }
}

#[test]
fn a_batch_is_each_alone() {
    let mut model = cpu_model(&recipe().gguf());
    for rows in [1, 2, 3, 8, 16] {
        let prompts: Vec<Vec<u32>> = (0..rows).map(|row| tokens(5 + row, 50 + row as u64)).collect();
        let expected: Vec<Vec<f32>> = prompts.iter().map(|prompt| alone(&mut model, prompt)).collect();
        // First all but the last token of each, then one decode step for all.
        let mut sequences: Vec<Sequence> = (0..rows)
            .map(|row| Sequence::new(4 * u32::try_from(row).unwrap(), 5 + row))
            .collect();
        let step = |model: &mut CpuModel, sequences: &[Sequence], parts: &[&[u32]]| {
            let batch: Vec<Segment> = sequences.iter().zip(parts).map(|(s, part)| s.segment(part)).collect();
            let mut logits = Vec::new();
            model.forward(&batch, &mut logits).unwrap();
            logits
        };
        let parts: Vec<&[u32]> = prompts.iter().map(|prompt| &prompt[..prompt.len() - 1]).collect();
        step(&mut model, &sequences, &parts);
        for (sequence, part) in sequences.iter_mut().zip(&parts) {
            sequence.position += part.len();
        }
        let parts: Vec<&[u32]> = prompts.iter().map(|prompt| &prompt[prompt.len() - 1..]).collect();
        let logits = step(&mut model, &sequences, &parts);
        assert!(
            logits == expected.concat(),
            "{rows} rows together differ from each alone"
        );
    }
}

#[test]
fn a_decode_beside_a_prefill_is_the_decode_alone() {
    let mut model = cpu_model(&recipe().gguf());
    let (talk, prompt) = (tokens(40, 1), tokens(90, 2));
    let (talk_alone, prompt_alone) = (alone(&mut model, &talk), alone(&mut model, &prompt));
    let mut talker = Sequence::new(0, 40);
    talker.run(&mut model, &talk[..39]);
    let reader = Sequence::new(50, 90);
    let mut logits = Vec::new();
    let (listener, silent) = (Sequence::new(30, 16), tokens(16, 3));
    let unwanted = Segment {
        wanted: Wanted::Nothing,
        ..listener.segment(&silent)
    };
    model
        .forward(
            &[reader.segment(&prompt), unwanted, talker.segment(&talk[39..])],
            &mut logits,
        )
        .unwrap();
    assert!(logits == [prompt_alone, talk_alone].concat());
}

#[test]
fn a_shared_prefix_is_the_prefix_recomputed() {
    let mut model = cpu_model(&recipe().gguf());
    let prefix = tokens(48, 7);
    let mut first = Sequence::new(0, 80);
    first.run(&mut model, &prefix);
    // Two sequences go on from the same three blocks, each into blocks of its own.
    for (seed, fresh) in [(1, [20, 21]), (2, [40, 30])] {
        let ending = tokens(20, seed);
        let mut block_table = first.block_table[..3].to_vec();
        block_table.extend(fresh);
        let mut forked = Sequence {
            block_table,
            position: 48,
        };
        let continued = forked.run(&mut model, &ending);
        let recomputed = alone(&mut model, &[&prefix[..], &ending].concat());
        assert!(continued == recomputed, "ending {seed} after the shared prefix differs");
    }
}

#[test]
fn neither_threads_nor_a_second_engine_change_a_bit() {
    let gguf = recipe().gguf();
    let weights = Weights::load(&gguf, &|_| ()).unwrap();
    let tokens = tokens(70, 11);
    let engine = |threads| {
        let mut model = CpuModel::with_threads(weights.clone(), CONTEXT_TOKENS, 160, KvFormat::F16, threads).unwrap();
        alone(&mut model, &tokens)
    };
    let one = engine(1);
    assert!(one == engine(2), "two threads differ from one");
    assert!(one == engine(5), "five threads differ from one");
}

#[test]
fn reused_blocks_do_not_show_their_past() {
    let mut model = cpu_model(&recipe().gguf());
    let prompt = tokens(30, 21);
    let first = alone(&mut model, &prompt);
    alone(&mut model, &tokens(200, 22));
    assert!(first == alone(&mut model, &prompt));
}

#[test]
fn a_segment_that_does_not_fit_is_an_error_and_the_model_goes_on() {
    let mut model = cpu_model(&recipe().gguf());
    let expected = alone(&mut model, &[1, 2, 3]);
    let table = [0, 1];
    let fits = Segment {
        tokens: &[1, 2, 3],
        first_position: 0,
        block_table: &table,
        wanted: Wanted::Logits,
    };
    let misfits = [
        ("no tokens", Segment { tokens: &[], ..fits }),
        ("token 300", Segment { tokens: &[300], ..fits }),
        (
            "block table has 2",
            Segment {
                first_position: 30,
                ..fits
            },
        ),
        (
            "position 2051",
            Segment {
                first_position: 2048,
                ..fits
            },
        ),
        (
            "block 160",
            Segment {
                block_table: &[160],
                ..fits
            },
        ),
    ];
    for (expected, segment) in misfits {
        let error = model
            .forward(&[fits, segment], &mut Vec::new())
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    }
    assert!(expected == alone(&mut model, &[1, 2, 3]));
}
