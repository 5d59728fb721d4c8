//! Headers that are wrong on purpose, each in one way: marks, counts, lengths, types. The cases are those that crashed
//! other readers: llama.cpp (CVE-2024-21802 to -23605), Ollama (CVE-2025-0312 to -0317), candle (#3533).

use super::{assert_fit_to_show, assert_problem, open, refusal, small};
use crate::gguf::{Gguf, Problem, TensorType};
use crate::testing::GgufFile;

fn new() -> GgufFile {
    GgufFile::new()
}

#[test]
fn other_formats_are_refused_by_what_they_begin_with() {
    let error = Gguf::from_bytes(b"PK\x03\x04 and so on".to_vec(), "model.zip")
        .unwrap_err()
        .to_string();
    assert!(error.contains(r"begins with `PK\u{3}\u{4}`"), "{error}");
    assert_problem!(refusal(b"GGML".to_vec()), Problem::NotGguf { .. });
    assert_problem!(refusal(b"FUGG\0\0\0\x03".to_vec()), Problem::NotGguf { .. });
}

#[test]
fn other_versions_are_refused_by_number() {
    assert_problem!(refusal(small().version(0).bytes()), Problem::Version { version: 0 });
    assert_problem!(refusal(small().version(1).bytes()), Problem::Version { version: 1 });
    assert_problem!(refusal(small().version(4).bytes()), Problem::Version { version: 4 });
}

#[test]
fn big_endian_files_are_refused_by_name() {
    for version in 1..=3_u32 {
        assert_problem!(
            refusal(small().version(version.swap_bytes()).bytes()),
            Problem::BigEndian
        );
    }
}

#[test]
fn one_part_of_a_split_model_is_refused() {
    assert_problem!(
        refusal(small().unsigned("split.count", 3).bytes()),
        Problem::Split { parts: 3 }
    );
    assert_eq!(open(&small().unsigned("split.count", 1)).tensors().len(), 3);
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let whole = small().bytes();
    let last = open(&small())
        .tensors()
        .last()
        .map(|tensor| tensor.offset + tensor.bytes)
        .unwrap();
    let needed = usize::try_from(last).unwrap();
    for kept in 0..needed {
        let error = Gguf::from_bytes(whole[..kept].to_vec(), "cut").expect_err("a part of the file is no file");
        assert_fit_to_show(&error.to_string());
    }
    Gguf::from_bytes(whole[..needed].to_vec(), "whole").unwrap();
}

#[test]
fn counts_that_the_file_has_no_room_for_are_refused() {
    assert_problem!(
        refusal(new().announced_entries(1).bytes()),
        Problem::Counts { entries: 1, .. }
    );
    assert_problem!(
        refusal(new().announced_tensors(1).bytes()),
        Problem::Counts { tensors: 1, .. }
    );
    assert_problem!(
        refusal(new().announced_entries(u64::MAX).bytes()),
        Problem::Limit { found: u64::MAX, .. }
    );
    assert_problem!(
        refusal(new().announced_tensors(u64::MAX).bytes()),
        Problem::Limit { found: u64::MAX, .. }
    );
    assert_problem!(
        refusal(small().announced_entries(12).bytes()),
        Problem::Limit { .. } | Problem::ValueType { .. }
    );
    assert_problem!(
        refusal(small().announced_tensors(4).bytes()),
        Problem::NoName {
            what: "a tensor name",
            ..
        }
    );
}

#[test]
fn lengths_of_texts_are_held_against_the_file() {
    let length = |bytes: u64| new().entry("key", 8, &bytes.to_le_bytes()).bytes();
    assert_problem!(refusal(length(1)), Problem::Cut { needed: 1, left: 0, .. });
    assert_problem!(
        refusal(length(1 << 20)),
        Problem::Cut {
            what: "a metadata text",
            left: 0,
            ..
        }
    );
    // The first wraps a signed length, the second wraps when one is added for a terminator.
    assert_problem!(refusal(length(1 << 63)), Problem::Limit { .. });
    assert_problem!(refusal(length(u64::MAX)), Problem::Limit { found: u64::MAX, .. });
}

#[test]
fn names_must_not_be_empty() {
    assert_problem!(
        refusal(new().unsigned("", 1).bytes()),
        Problem::NoName {
            what: "a metadata key",
            ..
        }
    );
    let nameless = new().tensor("", &[8], TensorType::F32, vec![0; 32]);
    assert_problem!(
        refusal(nameless.bytes()),
        Problem::NoName {
            what: "a tensor name",
            ..
        }
    );
}

#[test]
fn texts_must_be_utf8() {
    let text = |bytes: &[u8]| [&(bytes.len() as u64).to_le_bytes()[..], bytes].concat();
    assert_problem!(
        refusal(new().entry("key", 8, &text(b"\xff")).bytes()),
        Problem::NotUtf8 { .. }
    );
    assert_problem!(
        refusal(new().entry("key", 8, &text(b"\xed\xa0\x80")).bytes()),
        Problem::NotUtf8 { .. }
    );
    assert_problem!(
        refusal(new().array("key", 8, 1, &text(b"\xc3(")).bytes()),
        Problem::NotUtf8 { .. }
    );
    // A key: its one byte follows the 24 of the fixed header and the 8 of its length.
    let mut key = new().unsigned("k", 1).bytes();
    key[32] = 0xff;
    assert_problem!(
        refusal(key),
        Problem::NotUtf8 {
            what: "a metadata key",
            position: 32
        }
    );
}

#[test]
fn value_types_must_be_known() {
    assert_problem!(
        refusal(new().entry("key", 13, &[0; 8]).bytes()),
        Problem::ValueType { code: 13, .. }
    );
    assert_problem!(
        refusal(new().entry("key", u32::MAX, &[0; 8]).bytes()),
        Problem::ValueType { .. }
    );
    assert_problem!(
        refusal(new().array("key", 13, 1, &[0; 8]).bytes()),
        Problem::ValueType { code: 13, .. }
    );
}

#[test]
fn booleans_must_be_0_or_1() {
    assert_problem!(
        refusal(new().entry("key", 7, &[2]).bytes()),
        Problem::Boolean { byte: 2, .. }
    );
    assert_problem!(
        refusal(new().array("key", 7, 2, &[1, 255]).bytes()),
        Problem::Boolean { byte: 255, .. }
    );
}

#[test]
fn lengths_of_arrays_are_held_against_the_file() {
    for code in [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12] {
        assert_problem!(
            refusal(new().array("key", code, 1, &[]).bytes()),
            Problem::Cut { left: 0, .. }
        );
        assert_problem!(
            refusal(new().array("key", code, 1 << 20, &[0; 64]).bytes()),
            Problem::Cut { left: 64, .. }
        );
        assert_problem!(
            refusal(new().array("key", code, 1 << 61, &[]).bytes()),
            Problem::Limit { .. }
        );
        assert_problem!(
            refusal(new().array("key", code, u64::MAX, &[]).bytes()),
            Problem::Limit { .. }
        );
    }
}

#[test]
fn arrays_of_arrays_are_refused_however_deep() {
    let mut levels = Vec::new();
    for _ in 0..100_000 {
        levels.extend(9_u32.to_le_bytes());
        levels.extend(1_u64.to_le_bytes());
    }
    assert_problem!(
        refusal(new().array("key", 9, 1, &levels).bytes()),
        Problem::NestedArray { .. }
    );
}

#[test]
fn a_key_may_appear_once() {
    let file = new().unsigned("key", 1).unsigned("other", 1).text("key", "two");
    assert_problem!(refusal(file.bytes()), Problem::DuplicateKey { .. });
}
