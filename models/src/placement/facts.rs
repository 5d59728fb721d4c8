//! What is known of a device before anything is opened on it: its memory, its speed, its link to the others.

use super::device::{DeviceKind, DeviceSpec};

/// How fast a device does the three things that inference is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Bytes of weights and cache that it reads in a second.
    pub read_bytes_per_s: f64,
    /// Operations on 8-bit integers in a second while a step has few columns: a multiplication and its addition are two.
    pub decode_ops_per_s: f64,
    /// The same while it reads a prompt.
    pub prefill_ops_per_s: f64,
}

/// The speed of a device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speeds {
    /// By its datasheet, or by measuring nothing but the limit: no program is faster.
    pub ideal: Rates,
    /// What a good program reaches.
    pub attainable: Rates,
}

/// A device's way to the others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// From the end of one device's work to the begin of the other's with an empty message, in seconds.
    pub latency_s: f64,
    /// Bytes in a second, in each direction.
    pub bytes_per_s: f64,
}

impl Link {
    /// PCI Express 3 with 16 lanes over the machine's own memory. Both figures are assumed.
    pub const PCIE_3: Link = Link {
        latency_s: 20e-6,
        bytes_per_s: 8e9,
    };

    /// Between threads of one processor. Both figures are assumed.
    pub const MEMORY: Link = Link {
        latency_s: 5e-6,
        bytes_per_s: 10e9,
    };

    pub(super) fn slower(self, other: Link) -> Link {
        Link {
            latency_s: self.latency_s.max(other.latency_s),
            bytes_per_s: self.bytes_per_s.min(other.bytes_per_s),
        }
    }

    pub(super) fn seconds(self, bytes: f64) -> f64 {
        self.latency_s + bytes / self.bytes_per_s.max(1.0)
    }
}

/// One device, as planned with.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceFacts {
    /// What people call it: `t4`, `cpu`, `cuda:0`.
    pub name: String,
    /// Which it is, and the limit it was given.
    pub spec: DeviceSpec,
    /// Bytes that weights and caches may take, what the device needs for itself taken off; none: unknown, so nothing is
    /// refused. Of a processor without a limit it is the machine's free memory, which all such devices share.
    pub memory: Option<u64>,
    /// Bytes of it that were taken off for the device's own context and a step's buffers.
    pub reserved: u64,
    /// None: nobody has measured it.
    pub speeds: Option<Speeds>,
    /// Its way to the others.
    pub link: Link,
}

/// Whose memory it is: devices with the same one share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pool {
    /// What this machine has, for every processor without a limit.
    Machine,
    /// A graphics card's.
    Card(usize),
    /// The part of it that one device may use.
    Limited(usize),
}

impl DeviceFacts {
    /// This machine's processor, of which only free memory (none: unknown) and limit are known.
    pub fn cpu(spec: DeviceSpec, free: Option<u64>) -> DeviceFacts {
        let memory = match (spec.memory_max, free) {
            (Some(limit), Some(free)) => Some(limit.min(free)),
            (limit, free) => limit.or(free),
        };
        DeviceFacts {
            name: spec.to_string(),
            spec,
            memory,
            reserved: 0,
            speeds: None,
            link: Link::MEMORY,
        }
    }

    /// The same with its limits measured: bytes read and operations on 8-bit integers in a second, all cores together.
    pub fn with_ceiling(self, read_bytes_per_s: f64, int8_ops_per_s: f64) -> DeviceFacts {
        let rates = |read: f64, ops: f64| Rates {
            read_bytes_per_s: read * read_bytes_per_s,
            decode_ops_per_s: ops * int8_ops_per_s,
            prefill_ops_per_s: ops * int8_ops_per_s,
        };
        DeviceFacts {
            speeds: Some(Speeds {
                ideal: rates(1.0, 1.0),
                attainable: rates(CPU_READ_SHARE, CPU_OPS_SHARE),
            }),
            ..self
        }
    }

    /// Whether only the processor's cores and memory are behind it.
    pub(super) fn is_cpu(&self) -> bool {
        self.spec.kind == DeviceKind::Cpu
    }

    /// The memory of the device at `index` of the list.
    pub(super) fn pool(&self, index: usize) -> Pool {
        match (self.spec.memory_max, self.spec.kind) {
            (Some(_), _) => Pool::Limited(index),
            (None, DeviceKind::Cpu) => Pool::Machine,
            (None, DeviceKind::Cuda(card)) => Pool::Card(card),
        }
    }
}

/// Share of the read limit that decoding one stream reaches on a processor: 64 to 91 % were measured.
const CPU_READ_SHARE: f64 = 0.8;
/// Share of the multiply limit that prompts and batches reach on a processor: 41 to 52 % were measured.
const CPU_OPS_SHARE: f64 = 0.45;
