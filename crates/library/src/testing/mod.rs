//! For tests, here and by the feature `testing` in other rooms: a writer of small GGUF files, right ones and wrong ones,
//! the promises of the reader as a check, and the fuzzer's seeds.

mod file;
mod promises;
mod seeds;

pub use file::GgufFile;
pub use promises::check_promises;
pub use seeds::{seeds, small_model};
