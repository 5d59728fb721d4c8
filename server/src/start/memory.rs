//! How much memory weights and caches get on the devices of this machine.

use models::DeviceSpec;

use super::model::Opened;
use crate::config::{Config, ConfigError};
use crate::plan::{self, Decision, machine};

/// The sizes the engines are started with.
pub(super) type Plan = Decision;

/// Decides on placement, context and KV cache for `opened` on this machine.
///
/// # Errors
/// A device that this build cannot use; a context that the model or a memory cannot hold; a placement that is not possible.
pub(super) fn plan(config: &Config, opened: &Opened) -> Result<Plan, ConfigError> {
    let free = machine::free_memory();
    let devices = config.devices.iter().map(|spec| machine::facts(*spec, free));
    let devices: Vec<_> = devices.collect::<Result<_, _>>()?;
    let host = machine::facts(DeviceSpec::CPU, free)?;
    plan::decide(config, &opened.costs(), &devices, &host)
}
