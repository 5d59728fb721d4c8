//! The fuzzer's seeds, run once each on every build.

use std::path::Path;

use crate::testing::{check_promises, seeds};

#[test]
fn every_seed_of_the_fuzzer_is_answered() {
    let accepted = seeds()
        .into_iter()
        .filter(|(_, bytes)| check_promises(bytes.clone()))
        .map(|(name, _)| name);
    let expected = [
        "small_model",
        "version_2",
        "every_value",
        "every_kind",
        "vocabulary_alone",
        "nothing",
    ];
    assert_eq!(accepted.collect::<Vec<_>>(), expected);
}

#[test]
fn the_corpus_holds_the_seeds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/gguf");
    for (name, bytes) in seeds() {
        let kept = std::fs::read(corpus.join(name)).unwrap_or_default();
        assert!(
            kept == bytes,
            "{name} differs: run `cargo run -p library --features testing --example fuzz_seeds`"
        );
    }
}
