//! Architectures, weights and their placement; the KV pool.
