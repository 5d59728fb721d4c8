//! Which device holds which part of a model, and which engines there are: pure arithmetic, nothing is opened or loaded.

mod auto;
mod cards;
mod costs;
mod deal;
mod device;
mod error;
mod facts;
mod parts;
mod plan;
#[cfg(test)]
mod reference;
mod speed;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

pub use auto::{Choice, choose};
pub use cards::{CARDS, Card};
pub use costs::{Cost, Costs};
pub use device::{DeviceError, DeviceKind, DeviceSpec};
pub use error::{Bytes, PlacementError, Shortage};
pub use facts::{DeviceFacts, Link, Rates, Speeds};
pub use parts::{TILE_ROWS, heads_of, rows_of};
pub use plan::{Held, Plan, Wish, place};
pub use speed::{Estimate, Load, Speed, speed};

/// How a model lies on several devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Placement {
    /// Every device holds the whole model: an engine is a device.
    Replicas,
    /// The layers are dealt to the devices: an engine is a lane through all of them, and while one lane is on the first
    /// device, another is on the second.
    Pipeline,
    /// Every matrix is dealt to the devices by rows: they compute each step together, for all engines at once.
    Tensor,
    /// As many layers as fit on the devices, in their order; the rest on the CPU.
    Offload,
}

impl Placement {
    /// Every placement.
    pub const ALL: [Placement; 4] = [
        Placement::Replicas,
        Placement::Pipeline,
        Placement::Tensor,
        Placement::Offload,
    ];

    /// The name that settings use.
    pub fn name(self) -> &'static str {
        match self {
            Placement::Replicas => "replicas",
            Placement::Pipeline => "pipeline",
            Placement::Tensor => "tensor",
            Placement::Offload => "offload",
        }
    }

    /// The placement of that name.
    pub fn from_name(name: &str) -> Option<Placement> {
        Placement::ALL.into_iter().find(|placement| placement.name() == name)
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What one device holds: these layers, and of each of their matrices one part of `parts`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Share {
    /// Where it lies.
    pub device: DeviceSpec,
    /// Layers, of `0..config.layers`. The device of the last one holds the output matrix too.
    pub layers: Range<usize>,
    /// Which part of the matrices' rows, below `parts`.
    pub part: usize,
    /// Devices that share the matrices; 1 but for [`Placement::Tensor`].
    pub parts: usize,
}

/// A model on its devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The kind of placement.
    pub placement: Placement,
    /// In the order in which a step walks through them; with [`Placement::Offload`] the CPU may be added at the end.
    pub shares: Vec<Share>,
    /// Engines: one for each device that was named.
    pub engines: usize,
    /// Tokens in one engine's KV cache, a multiple of the block.
    pub kv_tokens: usize,
}
