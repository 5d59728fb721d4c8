//! Tensors that are wrong on purpose, each in one way: shapes, types, places. The cases are those that other readers
//! took for granted: llama.cpp (CVE-2025-53630, CVE-2026-27940), Ollama (CVE-2026-7482), candle (#3533).

use super::{assert_problem, open, refusal};
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
    assert_problem!(refusal(shaped(&[1; 5]).bytes()), Problem::Dims { found: 5, .. });
    assert_problem!(refusal(shaped(&[1; 4000]).bytes()), Problem::Dims { found: 4000, .. });
    assert_problem!(refusal(shaped(&[0]).bytes()), Problem::ZeroDim { .. });
    assert_problem!(refusal(shaped(&[8, 0, 1]).bytes()), Problem::ZeroDim { .. });
}

#[test]
fn shapes_that_overflow_are_refused() {
    assert_problem!(refusal(shaped(&[1 << 32, 1 << 32]).bytes()), Problem::TensorSize { .. });
    assert_problem!(refusal(shaped(&[1 << 16; 4]).bytes()), Problem::TensorSize { .. });
    assert_problem!(refusal(shaped(&[u64::MAX]).bytes()), Problem::TensorSize { .. });
    assert_problem!(refusal(shaped(&[1 << 62]).bytes()), Problem::TensorSize { .. });
    // The product wraps to 8 elements, which would fit the data.
    assert_problem!(refusal(shaped(&[(1 << 61) + 1, 8]).bytes()), Problem::TensorSize { .. });
    // Counted in bytes it fits 64 bits, rounded up to the alignment it does not.
    let brim = new().tensor_of_code("t", &[u64::MAX / 4], TensorType::F32.code(), vec![0; 32]);
    assert_problem!(refusal(brim.bytes()), Problem::OutsideFile { .. });
}

#[test]
fn a_shape_larger_than_the_file_is_refused() {
    assert_problem!(refusal(shaped(&[9]).bytes()), Problem::OutsideFile { .. });
    assert_problem!(refusal(shaped(&[1 << 40]).bytes()), Problem::OutsideFile { .. });
    assert_eq!(open(&shaped(&[8])).tensors()[0].bytes, 32);
}

#[test]
fn a_row_must_be_whole_blocks() {
    let file = new().tensor("t", &[48, 2], TensorType::Q8_0, vec![0; 102]);
    assert_problem!(refusal(file.bytes()), Problem::PartialBlock { columns: 48, .. });
    let file = new().tensor("t", &[128, 2], TensorType::Q4K, vec![0; 144]);
    assert_problem!(refusal(file.bytes()), Problem::PartialBlock { columns: 128, .. });
}

#[test]
fn tensor_types_that_are_not_read_are_refused_by_name() {
    fn check(code: u32, name: &str) {
        let file = new().tensor_of_code("blk.0.ffn_down.weight", &[256], code, vec![0; 256]);
        let error = Gguf::from_bytes(file.bytes(), "test.gguf")
            .expect_err("not supported")
            .to_string();
        assert!(
            error.contains(&format!("`blk.0.ffn_down.weight` is stored as {name} (type {code})")),
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
        refusal(three().zeros("c", &[8], TensorType::F32).at_offset(32).bytes()),
        Problem::Overlap { .. }
    );
    assert_problem!(
        refusal(three().zeros("c", &[8], TensorType::F32).at_offset(0).bytes()),
        Problem::Overlap { .. }
    );
    assert_problem!(
        refusal(three().zeros("c", &[8], TensorType::F32).at_offset(64).bytes()),
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
    let value = bytes.windows(17).position(|part| part == b"general.alignment").unwrap() + 17 + 4;
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
