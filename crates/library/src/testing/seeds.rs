//! Where the fuzzer starts: files that pass every check, and files that stop at one of them.

use super::GgufFile;
use crate::gguf::TensorType;

/// A small file with everything in it: a vocabulary, a template, tensors of three types. It passes every check.
pub fn small_model() -> GgufFile {
    let rows: Vec<u8> = (0..4 * 34).collect();
    let norm: Vec<u8> = (0..32_u8).flat_map(|index| f32::from(index).to_le_bytes()).collect();
    GgufFile::new()
        .text("general.architecture", "qwen2")
        .unsigned("qwen2.block_count", 1)
        .float("qwen2.rope.freq_base", 10_000.0)
        .vocabulary(&["a", "b", "ab", "<end>"], &["a b"])
        .flag("tokenizer.ggml.add_bos_token", false)
        .text("tokenizer.chat_template", "{{ messages[0].content }}")
        .tensor("token_embd.weight", &[32, 4], TensorType::Q8_0, rows)
        .tensor("output_norm.weight", &[32], TensorType::F32, norm)
        .zeros("blk.0.ffn_up.weight", &[256, 2], TensorType::Q4K)
}

/// The fuzzer's seeds by file name. They are kept in `fuzz/corpus/gguf`; `cargo run -p library --features testing
/// --example fuzz_seeds` writes them anew.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let file = GgufFile::new;
    let one = |dims: &[u64]| file().tensor("t", dims, TensorType::F32, vec![0; 32]);
    let every_value = [0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12]
        .into_iter()
        .fold(file(), |file, code| {
            let key = format!("value{code}");
            let bytes = [1, 0, 0, 0, 0, 0, 0, 0];
            let width = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8];
            let width = width.get(code as usize).copied().unwrap_or(0);
            let element = bytes.get(..width).unwrap_or_default();
            file.entry(&key, code, element)
                .array(&format!("{key}s"), code, 1, element)
        })
        .text("text", "思考")
        .texts("texts", &["", "<think>"]);
    let every_kind = TensorType::ALL
        .into_iter()
        .fold(file().alignment(8), |file, kind| file.zeros(kind.name(), &[256], kind));
    let tied = file()
        .zeros("b", &[8], TensorType::F32)
        .zeros("a", &[8], TensorType::F32)
        .at_offset(0);
    vec![
        ("small_model", small_model().bytes()),
        ("version_2", small_model().version(2).bytes()),
        ("every_value", every_value.bytes()),
        ("every_kind", every_kind.bytes()),
        (
            "vocabulary_alone",
            file().vocabulary(&["a", "b", "ab", "c"], &["a b"]).bytes(),
        ),
        ("nothing", file().bytes()),
        ("big_endian", file().version(3_u32.swap_bytes()).bytes()),
        (
            "counts_without_things",
            file().announced_entries(9).announced_tensors(9).bytes(),
        ),
        (
            "nested_array",
            file().array("key", 9, 1, &[9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]).bytes(),
        ),
        (
            "text_of_2_to_63",
            file().entry("key", 8, &(1_u64 << 63).to_le_bytes()).bytes(),
        ),
        ("alignment_0", one(&[8]).unsigned("general.alignment", 0).bytes()),
        ("elements_wrap", one(&[(1 << 61) + 1, 8]).bytes()),
        ("larger_than_the_file", one(&[9]).bytes()),
        ("offset_near_the_top", one(&[8]).at_offset(u64::MAX - 31).bytes()),
        ("overlap", tied.bytes()),
        (
            "unsupported_type",
            file().tensor_of_code("t", &[256], 16, vec![0; 96]).bytes(),
        ),
    ]
}
