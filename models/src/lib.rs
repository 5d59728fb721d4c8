//! Architectures and weights: a checked GGUF file becomes an [`engine::LanguageModel`].
//!
//! One decoder serves every dense model of the DeepSeek-R1 family: qwen2, llama and qwen3, told apart by the file's
//! metadata. [`Config`] says what the file is or why it is refused, [`Weights`] holds its tensors once for the whole
//! process, [`CpuModel`] runs them with a KV pool of its own. [`Model`] runs one on the devices of a [`Layout`].

mod batch;
mod config;
mod cpu;
mod decoder;
mod device;
mod error;
pub mod limits;
mod load;
mod model;
mod placement;
mod run;
mod slice;
mod tensors;
pub mod tiny;
mod weights;
mod work;

pub use config::{Architecture, Config, Rope};
pub use cpu::CpuModel;
pub use device::card::{CardStatus, cards};
pub use error::ModelsError;
pub use kernels::{KvFormat, Simd, ceiling};
pub use model::{Model, Options};
pub use placement::{
    Bytes, CARDS, Card, Choice, Cost, Costs, DeviceError, DeviceFacts, DeviceKind, DeviceSpec, Estimate, Held, Layout,
    Link, Load, Placement, PlacementError, Plan, Rates, Share, Shortage, Speed, Speeds, TILE_ROWS, Wish, choose,
    heads_of, place, rows_of, speed,
};
pub use run::{DeviceStatus, DevicesStatus};
pub use weights::Weights;
pub use work::Work;
