//! Files whose metadata or tensors lie: a clear error each, no panic, nothing allocated by what they claim.

use library::testing::GgufFile;
use library::{Gguf, TensorType};
use models::{Config, Weights};

use crate::make::Recipe;

/// A small llama file with other metadata; the last value of a key given counts.
fn with(changes: &[(&str, Value)]) -> Vec<u8> {
    let recipe = Recipe {
        layers: 1,
        ..Recipe::new("llama", |_| TensorType::F16)
    };
    let mut entries: Vec<(&str, Value)> = vec![
        ("general.architecture", Value::Text("llama")),
        ("llama.block_count", Value::Unsigned(1)),
        ("llama.context_length", Value::Unsigned(2048)),
        ("llama.embedding_length", Value::Unsigned(256)),
        ("llama.feed_forward_length", Value::Unsigned(512)),
        ("llama.attention.head_count", Value::Unsigned(4)),
        ("llama.attention.head_count_kv", Value::Unsigned(2)),
        ("llama.attention.layer_norm_rms_epsilon", Value::Float(1e-5)),
    ];
    for (key, value) in changes {
        entries.retain(|(other, _)| other != key);
        entries.push((key, *value));
    }
    let file = entries
        .into_iter()
        .fold(GgufFile::new(), |file, (key, value)| match value {
            Value::Text(text) => file.text(key, text),
            Value::Unsigned(number) => file.unsigned(key, number),
            Value::Signed(number) => file.signed(key, number),
            Value::Float(number) => file.float(key, number),
            Value::Missing => file,
        });
    tensors(&recipe, file, |_, _| Change::Keep).bytes()
}

#[derive(Clone, Copy)]
enum Value {
    Text(&'static str),
    Unsigned(u32),
    Signed(i32),
    Float(f32),
    Missing,
}

enum Change {
    Keep,
    Drop,
    Kind(TensorType),
    Dims(&'static [u64]),
}

fn tensors(recipe: &Recipe, mut file: GgufFile, change: impl Fn(&str, &[u64]) -> Change) -> GgufFile {
    for (name, dims) in recipe.tensors() {
        let dims: Vec<u64> = dims.iter().map(|dim| *dim as u64).collect();
        let kind = if dims.len() == 1 {
            TensorType::F32
        } else {
            TensorType::F16
        };
        file = match change(&name, &dims) {
            Change::Keep => file.zeros(&name, &dims, kind),
            Change::Drop => file,
            Change::Kind(kind) => file.zeros(&name, &dims, kind),
            Change::Dims(dims) => file.zeros(&name, dims, kind),
        };
    }
    file
}

/// Loads and returns the error's text, or `None` if all is well.
fn refusal(bytes: Vec<u8>) -> Option<String> {
    let gguf = Gguf::from_bytes(bytes, "lying.gguf").unwrap();
    let error = Config::from_gguf(&gguf).err()?.to_string();
    assert!(Weights::load(&gguf, &|_| ()).is_err());
    assert!(error.len() < 2_000, "{} bytes of error", error.len());
    Some(error)
}

#[track_caller]
fn check(bytes: Vec<u8>, expected: &[&str]) {
    let error = refusal(bytes).unwrap_or_else(|| panic!("accepted, where {expected:?} was to be said"));
    for part in expected {
        assert!(error.contains(part), "{error:?} does not say {part:?}");
    }
    assert!(error.contains("lying.gguf"), "{error:?} does not name the file");
}

#[test]
fn the_file_that_the_others_are_changed_from_is_accepted() {
    assert_eq!(refusal(with(&[])), None);
    // One query head per key head where the file does not say.
    let missing = refusal(with(&[("llama.attention.head_count_kv", Value::Missing)])).unwrap();
    assert!(missing.contains("attn_k.weight"), "{missing}");
}

#[test]
fn numbers_outside_their_limits_are_refused() {
    use Value::{Float, Missing, Signed, Text, Unsigned};
    let cases: &[(&str, Value, &[&str])] = &[
        (
            "general.architecture",
            Text("mamba"),
            &["mamba", "qwen2, llama or qwen3"],
        ),
        ("general.architecture", Missing, &["general.architecture"]),
        ("general.architecture", Unsigned(1), &["general.architecture"]),
        (
            "llama.attention.head_count",
            Unsigned(0),
            &["llama.attention.head_count is 0", "1 to"],
        ),
        (
            "llama.attention.head_count",
            Unsigned(u32::MAX),
            &["head_count is 4294967295"],
        ),
        (
            "llama.attention.head_count",
            Signed(-4),
            &["llama.attention.head_count"],
        ),
        ("llama.attention.head_count", Unsigned(3), &["head_count", "divisor"]),
        ("llama.attention.head_count", Text("4"), &["llama.attention.head_count"]),
        ("llama.attention.head_count_kv", Unsigned(0), &["head_count_kv is 0"]),
        (
            "llama.attention.head_count_kv",
            Unsigned(3),
            &["head_count_kv is 3", "divisor"],
        ),
        ("llama.attention.head_count_kv", Unsigned(8), &["head_count_kv is 8"]),
        (
            "llama.attention.key_length",
            Unsigned(65),
            &["key_length", "multiple of 16"],
        ),
        (
            "llama.attention.key_length",
            Unsigned(100_000),
            &["key_length is 100000", "1 to 256"],
        ),
        (
            "llama.attention.value_length",
            Unsigned(32),
            &["value_length is 32", "64"],
        ),
        (
            "llama.rope.dimension_count",
            Unsigned(32),
            &["dimension_count is 32", "64"],
        ),
        ("llama.block_count", Unsigned(0), &["block_count is 0", "1 to 256"]),
        (
            "llama.block_count",
            Unsigned(u32::MAX),
            &["block_count is 4294967295", "1 to 256"],
        ),
        ("llama.block_count", Unsigned(2), &["blk.1.attn_norm.weight is missing"]),
        ("llama.context_length", Unsigned(0), &["context_length is 0"]),
        (
            "llama.context_length",
            Unsigned(1 << 21),
            &["context_length is 2097152", "1048576"],
        ),
        ("llama.embedding_length", Unsigned(0), &["embedding_length is 0"]),
        ("llama.embedding_length", Unsigned(512), &["[256, 300]", "[512, 300]"]),
        (
            "llama.embedding_length",
            Unsigned(1 << 30),
            &["embedding_length is 1073741824"],
        ),
        (
            "llama.feed_forward_length",
            Unsigned(1024),
            &["ffn_gate.weight", "[256, 512]", "[256, 1024]"],
        ),
        ("llama.feed_forward_length", Missing, &["llama.feed_forward_length"]),
        (
            "llama.attention.layer_norm_rms_epsilon",
            Float(f32::NAN),
            &["rms_epsilon", "not finite"],
        ),
        (
            "llama.attention.layer_norm_rms_epsilon",
            Float(-1.0),
            &["rms_epsilon is -1"],
        ),
        ("llama.attention.layer_norm_rms_epsilon", Missing, &["rms_epsilon"]),
        ("llama.rope.freq_base", Float(0.0), &["freq_base is 0", "above 0"]),
        (
            "llama.rope.freq_base",
            Float(f32::INFINITY),
            &["freq_base", "not finite"],
        ),
        (
            "llama.rope.scaling.type",
            Text("longrope"),
            &["longrope", "none, linear or yarn"],
        ),
        ("llama.rope.scaling.type", Text("yarn"), &["original_context_length"]),
        ("llama.expert_count", Unsigned(8), &["expert_count is 8", "dense"]),
        (
            "llama.attention.sliding_window",
            Unsigned(4096),
            &["sliding_window is 4096"],
        ),
    ];
    for (key, value, expected) in cases {
        check(with(&[(key, *value)]), expected);
    }
}

#[test]
fn tensors_that_are_missing_or_of_another_shape_or_kind_are_refused() {
    let recipe = Recipe {
        layers: 1,
        ..Recipe::new("llama", |_| TensorType::F16)
    };
    let changed = |name: &str, change: fn() -> Change| {
        let base = GgufFile::new()
            .text("general.architecture", "llama")
            .unsigned("llama.block_count", 1)
            .unsigned("llama.context_length", 2048)
            .unsigned("llama.embedding_length", 256)
            .unsigned("llama.feed_forward_length", 512)
            .unsigned("llama.attention.head_count", 4)
            .unsigned("llama.attention.head_count_kv", 2)
            .float("llama.attention.layer_norm_rms_epsilon", 1e-5);
        tensors(
            &recipe,
            base,
            |other, _| {
                if other == name { change() } else { Change::Keep }
            },
        )
        .bytes()
    };
    for (name, _) in recipe.tensors() {
        if name != "output.weight" {
            check(changed(&name, || Change::Drop), &[&name, "missing"]);
        }
        check(changed(&name, || Change::Dims(&[32, 7])), &[&name]);
        check(changed(&name, || Change::Dims(&[1])), &[&name]);
        if name.contains("norm") {
            check(
                changed(&name, || Change::Kind(TensorType::Q8_0)),
                &[&name, "Q8_0", "F32, F16 or BF16"],
            );
        }
    }
    assert_eq!(refusal(changed("output.weight", || Change::Drop)), None);
}

#[test]
fn a_tensor_that_the_architecture_does_not_have_is_refused() {
    let recipe = Recipe {
        layers: 1,
        ..Recipe::new("llama", |_| TensorType::F16)
    };
    let file = recipe
        .file()
        .zeros("blk.0.ffn_gate_inp.weight", &[256, 8], TensorType::F16);
    check(file.bytes(), &["blk.0.ffn_gate_inp.weight", "llama"]);
    let file = recipe.file().zeros("blk.9.attn_q.weight", &[256, 256], TensorType::F16);
    check(file.bytes(), &["blk.9.attn_q.weight"]);
    let long = "x".repeat(250);
    check(recipe.file().zeros(&long, &[256], TensorType::F32).bytes(), &["xxx"]);
}

#[test]
fn rotary_factors_that_are_no_divisors_are_refused() {
    let recipe = Recipe {
        layers: 1,
        ..Recipe::new("llama", |_| TensorType::F16)
    };
    let factors = |bytes: Vec<u8>| {
        recipe
            .file()
            .tensor("rope_freqs.weight", &[32], TensorType::F32, bytes)
            .bytes()
    };
    check(factors(vec![0; 128]), &["rope_freqs.weight", "above 0"]);
    check(
        factors(f32::NAN.to_le_bytes().repeat(32)),
        &["rope_freqs.weight", "NaN"],
    );
}
