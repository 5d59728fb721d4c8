//! Graphics cards by name, so that a machine can be planned before it is bought or rented.
//!
//! Memory, bandwidth and the 8-bit rates are the makers' datasheets' (dense, at boost clock, not the "sparse" figures).
//! What is attainable of them is assumed, alike for every card, from what is known of the T4.

use super::device::{DeviceKind, DeviceSpec};
use super::facts::{DeviceFacts, Link, Rates, Speeds};
use crate::device::card::CardStatus;

/// A known card.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Card {
    /// What people type.
    pub name: &'static str,
    /// Bytes of memory that programs see.
    pub memory: u64,
    /// Bytes read in a second.
    pub read_bytes_per_s: f64,
    /// Operations on 8-bit integers in a second with tensor cores, or with what the card has instead.
    pub int8_ops_per_s: f64,
    /// The same with the plain cores' dot product of four, which few columns are multiplied with.
    pub dot_ops_per_s: f64,
    /// Bytes in a second between the card and the machine's memory.
    pub link_bytes_per_s: f64,
}

/// Taken by a CUDA context.
const CONTEXT_BYTES: u64 = 350_000_000;
/// Taken by the buffers of a step.
const BUFFER_BYTES: u64 = 550_000_000;

/// Of the bandwidth: 240 of the T4's 320 GB/s.
const READ_SHARE: f64 = 0.75;
/// Of the tensor cores: 24 of the T4's 130 TOP/s, which 70 W allow.
const PREFILL_SHARE: f64 = 24.0 / 130.0;
/// Of the plain cores: 9.5 ms for one column of the 32 billion weights of a 32b on a T4, bound by conversions.
const DOT_SHARE: f64 = 0.207;

const fn card(name: &'static str, memory_gb: f64, read_gb: f64, int8_tera: f64, dot_tera: f64, link_gb: f64) -> Card {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole megabytes of the table below"
    )]
    let memory = (memory_gb * 1000.0) as u64 * 1_000_000;
    Card {
        name,
        memory,
        read_bytes_per_s: read_gb * 1e9,
        int8_ops_per_s: int8_tera * 1e12,
        dot_ops_per_s: dot_tera * 1e12,
        link_bytes_per_s: link_gb * 1e9,
    }
}

/// All of them. Memory in GB less what ECC and the driver keep; GB/s; TOP/s with tensor cores and without; half of the
/// link's nominal GB/s, which is assumed.
#[rustfmt::skip] // A table reads by rows.
pub const CARDS: [Card; 15] = [
    //    name          memory   GB/s     int8    dot   link
    card("p40",          24.0,   346.0,   47.0,  47.0,   8.0),
    card("v100",         16.9,   900.0,  125.0,  62.8,   8.0), // Its tensor cores know f16 only.
    card("v100-32g",     34.0,   900.0,  125.0,  62.8,   8.0),
    card("t4",           15.64,  320.0,  130.0,  32.6,   8.0),
    card("rtx2080ti",    11.5,   616.0,  215.2,  53.8,   8.0),
    card("rtx3090",      25.3,   936.0,  284.0,  71.2,  16.0),
    card("rtx4090",      25.2,  1008.0,  660.6, 165.2,  16.0),
    card("l4",           23.6,   300.0,  242.0,  60.6,  16.0),
    card("a10",          23.6,   600.0,  250.0,  62.5,  16.0),
    card("a10g",         23.6,   600.0,  140.0,  70.0,  16.0),
    card("l40s",         47.7,   864.0,  733.0, 183.2,  16.0),
    card("a100-40g",     42.0,  1555.0,  624.0,  78.0,  16.0),
    card("a100-80g",     84.9,  2039.0,  624.0,  78.0,  16.0),
    card("h100",         84.9,  3350.0, 1979.0, 133.8,  32.0),
    card("h200",        150.0,  4800.0, 1979.0, 133.8,  32.0),
];

impl Card {
    /// The card of that name; letters' case, spaces and dashes do not matter.
    pub fn named(name: &str) -> Option<&'static Card> {
        let plain = |name: &str| name.to_lowercase().replace([' ', '-', '_'], "");
        let name = plain(name);
        let name = name.strip_prefix("nvidia").unwrap_or(&name);
        let name = match name {
            "a100" | "a100sxm" => "a10080g",
            "2080ti" => "rtx2080ti",
            "3090" => "rtx3090",
            "4090" => "rtx4090",
            other => other,
        };
        CARDS.iter().find(|card| plain(card.name) == name)
    }

    /// A machine's card with this index, of which at most `memory_max` bytes may be used.
    pub fn facts(&self, index: usize, memory_max: Option<u64>) -> DeviceFacts {
        let reserved = CONTEXT_BYTES + BUFFER_BYTES;
        let memory = memory_max.map_or(self.memory, |limit| limit.min(self.memory));
        DeviceFacts {
            name: self.name.to_owned(),
            spec: DeviceSpec {
                kind: DeviceKind::Cuda(index),
                memory_max,
            },
            memory: Some(memory.saturating_sub(reserved)),
            reserved,
            speeds: Some(Speeds {
                ideal: Rates {
                    read_bytes_per_s: self.read_bytes_per_s,
                    decode_ops_per_s: f64::INFINITY,
                    prefill_ops_per_s: self.int8_ops_per_s,
                },
                attainable: Rates {
                    read_bytes_per_s: READ_SHARE * self.read_bytes_per_s,
                    decode_ops_per_s: DOT_SHARE * self.dot_ops_per_s,
                    prefill_ops_per_s: PREFILL_SHARE * self.int8_ops_per_s,
                },
            }),
            link: Link {
                bytes_per_s: self.link_bytes_per_s,
                ..Link::PCIE_3
            },
        }
    }
}

impl Card {
    /// The card that a driver calls so: `Tesla T4`, `NVIDIA A100-SXM4-40GB`.
    fn of_driver(name: &str, memory: u64) -> Option<&'static Card> {
        let words: Vec<String> = name.to_lowercase().split([' ', '-']).map(str::to_owned).collect();
        let is_named = |card: &&Card| {
            let model = card.name.split('-').next().unwrap_or(card.name);
            let model = model.strip_prefix("rtx").unwrap_or(model);
            let joined: String = words.concat();
            words.iter().any(|word| word == model) || (model.ends_with("ti") && joined.contains(model))
        };
        // Of one model with several sizes, the nearest.
        CARDS
            .iter()
            .filter(is_named)
            .min_by_key(|card| card.memory.abs_diff(memory))
    }
}

impl DeviceFacts {
    /// A card of this machine: what is free of its memory, and the speed that is known of its model.
    pub fn card(status: &CardStatus, spec: DeviceSpec) -> DeviceFacts {
        let known = Card::of_driver(&status.name, status.memory_bytes);
        let known = known.map(|card| card.facts(status.index, None));
        let free = status.free_bytes.unwrap_or(status.memory_bytes);
        let memory = spec.memory_max.map_or(free, |limit| limit.min(free));
        DeviceFacts {
            name: spec.to_string(),
            spec,
            memory: Some(memory.saturating_sub(BUFFER_BYTES)),
            reserved: BUFFER_BYTES,
            speeds: known.as_ref().and_then(|facts| facts.speeds),
            link: known.map_or(Link::PCIE_3, |facts| facts.link),
        }
    }

    /// A device of which nothing is known, so that nothing is refused: opening it will say more.
    pub fn unknown(spec: DeviceSpec) -> DeviceFacts {
        DeviceFacts {
            name: spec.to_string(),
            spec,
            memory: None,
            reserved: 0,
            speeds: None,
            link: Link::PCIE_3,
        }
    }

    /// A machine that cards are planned for and of which nothing is known: memory for whatever is left over, read with
    /// 50 GB/s, and half a TOP/s of 8-bit products. All assumed.
    pub fn some_host() -> DeviceFacts {
        DeviceFacts::cpu(DeviceSpec::CPU, None).with_ceiling(HOST_READ / 0.8, HOST_OPS / 0.45)
    }
}

/// What a server's processor reads in a second.
const HOST_READ: f64 = 50e9;
/// What it multiplies in a second.
const HOST_OPS: f64 = 0.5e12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_found_however_people_write_them() {
        for (name, expected) in [
            ("T4", "t4"),
            ("RTX 3090", "rtx3090"),
            ("3090", "rtx3090"),
            ("a100", "a100-80g"),
            ("A100-40G", "a100-40g"),
            ("nvidia h100", "h100"),
        ] {
            assert_eq!(Card::named(name).unwrap().name, expected);
        }
        for name in ["", "t5", "cpu", "cuda:0"] {
            assert!(Card::named(name).is_none(), "{name}");
        }
        for card in &CARDS {
            assert_eq!(Card::named(card.name), Some(card));
        }
    }

    #[test]
    fn a_t4_has_14_74_gb_for_weights_and_caches_and_a_limit_lowers_it() {
        let t4 = Card::named("t4").unwrap();
        assert_eq!(t4.facts(0, None).memory, Some(14_740_000_000));
        assert_eq!(t4.facts(0, Some(10_000_000_000)).memory, Some(9_100_000_000));
        assert_eq!(t4.facts(0, Some(1)).memory, Some(0));
        assert_eq!(t4.facts(0, Some(u64::MAX)).memory, Some(14_740_000_000));
    }

    #[test]
    fn no_card_attains_more_than_its_datasheet_says() {
        for card in &CARDS {
            let speeds = card.facts(0, None).speeds.unwrap();
            let (ideal, attainable) = (speeds.ideal, speeds.attainable);
            assert!(attainable.read_bytes_per_s < ideal.read_bytes_per_s, "{}", card.name);
            assert!(attainable.prefill_ops_per_s < ideal.prefill_ops_per_s, "{}", card.name);
            assert!(card.dot_ops_per_s <= card.int8_ops_per_s, "{}", card.name);
        }
    }
}
