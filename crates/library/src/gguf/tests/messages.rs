//! What a refusal may say: names, not values, and never more than a log line can take.

use super::{assert_fit_to_show, assert_problem, open, refusal};
use crate::gguf::{Gguf, Problem, TensorType};
use crate::testing::GgufFile;

fn new() -> GgufFile {
    GgufFile::new()
}

#[test]
fn a_wrong_type_is_named_without_the_value() {
    let many: Vec<String> = (0..50_000).map(|index| format!("secret{index}")).collect();
    let gguf = open(&new().texts("key", &many).signed("negative", -1).float("nan", f32::NAN));
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
    check(metadata.text("key").unwrap_err().to_string(), "a text is needed");
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
        metadata.unsigned(&"k".repeat(10_000)).unwrap_err().to_string(),
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
    let file = new().zeros(&format!("{pair}a"), &[8], TensorType::F32).at_offset(0);
    let file = file.zeros(&format!("{pair}b"), &[8], TensorType::F32).at_offset(0);
    assert_problem!(refusal(file.bytes()), Problem::Overlap { .. });
}

#[test]
fn the_end_of_a_long_path_is_shown() {
    let error = Gguf::from_bytes(Vec::new(), &format!("/{}/model.gguf", "folder/".repeat(500)))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with('…') && error.contains("/model.gguf: ends too early"),
        "{error}"
    );
    assert_fit_to_show(&error);
}
