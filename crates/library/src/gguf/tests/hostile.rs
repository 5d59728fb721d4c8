//! Files that are wrong on purpose, each in one way. The cases are those that crashed other readers: reports against
//! llama.cpp (CVE-2024-21802 to -23605, CVE-2025-53630, CVE-2026-27940), Ollama (CVE-2025-0312 to -0317,
//! CVE-2026-7482) and candle (#3533).

use super::{assert_fit_to_show, assert_problem, open, refusal, small};
use crate::gguf::{Gguf, Problem, TensorType};
use crate::testing::GgufFile;

fn new() -> GgufFile {
    GgufFile::new()
}

/// One F32 tensor of that shape, with 32 bytes of data however large the shape says it is.
fn shaped(dims: &[u64]) -> GgufFile {
    new().tensor("t", dims, TensorType::F32, vec![0; 32])
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
    assert_problem!(
        refusal(small().version(0).bytes()),
        Problem::Version { version: 0 }
    );
    assert_problem!(
        refusal(small().version(1).bytes()),
        Problem::Version { version: 1 }
    );
    assert_problem!(
        refusal(small().version(4).bytes()),
        Problem::Version { version: 4 }
    );
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
        let error = Gguf::from_bytes(whole[..kept].to_vec(), "cut")
            .expect_err("a part of the file is no file");
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
        Problem::Limit {
            found: u64::MAX,
            ..
        }
    );
    assert_problem!(
        refusal(new().announced_tensors(u64::MAX).bytes()),
        Problem::Limit {
            found: u64::MAX,
            ..
        }
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
    assert_problem!(
        refusal(length(1)),
        Problem::Cut {
            needed: 1,
            left: 0,
            ..
        }
    );
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
    assert_problem!(
        refusal(length(u64::MAX)),
        Problem::Limit {
            found: u64::MAX,
            ..
        }
    );
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
    let file = new()
        .unsigned("key", 1)
        .unsigned("other", 1)
        .text("key", "two");
    assert_problem!(refusal(file.bytes()), Problem::DuplicateKey { .. });
}

#[test]
fn a_tensor_may_appear_once() {
    let file = new()
        .zeros("t", &[8], TensorType::F32)
        .zeros("t", &[16], TensorType::F32);
    assert_problem!(refusal(file.bytes()), Problem::DuplicateTensor { .. });
}

#[test]
fn dimensions_must_be_there_and_not_zero() {
    assert_problem!(
        refusal(shaped(&[]).bytes()),
        Problem::Dims { found: 0, .. } | Problem::Counts { .. }
    );
    assert_problem!(
        refusal(shaped(&[1; 5]).bytes()),
        Problem::Dims { found: 5, .. }
    );
    assert_problem!(
        refusal(shaped(&[1; 4000]).bytes()),
        Problem::Dims { found: 4000, .. }
    );
    assert_problem!(refusal(shaped(&[0]).bytes()), Problem::ZeroDim { .. });
    assert_problem!(refusal(shaped(&[8, 0, 1]).bytes()), Problem::ZeroDim { .. });
}

#[test]
fn shapes_that_overflow_are_refused() {
    assert_problem!(
        refusal(shaped(&[1 << 32, 1 << 32]).bytes()),
        Problem::TensorSize { .. }
    );
    assert_problem!(
        refusal(shaped(&[1 << 16; 4]).bytes()),
        Problem::TensorSize { .. }
    );
    assert_problem!(
        refusal(shaped(&[u64::MAX]).bytes()),
        Problem::TensorSize { .. }
    );
    assert_problem!(
        refusal(shaped(&[1 << 62]).bytes()),
        Problem::TensorSize { .. }
    );
    // The product wraps to 8 elements, which would fit the data.
    assert_problem!(
        refusal(shaped(&[(1 << 61) + 1, 8]).bytes()),
        Problem::TensorSize { .. }
    );
    // Counted in bytes it fits 64 bits, rounded up to the alignment it does not.
    let brim = new().tensor_of_code("t", &[u64::MAX / 4], TensorType::F32.code(), vec![0; 32]);
    assert_problem!(refusal(brim.bytes()), Problem::OutsideFile { .. });
}

#[test]
fn a_shape_larger_than_the_file_is_refused() {
    assert_problem!(refusal(shaped(&[9]).bytes()), Problem::OutsideFile { .. });
    assert_problem!(
        refusal(shaped(&[1 << 40]).bytes()),
        Problem::OutsideFile { .. }
    );
    assert_eq!(open(&shaped(&[8])).tensors()[0].bytes, 32);
}

#[test]
fn a_row_must_be_whole_blocks() {
    let file = new().tensor("t", &[48, 2], TensorType::Q8_0, vec![0; 102]);
    assert_problem!(
        refusal(file.bytes()),
        Problem::PartialBlock { columns: 48, .. }
    );
    let file = new().tensor("t", &[128, 2], TensorType::Q4K, vec![0; 144]);
    assert_problem!(
        refusal(file.bytes()),
        Problem::PartialBlock { columns: 128, .. }
    );
}

#[test]
fn tensor_types_that_are_not_read_are_refused_by_name() {
    fn check(code: u32, name: &str) {
        let file = new().tensor_of_code("blk.0.ffn_down.weight", &[256], code, vec![0; 256]);
        let error = Gguf::from_bytes(file.bytes(), "test.gguf")
            .expect_err("not supported")
            .to_string();
        assert!(
            error.contains(&format!(
                "`blk.0.ffn_down.weight` is stored as {name} (type {code})"
            )),
            "{error}"
        );
        assert!(error.contains("use a file quantised as Q4_K_M"), "{error}");
    }
    check(3, "Q4_1");
    check(7, "Q5_1");
    check(16, "IQ2_XXS");
    check(20, "IQ4_NL");
    check(23, "IQ4_XS");
    check(34, "TQ1_0");
    check(39, "MXFP4");
    check(40, "NVFP4");
    check(1000, "an unknown type");
    check(u32::MAX, "an unknown type");
}

#[test]
fn offsets_must_be_aligned() {
    for offset in [1, 31, 33, u64::MAX] {
        assert_problem!(
            refusal(shaped(&[8]).at_offset(offset).bytes()),
            Problem::Misaligned { alignment: 32, .. }
        );
    }
}

#[test]
fn offsets_past_the_file_are_refused() {
    for offset in [32, 1 << 40, 1 << 63, u64::MAX - 31] {
        assert_problem!(
            refusal(shaped(&[8]).at_offset(offset).bytes()),
            Problem::OutsideFile { .. }
        );
    }
}

#[test]
fn tensors_must_not_share_bytes() {
    let three = || {
        new()
            .zeros("a", &[16], TensorType::F32)
            .zeros("b", &[8], TensorType::F32)
    };
    assert_problem!(
        refusal(
            three()
                .zeros("c", &[8], TensorType::F32)
                .at_offset(32)
                .bytes()
        ),
        Problem::Overlap { .. }
    );
    assert_problem!(
        refusal(
            three()
                .zeros("c", &[8], TensorType::F32)
                .at_offset(0)
                .bytes()
        ),
        Problem::Overlap { .. }
    );
    assert_problem!(
        refusal(
            three()
                .zeros("c", &[8], TensorType::F32)
                .at_offset(64)
                .bytes()
        ),
        Problem::Overlap { .. }
    );
    assert_eq!(
        open(&three().zeros("c", &[8], TensorType::F32).at_offset(96))
            .tensors()
            .len(),
        3
    );
}

#[test]
fn an_alignment_must_be_usable() {
    for alignment in [0, 1, 4, 7, 9, 24, 48, 3 << 10, u32::MAX] {
        let file = shaped(&[8]).unsigned("general.alignment", alignment);
        assert_problem!(refusal(file.bytes()), Problem::Alignment { found } if found == u64::from(alignment));
    }
    assert_problem!(
        refusal(new().unsigned("general.alignment", 0).bytes()),
        Problem::Alignment { found: 0 }
    );
    assert_problem!(
        refusal(new().signed("general.alignment", -32).bytes()),
        Problem::WrongType { .. }
    );
    assert_problem!(
        refusal(new().text("general.alignment", "32").bytes()),
        Problem::WrongType { .. }
    );
    assert_problem!(
        refusal(new().array("general.alignment", 4, 0, &[]).bytes()),
        Problem::WrongType { .. }
    );
}

#[test]
fn data_written_for_another_alignment_is_refused() {
    // Laid out for 8 and read with 32: the second tensor's offset of 8 is off.
    let file = GgufFile::new()
        .alignment(8)
        .zeros("a", &[2], TensorType::F32)
        .zeros("b", &[2], TensorType::F32);
    assert_eq!(open(&file).tensors()[1].offset % 8, 0);
    let mut bytes = file.bytes();
    let value = bytes
        .windows(17)
        .position(|part| part == b"general.alignment")
        .unwrap()
        + 17
        + 4;
    bytes[value] = 32;
    assert_problem!(
        refusal(bytes),
        Problem::Misaligned {
            offset: 8,
            alignment: 32,
            ..
        }
    );
}

#[test]
fn a_wrong_type_is_named_without_the_value() {
    let many: Vec<String> = (0..50_000).map(|index| format!("secret{index}")).collect();
    let gguf = open(
        &new()
            .texts("key", &many)
            .signed("negative", -1)
            .float("nan", f32::NAN),
    );
    let check = |error: String, words: &str| {
        assert_fit_to_show(&error);
        assert!(
            error.contains(words) && error.contains("test.gguf") && !error.contains("secret"),
            "{error}"
        );
    };
    let metadata = gguf.metadata();
    check(
        metadata.unsigned("key").unwrap_err().to_string(),
        "`key` is an array of 50000 texts",
    );
    check(
        metadata.text("key").unwrap_err().to_string(),
        "a text is needed",
    );
    check(
        metadata.unsigned("negative").unwrap_err().to_string(),
        "`negative` is a negative integer",
    );
    check(
        metadata.float("nan").unwrap_err().to_string(),
        "`nan` is a float that is not finite",
    );
    check(
        metadata.flag_or("nan", true).unwrap_err().to_string(),
        "a boolean is needed",
    );
    check(
        metadata.text("absent").unwrap_err().to_string(),
        "lacks metadata `absent`",
    );
    check(
        metadata
            .unsigned(&"k".repeat(10_000))
            .unwrap_err()
            .to_string(),
        "lacks metadata `kkk",
    );
}

#[test]
fn names_are_shown_short_and_without_control_characters() {
    let evil = "\u{1b}[31mred\r\n\0\u{202e}";
    let evil_key = evil.repeat(3000);
    let file = new().unsigned(&evil_key, 1).unsigned(&evil_key, 2);
    let error = Gguf::from_bytes(file.bytes(), &evil.repeat(3000))
        .unwrap_err()
        .to_string();
    assert_fit_to_show(&error);
    assert!(error.contains(r"\u{1b}[31mred\r\n\0\u{202e}"), "{error}");
    let pair = evil.repeat(15);
    let file = new()
        .zeros(&format!("{pair}a"), &[8], TensorType::F32)
        .at_offset(0);
    let file = file
        .zeros(&format!("{pair}b"), &[8], TensorType::F32)
        .at_offset(0);
    assert_problem!(refusal(file.bytes()), Problem::Overlap { .. });
}

#[test]
fn the_end_of_a_long_path_is_shown() {
    let error = Gguf::from_bytes(
        Vec::new(),
        &format!("/{}/model.gguf", "folder/".repeat(500)),
    )
    .unwrap_err()
    .to_string();
    assert!(
        error.starts_with('…') && error.contains("/model.gguf: ends too early"),
        "{error}"
    );
    assert_fit_to_show(&error);
}
