//! Why a model cannot lie on the devices as asked: what it needs, what is there, what to change.

use std::fmt;

use super::Placement;

/// A number of bytes as people say it: `14.74 GB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= 1_000_000_000 => write!(f, "{:.2} GB", bytes as f64 / 1e9),
            bytes if bytes >= 1_000_000 => write!(f, "{:.1} MB", bytes as f64 / 1e6),
            bytes => write!(f, "{:.1} kB", bytes as f64 / 1e3),
        }
    }
}

/// A memory that is too small, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// The device's name; several where they share the memory.
    pub device: String,
    /// Whether it is this machine's memory, of which the caches get half of what the weights leave.
    pub is_machine: bool,
    /// Bytes for weights and caches.
    pub memory: u64,
    /// Bytes of weights on it.
    pub weights: u64,
    /// Bytes that the caches of all engines take on it at least.
    pub kv: u64,
    /// Bytes that one engine's cache takes on it at least.
    pub kv_per_engine: u64,
    /// Tokens of that cache.
    pub kv_tokens: usize,
    /// Engines.
    pub engines: usize,
}

impl Shortage {
    /// Bytes that the caches of all engines may take.
    pub fn available(&self) -> u64 {
        let left = self.memory.saturating_sub(self.weights);
        if self.is_machine { left / 2 } else { left }
    }
}

/// Why a placement is not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// Nothing to run on.
    #[error("there is no device: name at least one in `devices`")]
    NoDevice,
    /// The layers do not suffice for one on each device.
    #[error("{devices} devices cannot share {layers} layers in pipeline: use at most {layers} `devices`")]
    Layers {
        /// Devices named.
        devices: usize,
        /// Layers of the model.
        layers: usize,
    },
    /// The heads do not suffice for one on each device.
    #[error(
        "{devices} devices cannot share {kv_heads} key and value heads in tensor: use at most {kv_heads} `devices`, or \
         another `placement`"
    )]
    Heads {
        /// Devices named.
        devices: usize,
        /// Key and value heads of the model.
        kv_heads: usize,
    },
    /// A matrix has too few rows for a tile on each device.
    #[error(
        "{devices} devices cannot share matrices of {rows} rows in tensor: use at most {most} `devices`, or another \
         `placement`"
    )]
    Rows {
        /// Devices named.
        devices: usize,
        /// Rows of the smallest matrix.
        rows: usize,
        /// Devices at most.
        most: usize,
    },
    /// A memory is too small.
    #[error(
        "{placement} needs {} on {} ({} of weights, {} of KV cache: {} tokens for each engine), {} are there for both: \
         use a smaller quantisation, --kv q8_0, a lower `context`, or more `devices`",
        Bytes(shortage.weights.saturating_add(shortage.kv)), shortage.device, Bytes(shortage.weights),
        Bytes(shortage.kv), shortage.kv_tokens, Bytes(shortage.memory)
    )]
    Memory {
        /// The placement.
        placement: Placement,
        /// Of which memory there is too little.
        shortage: Box<Shortage>,
    },
    /// No placement is possible.
    #[error(
        "the model does not fit: {}: use a smaller quantisation, --kv q8_0, a lower `context`, or more `devices`",
        listed(tried)
    )]
    Nothing {
        /// Each placement that was tried, and why it is not possible.
        tried: Vec<(Placement, PlacementError)>,
    },
}

impl PlacementError {
    /// The reason in a few words, for a table.
    pub fn in_short(&self) -> String {
        match self {
            PlacementError::NoDevice => "no device".to_owned(),
            PlacementError::Layers { layers, .. } => format!("only {layers} layers"),
            PlacementError::Heads { kv_heads, .. } => format!("only {kv_heads} key and value heads"),
            PlacementError::Rows { rows, .. } => format!("only {rows} rows in a matrix"),
            PlacementError::Memory { shortage, .. } => {
                let needed = Bytes(shortage.weights.saturating_add(shortage.kv));
                let there = Bytes(shortage.memory);
                format!("needs {needed} on {}, {there} there", shortage.device)
            }
            PlacementError::Nothing { .. } => "does not fit".to_owned(),
        }
    }
}

fn listed(tried: &[(Placement, PlacementError)]) -> String {
    let reasons: Vec<String> = tried
        .iter()
        .map(|(placement, error)| format!("{placement} {}", error.in_short()))
        .collect();
    reasons.join("; ")
}
