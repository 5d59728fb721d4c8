//! What a card refuses, and what to do about it.

use crate::KernelError;

/// Why something did not happen on a card.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GpuError {
    /// No driver on this machine.
    #[error("no CUDA driver was found: install NVIDIA's driver for CUDA 13 (580 or newer), or use the processor")]
    NoDriver,
    /// The driver does not know this program's CUDA.
    #[error("the CUDA driver supports CUDA {found}, this program needs {needed}: update NVIDIA's driver")]
    OldDriver {
        /// What it supports, as `12.4`.
        found: String,
        /// What is needed.
        needed: &'static str,
    },
    /// The driver is there and does not start.
    #[error("the CUDA driver does not start: {reason}")]
    BrokenDriver {
        /// The driver's words.
        reason: String,
    },
    /// No card of that number.
    #[error("there is no device cuda:{index}: the driver sees {count} of them, counted from 0")]
    NoDevice {
        /// The number asked for.
        index: usize,
        /// Cards there are.
        count: usize,
    },
    /// A card older than the kernels.
    #[error("{device} has compute capability {found}, at least 7.5 is needed: use the processor or a newer card")]
    OldCard {
        /// The card.
        device: String,
        /// Its compute capability.
        found: String,
    },
    /// The card's memory does not hold it.
    #[error(
        "no memory on {device} for {what}: {wanted} bytes wanted, {free} free: choose a smaller model, fewer KV blocks or \
         a shorter context, or end what else uses the card"
    )]
    NoMemory {
        /// The card.
        device: String,
        /// What was to be stored.
        what: String,
        /// Its bytes.
        wanted: usize,
        /// Bytes that were free.
        free: usize,
    },
    /// A kernel did not start.
    #[error("{device} cannot start {operation}: {reason}")]
    Launch {
        /// The card.
        device: String,
        /// The kernel.
        operation: String,
        /// The driver's words.
        reason: String,
    },
    /// Something failed while the card worked; what it holds is lost.
    #[error("{device} failed, {operation} was the last to start: {reason}: restart the program to use it again")]
    Failed {
        /// The card.
        device: String,
        /// The last kernel that was started.
        operation: String,
        /// The driver's words.
        reason: String,
    },
    /// Another call to the driver failed.
    #[error("{device} cannot {action}: {reason}")]
    Driver {
        /// The card.
        device: String,
        /// What was tried.
        action: &'static str,
        /// The driver's words.
        reason: String,
    },
    /// A mistake of the caller, found before anything was started.
    #[error(transparent)]
    Refused(#[from] KernelError),
}
