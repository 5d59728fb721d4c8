//! The vocabulary's checks.

use super::{assert_problem, open, small, vocabulary_refusal};
use crate::gguf::{Problem, TensorType, Vocabulary};
use crate::testing::GgufFile;

const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const EOS: &str = "tokenizer.ggml.eos_token_id";

/// A vocabulary of three tokens and nothing more; `parts` says which of its entries are left out.
fn without(parts: &[&str]) -> GgufFile {
    let put = |key: &str| !parts.contains(&key);
    let mut file = GgufFile::new()
        .text("tokenizer.ggml.model", "gpt2")
        .texts("tokenizer.ggml.merges", &["a b"]);
    if put(TOKENS) {
        file = file.texts(TOKENS, &["a", "b", "ab"]);
    }
    if put(TYPES) {
        file = file.integers(TYPES, &[1, 1, 3]);
    }
    if put(EOS) {
        file = file.unsigned(EOS, 2);
    }
    file
}

fn vocabulary(file: &GgufFile) -> Vocabulary {
    open(file).vocabulary().unwrap()
}

#[test]
fn a_vocabulary_comes_out_as_it_went_in() {
    let file = small()
        .unsigned("tokenizer.ggml.bos_token_id", 0)
        .unsigned("tokenizer.ggml.eot_token_id", 2);
    let expected = Vocabulary {
        model: "gpt2".into(),
        pre: "qwen2".into(),
        tokens: ["a", "b", "ab", "<end>"].map(String::from).to_vec(),
        types: vec![1, 1, 1, 3],
        merges: vec!["a b".into()],
        bos: Some(0),
        eos: 3,
        end_tokens: vec![2, 3],
        add_bos: false,
        add_eos: false,
        chat_template: Some("{{ messages[0].content }}".into()),
    };
    assert_eq!(vocabulary(&file), expected);
}

#[test]
fn a_file_without_tensors_may_carry_a_vocabulary() {
    let found = vocabulary(&without(&[]));
    assert_eq!((found.tokens.len(), found.eos, found.bos), (3, 2, None));
    assert_eq!(
        (found.pre.as_str(), found.add_bos, found.chat_template),
        ("default", false, None)
    );
}

#[test]
fn each_token_has_one_type_of_1_to_6() {
    let types = |types: &[i32]| vocabulary_refusal(&without(&[TYPES]).integers(TYPES, types));
    assert_problem!(types(&[1, 1]), Problem::TypesLength { tokens: 3, types: 2 });
    assert_problem!(types(&[1; 4]), Problem::TypesLength { tokens: 3, types: 4 });
    assert_problem!(types(&[1, 0, 1]), Problem::TokenType { index: 1, found: 0 });
    assert_problem!(types(&[1, 1, 7]), Problem::TokenType { index: 2, found: 7 });
    assert_problem!(types(&[-1, 1, 1]), Problem::WrongType { .. });
    assert_problem!(vocabulary_refusal(&without(&[TYPES])), Problem::MissingKey { .. });
    assert_eq!(
        vocabulary(&without(&[TYPES]).integers(TYPES, &[1, 6, 3])).types,
        [1, 6, 3]
    );
}

#[test]
fn there_must_be_a_token() {
    let empty = without(&[TOKENS, TYPES])
        .texts::<&str>(TOKENS, &[])
        .integers(TYPES, &[]);
    assert_problem!(vocabulary_refusal(&empty), Problem::NoTokens);
    assert_problem!(vocabulary_refusal(&without(&[TOKENS])), Problem::MissingKey { .. });
    let numbers = without(&[TOKENS]).integers(TOKENS, &[1, 2, 3]);
    assert_problem!(vocabulary_refusal(&numbers), Problem::WrongType { .. });
}

#[test]
fn two_tokens_must_not_share_a_text() {
    let twice = without(&[TOKENS]).texts(TOKENS, &["a", "b", "a"]);
    assert_problem!(
        vocabulary_refusal(&twice),
        Problem::DuplicateToken {
            first: 0,
            second: 2,
            ..
        }
    );
}

#[test]
fn weights_must_have_as_many_rows_as_there_are_tokens() {
    let rows = |name: &str, rows: u64| without(&[]).zeros(name, &[32, rows], TensorType::F32);
    assert_problem!(
        vocabulary_refusal(&rows("token_embd.weight", 2)),
        Problem::Rows { rows: 2, tokens: 3, .. }
    );
    assert_problem!(
        vocabulary_refusal(&rows("token_embd.weight", 4)),
        Problem::Rows { rows: 4, tokens: 3, .. }
    );
    assert_problem!(
        vocabulary_refusal(&rows("output.weight", 4)),
        Problem::Rows {
            tensor: "output.weight",
            ..
        }
    );
    assert_eq!(vocabulary(&rows("token_embd.weight", 3)).tokens.len(), 3);
    assert_eq!(vocabulary(&rows("output.weight", 3)).tokens.len(), 3);
}

#[test]
fn there_must_be_an_end_token() {
    assert_problem!(vocabulary_refusal(&without(&[EOS])), Problem::NoEndToken);
}

#[test]
fn special_ids_must_be_in_range() {
    let ids = [
        "tokenizer.ggml.bos_token_id",
        "tokenizer.ggml.eot_token_id",
        "tokenizer.ggml.eom_token_id",
        EOS,
    ];
    for key in ids {
        let with = |id: i32| without(&[EOS, key]).signed(key, id);
        let with = |id: i32| {
            if key == EOS {
                with(id)
            } else {
                with(id).unsigned(EOS, 2)
            }
        };
        assert_problem!(vocabulary_refusal(&with(3)), Problem::TokenId { last: 2, .. });
        assert_problem!(vocabulary_refusal(&with(-1)), Problem::TokenId { last: 2, .. });
        vocabulary(&with(2));
        let text = if key == EOS { without(&[EOS]) } else { without(&[]) }.text(key, "2");
        assert_problem!(vocabulary_refusal(&text), Problem::TokenId { .. });
    }
    let huge = without(&[EOS]).entry(EOS, 10, &((1_u64 << 32) + 2).to_le_bytes());
    assert_problem!(vocabulary_refusal(&huge), Problem::TokenId { .. });
}

#[test]
fn all_end_tokens_are_gathered_once() {
    let file = without(&[])
        .unsigned("tokenizer.ggml.eot_token_id", 2)
        .unsigned("tokenizer.ggml.eom_token_id", 0)
        .integers("tokenizer.ggml.eos_token_ids", &[1, 2]);
    assert_eq!(vocabulary(&file).end_tokens, [0, 1, 2]);
    let beyond = without(&[]).integers("tokenizer.ggml.eos_token_ids", &[1, 3]);
    assert_problem!(vocabulary_refusal(&beyond), Problem::TokenId { .. });
}

#[test]
fn a_begin_token_that_is_asked_for_must_be_named() {
    let asked = without(&[]).flag("tokenizer.ggml.add_bos_token", true);
    assert_problem!(vocabulary_refusal(&asked), Problem::NoBeginToken);
    assert!(vocabulary(&asked.unsigned("tokenizer.ggml.bos_token_id", 0)).add_bos);
}

#[test]
fn llama_3_text_begins_with_the_begin_token_unless_the_file_says_otherwise() {
    let llama = || {
        without(&[])
            .text("tokenizer.ggml.pre", "llama-bpe")
            .unsigned("tokenizer.ggml.bos_token_id", 0)
    };
    assert!(vocabulary(&llama()).add_bos);
    assert!(!vocabulary(&llama().flag("tokenizer.ggml.add_bos_token", false)).add_bos);
    assert!(!vocabulary(&llama()).add_eos);
    assert!(vocabulary(&llama().flag("tokenizer.ggml.add_eos_token", true)).add_eos);
}

#[test]
fn merges_are_pairs() {
    let with = |merge: &str| {
        let file = GgufFile::new()
            .text("tokenizer.ggml.model", "gpt2")
            .texts("tokenizer.ggml.merges", &["a b", merge]);
        file.texts(TOKENS, &["a", "b", "ab"])
            .integers(TYPES, &[1, 1, 3])
            .unsigned(EOS, 2)
    };
    for merge in ["", " ", "ab", "a ", " b", "a b c", "a  b"] {
        assert_problem!(vocabulary_refusal(&with(merge)), Problem::Merge { index: 1, .. });
    }
    assert_eq!(vocabulary(&with("ab a")).merges, ["a b", "ab a"]);
}

#[test]
fn only_byte_level_bpe_needs_merges() {
    let with = |model: &str| {
        let file = GgufFile::new().text("tokenizer.ggml.model", model);
        file.texts(TOKENS, &["a", "b", "ab"])
            .integers(TYPES, &[1, 1, 3])
            .unsigned(EOS, 2)
    };
    assert_problem!(vocabulary_refusal(&with("gpt2")), Problem::MissingKey { .. });
    assert!(vocabulary(&with("llama")).merges.is_empty());
}
