//! How much memory weights and caches get on the devices of this machine.

use std::sync::Arc;

use models::{DeviceFacts, DeviceKind, DeviceSpec, Held, Placement};

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
    let beside = plans(beside);
    let on_cpu = |plan: &&models::Plan| held_on(plan, DeviceKind::Cpu).map(|held| held.kv).sum::<u64>();
    let caches = beside.iter().map(on_cpu).sum();
    // Their weights are in memory already; their caches may not have been touched yet.
    let machine = Machine::look(&config.devices).without(caches);
    decide(config, opened, &machine, |index| {
        beside.iter().map(|plan| own(plan, &config.devices, index)).sum()
    })
}

/// The same as if all that is loaded had left: what is impossible then is impossible.
///
/// # Errors
/// As [`plan()`].
pub(super) fn plan_alone(config: &Config, opened: &Opened, beside: &[Arc<Served>]) -> Result<Plan, ConfigError> {
    let mut kinds: Vec<DeviceKind> = vec![DeviceKind::Cpu];
    for spec in &config.devices {
        if !kinds.contains(&spec.kind) {
            kinds.push(spec.kind);
        }
    }
    let mut machine = Machine::look(&config.devices);
    for plan in plans(beside) {
        for kind in &kinds {
            let held = held_on(plan, *kind);
            machine = machine.with(*kind, held.map(|held| bytes(held).saturating_add(held.reserved)).sum());
        }
    }
    decide(config, opened, &machine, |_| 0)
}

/// Whether nobody asked for it that the processor computes what the devices cannot hold.
pub(super) fn spills(config: &Config, plan: &Plan) -> bool {
    config.placement.is_none() && plan.choice.plan.layout.placement == Placement::Offload
}

/// Decides where of the limited device at an index so many bytes are `taken`.
fn decide(
    config: &Config,
    opened: &Opened,
    machine: &Machine,
    taken: impl Fn(usize) -> u64,
) -> Result<Plan, ConfigError> {
    let facts = |(index, spec): (usize, &DeviceSpec)| {
        let left = DeviceSpec {
            memory_max: spec.memory_max.map(|limit| limit.saturating_sub(taken(index))),
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
    let devices: Vec<_> = config.devices.iter().enumerate().map(facts).collect();
    plan::decide(config, &opened.costs(), &devices, &machine.host())
}

fn plans(beside: &[Arc<Served>]) -> Vec<&models::Plan> {
    beside.iter().filter_map(|served| served.plan.as_ref()).collect()
}

fn bytes(held: &Held) -> u64 {
    held.weights.saturating_add(held.kv)
}

/// What a loaded model has on devices of this kind.
fn held_on(plan: &models::Plan, kind: DeviceKind) -> impl Iterator<Item = &Held> {
    plan.held.iter().filter(move |held| {
        let device = held.shares.first().and_then(|share| plan.devices.get(*share));
        device.is_some_and(|device| device.spec.kind == kind)
    })
}

/// Bytes that a loaded model has in the part of a memory that the device at `index` may use, which it shares with no
/// other. Devices of the same name are told apart by their order, which all models have from the same setting.
fn own(plan: &models::Plan, devices: &[DeviceSpec], index: usize) -> u64 {
    let Some(spec) = devices.get(index) else { return 0 };
    let earlier = devices.iter().take(index).filter(|other| *other == spec).count();
    let mut shares = plan.devices.iter().enumerate().filter(|(_, facts)| facts.spec == *spec);
    let Some((share, _)) = shares.nth(earlier) else {
        return 0;
    };
    let held = plan.held.iter().filter(|held| held.shares.contains(&share));
    held.map(bytes).sum()
}

#[cfg(test)]
mod tests {
    use models::{Layout, Share};

    use super::*;

    /// A model that has a replica of so many bytes of weights on each of the devices, and a cache of 1 byte.
    fn replicas(weights: &[(&str, u64)]) -> models::Plan {
        let specs: Vec<DeviceSpec> = weights.iter().map(|(name, _)| name.parse().unwrap()).collect();
        let share = |spec: &DeviceSpec| Share {
            device: *spec,
            layers: 0..1,
            part: 0,
            parts: 1,
        };
        let held = |(index, (_, weights)): (usize, &(&str, u64))| Held {
            shares: vec![index],
            is_machine: false,
            memory: None,
            reserved: 0,
            weights: *weights,
            kv: 1,
            kv_per_token: 1,
        };
        models::Plan {
            layout: Layout {
                placement: Placement::Replicas,
                shares: specs.iter().map(share).collect(),
                engines: specs.len(),
                kv_tokens: 1,
            },
            devices: specs.iter().map(|spec| DeviceFacts::unknown(*spec)).collect(),
            held: weights.iter().enumerate().map(held).collect(),
            room_tokens: 1,
        }
    }

    #[test]
    fn each_limited_device_is_charged_with_its_own_share_alone() {
        let names = ["cpu@4G", "cpu@4G", "cpu@2G", "cuda:0@4G"];
        let devices = names.map(|name| name.parse::<DeviceSpec>().unwrap());
        let loaded = replicas(&[("cpu@4G", 10), ("cpu@4G", 20), ("cpu@2G", 30), ("cuda:0@4G", 40)]);
        let taken = [0, 1, 2, 3, 4].map(|index| own(&loaded, &devices, index));
        assert_eq!(taken, [11, 21, 31, 41, 0]);
        assert_eq!(held_on(&loaded, DeviceKind::Cpu).map(bytes).sum::<u64>(), 63);
    }
}
