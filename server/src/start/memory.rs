//! How much memory weights and caches get on the devices of this machine.

use models::{DeviceFacts, DeviceSpec};

use super::model::Opened;
use crate::config::{Config, ConfigError};
use crate::plan::{self, Decision, Machine};

/// The sizes the engines are started with.
pub(super) type Plan = Decision;

/// Decides on placement, context and KV cache for `opened` on this machine.
///
/// # Errors
/// A context that the model or a memory cannot hold; a placement that is not possible.
pub(super) fn plan(config: &Config, opened: &Opened) -> Result<Plan, ConfigError> {
    let machine = Machine::look(&config.devices);
    let facts = |spec: &DeviceSpec| {
        machine.facts(*spec).unwrap_or_else(|error| {
            // Its engine will fail, with the reason; the others shall serve.
            tracing::warn!(%error, "a device could not be looked at: its engine will say more");
            DeviceFacts::unknown(*spec)
        })
    };
    let devices: Vec<_> = config.devices.iter().map(facts).collect();
    plan::decide(config, &opened.costs(), &devices, &machine.host())
}
