//! Reading weights: progress, files that shrink, the settings of an engine.

use std::sync::Mutex;

use library::{Gguf, TensorType};
use models::{Config, CpuModel, KvFormat, Rope, Weights};

use crate::make::{CONTEXT_TOKENS, Recipe};

#[test]
fn progress_grows_to_the_weights_bytes() {
    let gguf = Recipe::new("llama", |_| TensorType::Q4K).gguf();
    let seen = Mutex::new(Vec::new());
    let weights = Weights::load(&gguf, &|bytes| seen.lock().unwrap().push(bytes)).unwrap();
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.iter().max(), Some(&weights.bytes()));
    assert_eq!(
        weights.bytes(),
        gguf.tensors().iter().map(|tensor| tensor.bytes).sum::<u64>()
    );
}

#[test]
fn a_file_cut_short_while_it_is_open_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), Recipe::new("qwen2", |_| TensorType::Q8_0).file().bytes()).unwrap();
    let gguf = Gguf::open(file.path()).unwrap();
    Weights::load(&gguf, &|_| ()).unwrap();
    file.as_file().set_len(gguf.file_bytes() / 2).unwrap();
    assert!(Weights::load(&gguf, &|_| ()).is_err());
}

#[test]
fn an_engine_has_room_for_some_context_and_no_more_than_the_models() {
    let weights = Weights::load(&Recipe::new("qwen2", |_| TensorType::Q8_0).gguf(), &|_| ()).unwrap();
    let error = |context, blocks| {
        CpuModel::new(weights.clone(), context, blocks, KvFormat::F16)
            .err()
            .map(|error| error.to_string())
    };
    assert_eq!(error(CONTEXT_TOKENS, 1), None);
    assert!(error(0, 1).unwrap().contains("1 to 2048"));
    assert!(error(CONTEXT_TOKENS + 1, 1).unwrap().contains("1 to 2048"));
    assert!(error(16, 0).unwrap().contains("KV pool"));
    assert!(error(16, usize::MAX).unwrap().contains("KV pool"));
}

#[test]
fn a_token_costs_two_bytes_per_key_and_value_or_one_and_a_sixteenth() {
    let config = Config::from_gguf(&Recipe::new("qwen3", |_| TensorType::F16).gguf()).unwrap();
    assert_eq!(config.kv_bytes_per_token(KvFormat::F16), 3 * 2 * 128 * 2 * 2);
    assert_eq!(config.kv_bytes_per_token(KvFormat::Q8_0), 3 * 2 * (128 + 128 / 16) * 2);
}

/// The rotary frequencies of a small qwen3 file with this scaling.
fn rope(scaling: impl Fn(library::testing::GgufFile) -> library::testing::GgufFile) -> Rope {
    let recipe = Recipe {
        layers: 1,
        ..Recipe::new("qwen3", |_| TensorType::F16)
    };
    let gguf = Gguf::from_bytes(scaling(recipe.file()).bytes(), "scaled").unwrap();
    Config::from_gguf(&gguf).unwrap().rope
}

#[test]
fn yarn_leaves_fast_pairs_and_stretches_slow_ones() {
    // DeepSeek-R1-0528-Qwen3-8B's scaling; the magnitude comes out as 1.
    let yarn = rope(|file| {
        file.text("qwen3.rope.scaling.type", "yarn")
            .float("qwen3.rope.scaling.factor", 4.0)
            .unsigned("qwen3.rope.scaling.original_context_length", 32_768)
            .float("qwen3.rope.scaling.attn_factor", 0.878_248_9)
    });
    let plain = rope(|file| file);
    assert!((yarn.magnitude - 1.0).abs() < 1e-6, "{}", yarn.magnitude);
    // 64 ln(32768 / (32 * 2 pi)) / ln(10000) = 35.4 turns 32 times, 64 ln(32768 / (2 pi)) / ln(10000) = 59.5 once.
    for (pair, (scaled, plain)) in yarn.frequencies.iter().zip(&plain.frequencies).enumerate() {
        let slowness = ((pair as f32 - 35.0) / 25.0).clamp(0.0, 1.0);
        let expected = plain * (1.0 - slowness) + plain / 4.0 * slowness;
        assert!(
            (scaled / expected - 1.0).abs() < 1e-5,
            "pair {pair}: {scaled}, {expected}"
        );
    }
}

#[test]
fn linear_scaling_divides_every_frequency() {
    let linear = rope(|file| {
        file.text("qwen3.rope.scaling.type", "linear")
            .float("qwen3.rope.scaling.factor", 2.0)
    });
    let plain = rope(|file| file);
    assert_eq!(plain.frequencies[0], 1.0);
    assert!(
        linear
            .frequencies
            .iter()
            .zip(&plain.frequencies)
            .all(|(linear, plain)| *linear == plain / 2.0)
    );
}
