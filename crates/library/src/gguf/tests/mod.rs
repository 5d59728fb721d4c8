//! The reader from outside: files in, models or refusals out.

mod corpus;
mod hostile_headers;
mod hostile_tensors;
mod limits;
mod messages;
mod mutations;
mod reading;
mod split;
mod vocabulary;

use super::limits::ERROR_BYTES_MAX;
use super::{Gguf, Problem};
use crate::testing::{GgufFile, small_model as small};

fn open(file: &GgufFile) -> Gguf {
    Gguf::from_bytes(file.bytes(), "test.gguf").expect("the file is in order")
}

/// Why `bytes` are refused, after checking that the refusal is fit for a log line.
fn refusal(bytes: Vec<u8>) -> Problem {
    let error = Gguf::from_bytes(bytes, "test.gguf").expect_err("the file is not in order");
    assert_fit_to_show(&error.to_string());
    *error.problem
}

/// The same for what only the vocabulary's checks can see.
fn vocabulary_refusal(file: &GgufFile) -> Problem {
    let error = open(file).vocabulary().expect_err("the vocabulary is not in order");
    assert_fit_to_show(&error.to_string());
    *error.problem
}

fn assert_fit_to_show(text: &str) {
    assert!(
        text.len() <= ERROR_BYTES_MAX,
        "{} bytes of error text: {text}",
        text.len()
    );
    assert!(!text.chars().any(char::is_control), "control characters in {text:?}");
}

/// Asserts that a refusal has the expected shape, and shows it if not.
macro_rules! assert_problem {
    ($found:expr, $expected:pat $(if $guard:expr)?) => {
        match $found {
            $expected $(if $guard)? => {}
            other => panic!("expected {}, found {other:?}", stringify!($expected)),
        }
    };
}
use assert_problem;
