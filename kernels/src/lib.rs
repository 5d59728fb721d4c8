//! One folder per operation: the door, the scalar truth, the fast twins. The only unsafe room.
//!
//! A door (`mod.rs`) checks every shape, then picks the fastest twin that this machine runs. `scalar.rs` defines the
//! answer. Every result depends on its own row only: never on the rows beside it, the number of threads or the
//! instruction set, so that a request gets the same answer whatever its company. Sums of f32 therefore run over a
//! fixed number of lanes ([`math`]) and never through a fused multiply-add.
//!
//! Work is spread over the team of threads that the caller runs in ([`Threads::run`]); outside of one it stays on the
//! caller's thread.

mod activations;
pub mod add;
pub mod attention;
pub mod ceiling;
#[cfg(any(feature = "cuda", feature = "cuda-emulator"))]
pub mod cuda;
pub mod embedding;
mod error;
mod format;
pub mod kv_write;
pub mod math;
pub mod matmul;
mod matrix;
mod parallel;
pub mod rms_norm;
pub mod rope;
mod simd;
mod storage;
pub mod swiglu;
mod threads;

pub use activations::Activations;
pub use error::KernelError;
pub use format::Format;
pub use kv_write::{BLOCK_TOKENS, KvFormat, KvLayer, KvShape};
pub use matrix::{PackedMatrix, Part};
pub use simd::Simd;
pub use threads::Threads;

#[cfg(all(feature = "cuda", feature = "cuda-emulator"))]
compile_error!("the features `cuda` and `cuda-emulator` exclude each other: one is a card, the other its stand-in");

#[cfg(target_endian = "big")]
compile_error!("weights are little-endian in the file and used in place: big-endian machines are not supported");
