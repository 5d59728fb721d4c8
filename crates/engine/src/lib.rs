//! Who runs, and what is next: round robin, batches, KV blocks, sampling.
