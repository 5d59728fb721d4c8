//! How much memory weights and caches get on the devices of this machine.

use std::sync::Arc;

use models::{DeviceFacts, DeviceKind, DeviceSpec};

use super::model::Opened;
use crate::config::{Config, ConfigError};
use crate::plan::{self, Decision, Machine};
use crate::roster::Served;

/// The sizes the engines are started with.
pub(super) type Plan = Decision;

/// Decides on placement, context and KV cache for `opened` on this machine, beside what is loaded already.
///
/// # Errors
/// A context that the model or a memory cannot hold; a placement that is not possible.
pub(super) fn plan(config: &Config, opened: &Opened, beside: &[Arc<Served>]) -> Result<Plan, ConfigError> {
    let beside: Vec<&models::Plan> = beside.iter().filter_map(|served| served.plan.as_ref()).collect();
    let caches = beside.iter().map(|plan| taken(plan, DeviceKind::Cpu).kv).sum();
    // Their weights are in memory already; their caches may not have been touched yet.
    let machine = Machine::look(&config.devices).without(caches);
    let facts = |spec: &DeviceSpec| {
        let taken: u64 = beside
            .iter()
            .map(|plan| taken(plan, spec.kind))
            .map(|taken| taken.weights + taken.kv)
            .sum();
        let left = DeviceSpec {
            memory_max: spec.memory_max.map(|limit| limit.saturating_sub(taken)),
            ..*spec
        };
        let facts = machine.facts(left).map(|facts| DeviceFacts {
            spec: *spec,
            name: spec.to_string(),
            ..facts
        });
        facts.unwrap_or_else(|error| {
            // Its engine will fail, with the reason; the others shall serve.
            tracing::warn!(%error, "a device could not be looked at: its engine will say more");
            DeviceFacts::unknown(*spec)
        })
    };
    let devices: Vec<_> = config.devices.iter().map(facts).collect();
    plan::decide(config, &opened.costs(), &devices, &machine.host())
}

/// Bytes that a loaded model has on a device.
struct Taken {
    weights: u64,
    kv: u64,
}

fn taken(plan: &models::Plan, kind: DeviceKind) -> Taken {
    let is_there = |held: &&models::Held| {
        let device = held.shares.first().and_then(|share| plan.devices.get(*share));
        device.is_some_and(|device| device.spec.kind == kind)
    };
    let held: Vec<_> = plan.held.iter().filter(is_there).collect();
    Taken {
        weights: held.iter().map(|held| held.weights).sum(),
        kv: held.iter().map(|held| held.kv).sum(),
    }
}
