//! The states that embeddings are made of: what the output matrix makes logits of, and the same bits in all company.

use engine::{LanguageModel, Pooling, Segment, Wanted};
use library::{Gguf, TensorType};
use models::{Config, Placement};

use crate::make::{Noise, Recipe, Sequence, cpu_model};
use crate::placements::{kinds, layout, model};

/// The states of `wanted` after these tokens, computed in chunks.
fn states(model: &mut dyn LanguageModel, tokens: &[u32], chunk: usize, wanted: Wanted) -> Vec<f32> {
    let mut sequence = Sequence::new(3, tokens.len());
    let (mut all, mut output) = (Vec::new(), Vec::new());
    let chunks = tokens.len().div_ceil(chunk);
    for (index, tokens) in tokens.chunks(chunk).enumerate() {
        let is_last = index + 1 == chunks;
        let segment = Segment {
            wanted: match wanted {
                Wanted::LastState if !is_last => Wanted::Nothing,
                wanted => wanted,
            },
            ..sequence.segment(tokens)
        };
        model.forward(&[segment], &mut output).unwrap();
        sequence.position += tokens.len();
        all.extend_from_slice(&output);
    }
    all
}

/// The rows of a matrix in f32.
fn matrix(gguf: &Gguf, name: &str, columns: usize) -> Vec<Vec<f32>> {
    let tensor = gguf.tensor(name).unwrap();
    let mut bytes = vec![0; usize::try_from(tensor.bytes).unwrap()];
    gguf.read(tensor, 0, &mut bytes).unwrap();
    let values = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    values
        .collect::<Vec<f32>>()
        .chunks(columns)
        .map(<[f32]>::to_vec)
        .collect()
}

#[test]
fn the_output_matrix_makes_the_logits_of_a_state() {
    for architecture in ["qwen2", "llama", "qwen3"] {
        let recipe = Recipe::new(architecture, |_| TensorType::F32);
        let gguf = recipe.gguf();
        let mut model = cpu_model(&gguf);
        let tokens = Noise(4).tokens(20, recipe.vocabulary);
        let logits = Sequence::new(0, tokens.len()).run(&mut model, &tokens);
        let state = states(&mut model, &tokens, 20, Wanted::LastState);
        assert_eq!(state.len(), recipe.hidden);
        for (row, logit) in matrix(&gguf, "output.weight", recipe.hidden).iter().zip(&logits) {
            let product: f32 = row.iter().zip(&state).map(|(weight, value)| weight * value).sum();
            assert!((product - logit).abs() < 1e-4, "{architecture}: {product} and {logit}");
        }
    }
}

#[test]
fn every_state_is_the_last_state_of_the_text_up_to_it_whatever_the_chunks() {
    let recipe = Recipe::new("qwen2", kinds);
    let mut model = cpu_model(&recipe.gguf());
    let tokens = Noise(5).tokens(40, recipe.vocabulary);
    let every = states(&mut model, &tokens, 40, Wanted::EveryState);
    for chunk in [1, 7, 16, 33] {
        assert!(
            states(&mut model, &tokens, chunk, Wanted::EveryState) == every,
            "{chunk}"
        );
    }
    for (index, state) in every.chunks_exact(recipe.hidden).enumerate().step_by(13) {
        assert!(
            states(&mut model, &tokens[..=index], 16, Wanted::LastState) == state,
            "{index}"
        );
    }
}

#[test]
fn states_come_after_the_logits_of_others_and_keep_their_bits() {
    let recipe = Recipe::new("qwen3", kinds);
    let mut model = cpu_model(&recipe.gguf());
    let texts: Vec<Vec<u32>> = (0..4)
        .map(|seed| Noise(30 + seed).tokens(25, recipe.vocabulary))
        .collect();
    let wanted = [Wanted::EveryState, Wanted::Logits, Wanted::LastState, Wanted::Logits];
    let alone = |index: usize, model: &mut dyn LanguageModel| states(model, &texts[index], 25, wanted[index]);
    let expected = [1, 3, 0, 2].map(|index| alone(index, &mut model)).concat();
    let sequences: Vec<Sequence> = (0..4).map(|index| Sequence::new(2 * index, 25)).collect();
    let parts = sequences.iter().zip(&texts).zip(wanted);
    let segments: Vec<Segment> = parts
        .map(|((sequence, text), wanted)| Segment {
            wanted,
            ..sequence.segment(text)
        })
        .collect();
    let mut output = Vec::new();
    model.forward(&segments, &mut output).unwrap();
    assert!(output == expected);
}

#[test]
fn every_placement_gives_the_states_of_one_device() {
    for architecture in ["qwen2", "llama"] {
        let recipe = Recipe::new(architecture, kinds);
        // Long enough to be cut in pieces.
        let tokens = Noise(6).tokens(150, recipe.vocabulary);
        let mut one = cpu_model(&recipe.gguf());
        let last = states(&mut one, &tokens, 150, Wanted::LastState);
        let every = states(&mut one, &tokens, 150, Wanted::EveryState);
        assert!(every.ends_with(&last));
        for placement in Placement::ALL {
            let model = model(recipe.gguf(), layout(placement, &recipe, 2));
            for index in 0..2 {
                let engine = &mut *model.engine(index).unwrap();
                let name = placement.name();
                assert!(states(engine, &tokens, 150, Wanted::LastState) == last, "{name}");
                assert!(states(engine, &tokens, 70, Wanted::EveryState) == every, "{name}");
            }
        }
    }
}

#[test]
fn a_file_says_how_its_embeddings_are_pooled() {
    let pooling = |kind: Option<u32>| {
        let file = Recipe::new("qwen3", kinds).file();
        let file = kind
            .into_iter()
            .fold(file, |file, kind| file.unsigned("qwen3.pooling_type", kind));
        Config::from_gguf(&Gguf::from_bytes(file.bytes(), "pooled.gguf").unwrap()).map(|config| config.pooling)
    };
    for (kind, expected) in [
        (None, Pooling::Last),
        (Some(0), Pooling::Last),
        (Some(1), Pooling::Mean),
        (Some(2), Pooling::First),
        (Some(3), Pooling::Last),
    ] {
        assert_eq!(pooling(kind).unwrap(), expected);
    }
    let error = pooling(Some(4)).unwrap_err().to_string();
    assert!(
        error.contains("qwen3.pooling_type") && error.contains("0 to 3"),
        "{error}"
    );
}
