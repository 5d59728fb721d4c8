//! Writes the fuzzer's seeds to `fuzz/corpus/gguf`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/gguf");
    std::fs::create_dir_all(&corpus)?;
    for (name, bytes) in library::testing::seeds() {
        std::fs::write(corpus.join(name), bytes)?;
    }
    Ok(())
}
