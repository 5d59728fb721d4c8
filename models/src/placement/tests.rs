//! Where placements stop: one byte too few, one device too many, numbers as large as they get.

use kernels::KvFormat;
use library::Gguf;

use super::reference::{cards, costs, wish};
use super::*;
use crate::{Config, tiny};

pub(super) const GIB: u64 = 1 << 30;

pub(super) fn tiny_costs() -> Costs {
    let gguf = Gguf::from_static(tiny::GGUF, "tiny").unwrap();
    Costs::of(&gguf, &Config::from_gguf(&gguf).unwrap())
}

/// Processors: `cpu`, `cpu@8G`, with so many bytes free on the machine.
pub(super) fn cpus(names: &str, free: u64) -> Vec<DeviceFacts> {
    let parse = |name: &str| DeviceFacts::cpu(name.parse().unwrap(), Some(free));
    names.split(',').map(parse).collect()
}

pub(super) fn with_memory(devices: &[DeviceFacts], memory: u64) -> Vec<DeviceFacts> {
    let change = |facts: &DeviceFacts| DeviceFacts {
        memory: Some(memory),
        ..facts.clone()
    };
    devices.iter().map(change).collect()
}

fn laid(placement: Placement, costs: &Costs, devices: &[DeviceFacts], wish: &Wish) -> Result<Plan, PlacementError> {
    let plan = place(placement, costs, devices, &DeviceFacts::some_host(), wish)?;
    check_whole(costs, &plan);
    Ok(plan)
}

/// Every part of every layer lies somewhere, once, and no memory holds more than it has.
fn check_whole(costs: &Costs, plan: &Plan) {
    let layout = &plan.layout;
    for layer in 0..costs.layers() {
        let holders = layout.shares.iter().filter(|share| share.layers.contains(&layer));
        let parts: Vec<usize> = holders.map(|share| share.part).collect();
        match layout.placement {
            Placement::Replicas => assert_eq!(parts.len(), layout.engines),
            Placement::Tensor => assert!(parts.into_iter().eq(0..layout.engines)),
            Placement::Pipeline | Placement::Offload => assert_eq!(parts, [0]),
        }
    }
    let mut shares: Vec<usize> = plan.held.iter().flat_map(|held| held.shares.clone()).collect();
    shares.sort_unstable();
    assert!(shares.into_iter().eq(0..layout.shares.len()));
    for held in &plan.held {
        assert!(
            held.memory.is_none_or(|memory| held.weights + held.kv <= memory),
            "{held:?}"
        );
    }
}

#[test]
fn memory_for_one_conversation_in_each_engine_is_enough_and_one_byte_less_is_not() {
    let costs = costs();
    for placement in [Placement::Replicas, Placement::Pipeline, Placement::Tensor] {
        for kv in KvFormat::ALL {
            let least = Wish { slots: 1, ..wish(kv) };
            let plenty = laid(placement, &costs, &cards("h200", 2), &least).unwrap();
            let needed = plenty.held.iter().map(|held| held.weights + held.kv).max().unwrap();
            let exact = laid(placement, &costs, &with_memory(&cards("t4", 2), needed), &least).unwrap();
            assert_eq!(exact.layout.kv_tokens, 2048);
            let error = laid(placement, &costs, &with_memory(&cards("t4", 2), needed - 1), &least).unwrap_err();
            let said = error.to_string();
            for part in [
                placement.name(),
                "t4",
                "quantisation",
                "--kv q8_0",
                "`context`",
                "2048 tokens",
            ] {
                assert!(said.contains(part), "{part} is not in: {said}");
            }
        }
    }
}

#[test]
fn a_size_of_cache_that_was_asked_for_is_taken_or_refused_never_changed() {
    let asked = |tokens| Wish {
        kv_tokens: Some(tokens),
        ..wish(KvFormat::F16)
    };
    let (costs, t4) = (costs(), cards("t4", 2));
    let plan = laid(Placement::Tensor, &costs, &t4, &asked(4095)).unwrap();
    assert_eq!(plan.layout.kv_tokens, 4096);
    assert!(laid(Placement::Tensor, &costs, &t4, &asked(40_000)).is_err());
    // What this machine calls free is a guess, and who asks may know better.
    let cpu = cpus("cpu", 0);
    let plan = place(Placement::Replicas, &costs, &cpu, &cpu[0], &asked(1024)).unwrap();
    assert_eq!(plan.layout.kv_tokens, 1024);
}

#[test]
fn more_devices_than_layers_or_heads_are_refused_and_as_many_are_not() {
    let (costs, wish) = (costs(), wish(KvFormat::F16));
    let most = laid(Placement::Pipeline, &costs, &cards("h200", 64), &wish).unwrap();
    assert!(most.layout.shares.iter().all(|share| share.layers.len() == 1));
    assert_eq!(
        laid(Placement::Pipeline, &costs, &cards("h200", 65), &wish),
        Err(PlacementError::Layers {
            devices: 65,
            layers: 64
        })
    );
    laid(Placement::Tensor, &costs, &cards("h200", 8), &wish).unwrap();
    let error = laid(Placement::Tensor, &costs, &cards("h200", 9), &wish).unwrap_err();
    assert_eq!(
        error,
        PlacementError::Heads {
            devices: 9,
            kv_heads: 8
        }
    );
    assert!(error.to_string().contains("at most 8 `devices`"), "{error}");
    for placement in Placement::ALL {
        assert_eq!(laid(placement, &costs, &[], &wish), Err(PlacementError::NoDevice));
    }
    let mut narrow = costs;
    narrow.config.hidden = 16;
    let error = laid(Placement::Tensor, &narrow, &cards("h200", 2), &wish).unwrap_err();
    assert_eq!(
        error,
        PlacementError::Rows {
            devices: 2,
            rows: 16,
            most: 1
        }
    );
}

#[test]
fn heads_that_do_not_divide_are_shared_unevenly() {
    let plan = laid(Placement::Tensor, &costs(), &cards("t4", 3), &wish(KvFormat::F16)).unwrap();
    let tokens: Vec<u64> = plan.held.iter().map(|held| held.kv_per_token).collect();
    assert_eq!(tokens[0] * 3, tokens[1] * 2, "2, 3 and 3 heads");
    assert_eq!(tokens[1], tokens[2]);
}

#[test]
fn processors_without_a_limit_share_one_copy_and_half_of_what_it_leaves() {
    let costs = tiny_costs();
    let small = Wish {
        context_tokens: 64,
        slots: 4,
        ..wish(KvFormat::F16)
    };
    let all = costs.step().bytes + costs.embedding_bytes;
    for placement in Placement::ALL {
        let plan = laid(placement, &costs, &cpus("cpu,cpu", GIB), &small).unwrap();
        let [machine] = &plan.held[..] else {
            panic!("{placement}: {:?}", plan.held);
        };
        // Shared rows: norms and biases are on both sides.
        assert!(
            (all..all + all / 50).contains(&machine.weights),
            "{placement}: {}",
            machine.weights
        );
        assert_eq!(
            machine.kv_per_token,
            2 * costs.config.kv_bytes_per_token(KvFormat::F16),
            "{placement}"
        );
        assert_eq!(plan.layout.engines, 2);
        assert_eq!(plan.layout.kv_tokens, 4 * 64, "{placement}");
    }
    let tight = all + 2 * 2 * 64 * costs.config.kv_bytes_per_token(KvFormat::F16);
    let plan = laid(Placement::Replicas, &costs, &cpus("cpu,cpu", tight), &small).unwrap();
    assert_eq!(plan.layout.kv_tokens, 64);
    assert!(laid(Placement::Replicas, &costs, &cpus("cpu,cpu", tight - 1), &small).is_err());
}

#[test]
fn an_embedding_table_that_is_the_output_matrix_too_lies_once_on_the_machine_and_on_a_card() {
    let gguf = Gguf::from_static(tiny::GGUF, "tiny").unwrap();
    let untied = tiny_costs();
    let tensors: Vec<_> = gguf
        .tensors()
        .iter()
        .filter(|tensor| tensor.name != "output.weight")
        .cloned()
        .collect();
    let tied = Costs::of_tensors(&tensors, &untied.config);
    let layers = untied.step().bytes - untied.output_part(0, 1).bytes;
    let small = Wish {
        context_tokens: 64,
        ..wish(KvFormat::F16)
    };
    for placement in [Placement::Replicas, Placement::Pipeline, Placement::Offload] {
        for devices in [cpus("cpu,cpu", GIB), cards("t4", 1)] {
            let plan = laid(placement, &tied, &devices, &small).unwrap();
            let weights: u64 = plan.held.iter().map(|held| held.weights).sum();
            assert_eq!(
                weights,
                layers + tied.embedding_bytes,
                "{placement} on {}",
                devices[0].name
            );
        }
    }
}

#[test]
fn a_limited_processor_is_a_device_of_its_own_with_its_own_copy() {
    let (costs, wish) = (tiny_costs(), wish(KvFormat::F16));
    let plan = laid(Placement::Replicas, &costs, &cpus("cpu@1G,cpu@1G", 8 * GIB), &wish).unwrap();
    assert_eq!(plan.held.len(), 2);
    for held in &plan.held {
        assert_eq!((held.weights, held.memory), (costs.step().bytes, Some(GIB)));
        assert!(!plan.is_card(held));
    }
    // No more than the machine has, whatever the limit says.
    assert_eq!(cpus("cpu@8G", GIB)[0].memory, Some(GIB));
}

#[test]
fn offload_fills_devices_in_order_and_one_byte_less_moves_a_layer_to_the_processor() {
    let (costs, host) = (tiny_costs(), cpus("cpu", GIB).remove(0));
    let wish = Wish {
        slots: 1,
        context_tokens: 64,
        ..wish(KvFormat::F16)
    };
    let layers = costs.layers();
    let layer = |engines: u64| {
        let kv = 64 * engines * costs.kv_bytes_per_layer(KvFormat::F16, 0, 1);
        costs.layer(0).bytes + kv
    };
    for (memory, expected) in [
        (layer(1) - 1, vec![("cpu", 0..layers)]),
        (layer(1), vec![("cpu@8G", 0..1), ("cpu", 1..layers)]),
        (GIB, vec![("cpu@8G", 0..layers)]),
    ] {
        let small = with_memory(&cpus("cpu@8G", GIB), memory);
        let plan = place(Placement::Offload, &costs, &small, &host, &wish).unwrap();
        let names = plan.devices.iter().map(|facts| facts.name.as_str());
        let found: Vec<_> = names
            .zip(plan.layout.shares.iter().map(|share| share.layers.clone()))
            .collect();
        assert_eq!(found, expected, "{memory}");
        assert_eq!(plan.layout.engines, 1);
    }
    let two = with_memory(&cpus("cpu@8G,cpu@8G", GIB), layer(2));
    let plan = place(Placement::Offload, &costs, &two, &host, &wish).unwrap();
    let found: Vec<_> = plan.layout.shares.iter().map(|share| share.layers.clone()).collect();
    assert_eq!(found, [0..1, 1..2, 2..layers]);
    assert_eq!(plan.layout.engines, 2);
}

#[test]
fn a_processor_named_last_takes_the_rest_itself() {
    let (costs, wish) = (
        tiny_costs(),
        Wish {
            context_tokens: 64,
            ..wish(KvFormat::F16)
        },
    );
    let devices = cpus("cpu@8G,cpu", GIB);
    let small = [
        with_memory(&devices[..1], 2 * costs.layer(0).bytes),
        devices[1..].to_vec(),
    ]
    .concat();
    let plan = place(Placement::Offload, &costs, &small, &devices[1], &wish).unwrap();
    assert_eq!(plan.layout.shares.len(), 2);
    assert_eq!(plan.layout.shares[1].device, DeviceSpec::CPU);
    assert_eq!(plan.layout.shares[1].layers.end, costs.layers());
}

#[test]
fn one_card_named_twice_has_one_memory() {
    let t4 = Card::named("t4").unwrap();
    let both = [t4.facts(0, None), t4.facts(0, None)];
    let error = laid(Placement::Tensor, &costs(), &both, &wish(KvFormat::F16)).unwrap_err();
    assert_eq!(error.in_short(), "needs 20.49 GB on t4, t4, 14.74 GB there");
    let plan = laid(Placement::Pipeline, &tiny_costs(), &both, &wish(KvFormat::F16)).unwrap();
    assert_eq!(plan.held.len(), 1);
    let plan = laid(Placement::Offload, &costs(), &both, &wish(KvFormat::F16)).unwrap();
    assert!(plan.layout.shares.iter().any(|share| share.device == DeviceSpec::CPU));
    let cards: Vec<bool> = plan.held.iter().map(|held| plan.is_card(held)).collect();
    assert_eq!(cards, [true, false]);
}

#[test]
fn numbers_as_large_as_they_get_are_refused_and_nothing_overflows() {
    let costs = costs();
    let huge = Wish {
        kv: KvFormat::F16,
        context_tokens: usize::MAX,
        slots: usize::MAX,
        kv_tokens: None,
    };
    let asked = Wish {
        kv_tokens: Some(usize::MAX),
        ..huge
    };
    for wish in [huge, asked] {
        for memory in [0, 1, u64::MAX] {
            for placement in Placement::ALL {
                for count in [1, 2, 8] {
                    let devices = with_memory(&cards("t4", count), memory);
                    let host = with_memory(&cpus("cpu", 0), memory).remove(0);
                    let placed = place(placement, &costs, &devices, &host, &wish);
                    let chosen = choose(None, &costs, &devices, &host, &wish);
                    // The machine's memory may be overruled, a card's may not.
                    if wish == huge || placement != Placement::Offload {
                        assert!(placed.is_err(), "{placement} on {count} of {memory}");
                    }
                    if wish == huge {
                        assert!(chosen.is_err(), "{count} of {memory}");
                    }
                }
            }
        }
    }
}

#[test]
fn one_processor_is_no_faster_however_often_it_is_named() {
    let costs = tiny_costs();
    let known = |names: &str| -> Vec<DeviceFacts> {
        let devices = cpus(names, GIB).into_iter();
        devices.map(|facts| facts.with_ceiling(25e9, 400e9)).collect()
    };
    let wish = Wish {
        context_tokens: 64,
        ..wish(KvFormat::F16)
    };
    let load = Load::usual(KvFormat::F16);
    let estimate = |placement, names| {
        let plan = place(placement, &costs, &known(names), &known("cpu")[0], &wish).unwrap();
        speed(&costs, &plan, &load).unwrap()
    };
    let alone = estimate(Placement::Replicas, "cpu");
    for placement in Placement::ALL {
        let two = estimate(placement, "cpu,cpu");
        for streams in Speed::STREAMS {
            let (one, two) = (alone.at(streams).unwrap(), two.at(streams).unwrap());
            assert!(two.ideal <= 1.001 * one.ideal, "{placement}, {streams} streams");
        }
        assert!(
            two.first_token_s.ideal >= 0.99 * alone.first_token_s.ideal,
            "{placement}"
        );
    }
}

#[test]
fn a_device_of_unknown_speed_gives_no_estimate() {
    let costs = tiny_costs();
    let plan = laid(Placement::Replicas, &costs, &cpus("cpu", GIB), &wish(KvFormat::F16)).unwrap();
    assert_eq!(speed(&costs, &plan, &Load::usual(KvFormat::F16)), None);
}
