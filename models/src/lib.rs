//! Architectures and weights: a checked GGUF file becomes an [`engine::LanguageModel`].
//!
//! One decoder serves every dense model of the DeepSeek-R1 family: qwen2, llama and qwen3, told apart by the file's
//! metadata. [`Config`] says what the file is or why it is refused, [`Weights`] holds its tensors once for the whole
//! process, [`CpuModel`] runs them with a KV pool of its own.

mod config;
mod cpu;
mod error;
pub mod limits;
mod load;
mod placement;
mod tensors;
pub mod tiny;
mod weights;
mod work;

pub use config::{Architecture, Config, Rope};
pub use cpu::CpuModel;
pub use error::ModelsError;
pub use kernels::{KvFormat, Simd, ceiling};
pub use placement::{
    Bytes, CARDS, Card, Choice, Cost, Costs, DeviceError, DeviceFacts, DeviceKind, DeviceSpec, Estimate, Held, Layout,
    Link, Load, Placement, PlacementError, Plan, Rates, Share, Shortage, Speed, Speeds, TILE_ROWS, Wish, choose,
    heads_of, place, rows_of, speed,
};
pub use weights::Weights;
pub use work::{Matrices, Work};
