//! Any bytes as a GGUF file: the reader must answer, and what it accepts must be there.
//!
//! From `crates/library`: `cargo +nightly fuzz run gguf`. The corpus begins with the seeds of `library::testing`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    library::testing::check_promises(bytes.to_vec());
});
