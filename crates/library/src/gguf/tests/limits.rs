//! Each limit of the reader: reached and accepted, passed by one and refused.

use super::{assert_problem, open, refusal};
use crate::gguf::limits::{
    ALIGNMENT_MAX, ALIGNMENT_MIN, ARRAY_ELEMENTS_MAX, DIMS_MAX, ENTRIES_MAX, HEADER_BYTES_MAX, KEY_BYTES_MAX,
    QUOTED_BYTES_MAX, TENSOR_NAME_BYTES_MAX, TENSORS_MAX, TEXT_BYTES_MAX,
};
use crate::gguf::{Gguf, Problem, Quoted, TensorType};
use crate::testing::GgufFile;

/// `make(limit)` is accepted, `make(limit + 1)` is over that limit.
fn check(limit: u64, make: impl Fn(usize) -> GgufFile) {
    let at = usize::try_from(limit).unwrap();
    open(&make(at));
    let one_past = (limit + 1, limit);
    let refused = refusal(make(at + 1).bytes());
    assert_problem!(refused, Problem::Limit { found, allowed, .. } if (found, allowed) == one_past);
}

#[test]
fn metadata_entries() {
    check(ENTRIES_MAX, |entries| {
        (0..entries).fold(GgufFile::new(), |file, index| file.flag(&index.to_string(), true))
    });
}

#[test]
fn tensors() {
    check(TENSORS_MAX, |tensors| {
        (0..tensors).fold(GgufFile::new().alignment(8), |file, index| {
            file.tensor(&index.to_string(), &[2], TensorType::F32, vec![0; 8])
        })
    });
}

#[test]
fn bytes_in_a_key() {
    check(KEY_BYTES_MAX, |bytes| GgufFile::new().flag(&"k".repeat(bytes), true));
}

#[test]
fn bytes_in_a_text() {
    check(TEXT_BYTES_MAX, |bytes| GgufFile::new().text("text", &"t".repeat(bytes)));
    check(TEXT_BYTES_MAX, |bytes| {
        GgufFile::new().texts("texts", &["t".repeat(bytes)])
    });
}

#[test]
fn elements_in_an_array() {
    check(ARRAY_ELEMENTS_MAX, |elements| {
        GgufFile::new().array("array", 0, elements as u64, &vec![0; elements])
    });
}

#[test]
fn bytes_in_a_tensor_name() {
    check(TENSOR_NAME_BYTES_MAX, |bytes| {
        GgufFile::new().zeros(&"t".repeat(bytes), &[8], TensorType::F32)
    });
}

#[test]
fn bytes_of_header() {
    let array =
        |file: GgufFile, key: &str, elements: usize| file.array(key, 10, elements as u64, &vec![0; elements * 8]);
    let largest = usize::try_from(ARRAY_ELEMENTS_MAX).unwrap();
    let two = |second: usize| array(array(GgufFile::new(), "a", largest), "b", second);
    let room = usize::try_from(HEADER_BYTES_MAX).unwrap() - two(0).bytes().len();
    // What the second array leaves, less what a text costs beside its bytes, goes into a text.
    check(HEADER_BYTES_MAX, |bytes| {
        let passed = bytes - usize::try_from(HEADER_BYTES_MAX).unwrap();
        let second = (room - 100) / 8;
        let text = room - second * 8 - (8 + 1 + 4 + 8);
        two(second).text("c", &"t".repeat(text + passed))
    });
}

#[test]
fn dimensions() {
    let most = usize::try_from(DIMS_MAX).unwrap();
    assert_eq!(
        open(&GgufFile::new().zeros("t", &vec![2; most], TensorType::F32)).tensors()[0].elements(),
        16
    );
    let five = GgufFile::new().zeros("t", &vec![2; most + 1], TensorType::F32);
    assert_problem!(refusal(five.bytes()), Problem::Dims { found: 5, .. });
}

#[test]
fn alignment() {
    let aligned = |alignment: u64| {
        let alignment = u32::try_from(alignment).unwrap();
        GgufFile::new()
            .alignment(alignment)
            .zeros("a", &[8], TensorType::F32)
            .zeros("b", &[8], TensorType::F32)
    };
    for accepted in [ALIGNMENT_MIN, ALIGNMENT_MAX] {
        let gguf = open(&aligned(accepted));
        assert!(gguf.tensors().iter().all(|tensor| tensor.offset % accepted == 0));
    }
    for refused in [
        ALIGNMENT_MIN - 1,
        ALIGNMENT_MIN / 2,
        ALIGNMENT_MAX + 1,
        ALIGNMENT_MAX * 2,
    ] {
        assert_problem!(refusal(aligned(refused).bytes()), Problem::Alignment { found } if found == refused);
    }
}

#[test]
fn bytes_of_a_quoted_name() {
    assert_eq!(
        Quoted::new(&"n".repeat(QUOTED_BYTES_MAX)).to_string(),
        "n".repeat(QUOTED_BYTES_MAX)
    );
    let cut = format!("{}…", "n".repeat(QUOTED_BYTES_MAX));
    assert_eq!(Quoted::new(&"n".repeat(QUOTED_BYTES_MAX + 1)).to_string(), cut);
}

#[test]
fn a_length_near_a_limit_costs_no_memory_the_file_does_not_have() {
    // Announces 4 Mi texts in a file of 80 bytes: refused by the file's length, before the list is allocated.
    let file = GgufFile::new().array("array", 8, ARRAY_ELEMENTS_MAX, &[]);
    assert_problem!(refusal(file.bytes()), Problem::Cut { left: 0, .. });
    assert!(Gguf::from_bytes(file.bytes(), "short").is_err());
}
