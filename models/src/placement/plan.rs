//! From costs, devices and wishes to a layout that fits, or the reason why none does.

use engine::BLOCK_TOKENS;
use kernels::KvFormat;

use super::costs::{Cost, Costs};
use super::deal::{Room, balanced, filled};
use super::device::DeviceKind;
use super::error::{PlacementError, Shortage};
use super::facts::{DeviceFacts, Pool};
use super::parts::TILE_ROWS;
use super::{Layout, Placement, Share};
use crate::limits::KV_BLOCKS_MAX;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// How the caches store keys and values.
    pub kv: KvFormat,
    /// Tokens of the longest conversation: every engine's cache holds one at least.
    pub context_tokens: usize,
    /// Conversations that one engine computes at once: its cache grows to so many of the longest.
    pub slots: usize,
    /// Tokens of one engine's cache, if that is not left to the memory.
    pub kv_tokens: Option<usize>,
}

impl Wish {
    /// Tokens that a cache has at least: one conversation in whole blocks, or what was asked for.
    pub fn least_tokens(&self) -> usize {
        let tokens = self.kv_tokens.unwrap_or(self.context_tokens).max(1);
        tokens.div_ceil(BLOCK_TOKENS).saturating_mul(BLOCK_TOKENS)
    }

    /// Tokens that a cache has at most.
    fn most_tokens(&self) -> usize {
        let slots = if self.kv_tokens.is_some() { 1 } else { self.slots.max(1) };
        self.least_tokens().saturating_mul(slots)
    }
}

/// What lies in one memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Which shares lie in it, by their index.
    pub shares: Vec<usize>,
    /// Whether it is this machine's memory, where the weights lie once for all and the embedding table beside them.
    pub is_machine: bool,
    /// Bytes that weights and caches may take; none: unknown.
    pub memory: Option<u64>,
    /// Bytes taken off before for the device's context and a step's buffers.
    pub reserved: u64,
    /// Bytes of weights.
    pub weights: u64,
    /// Bytes of the caches of all engines.
    pub kv: u64,
    /// Bytes that one token of one engine's cache takes, times the engines.
    pub kv_per_token: u64,
}

impl Held {
    /// Bytes left over; none where the memory is unknown.
    pub fn free(&self) -> Option<u64> {
        Some(self.memory?.saturating_sub(self.weights).saturating_sub(self.kv))
    }

    /// Tokens of one engine's cache that there is room for.
    fn room_tokens(&self) -> usize {
        let most = KV_BLOCKS_MAX.saturating_mul(BLOCK_TOKENS);
        let Some(memory) = self.memory else {
            return most;
        };
        let left = memory.saturating_sub(self.weights);
        // Half of this machine's memory is for everything else.
        let left = if self.is_machine { left / 2 } else { left };
        let tokens = left.checked_div(self.kv_per_token).unwrap_or(u64::MAX);
        usize::try_from(tokens).unwrap_or(most).min(most) / BLOCK_TOKENS * BLOCK_TOKENS
    }
}

/// A layout that fits, and what it takes where.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Which device holds what.
    pub layout: Layout,
    /// The devices of the layout's shares, in the same order.
    pub devices: Vec<DeviceFacts>,
    /// Every memory that something lies in.
    pub held: Vec<Held>,
    /// Tokens of one engine's cache that there would be room for; the layout takes no more than can be used.
    pub room_tokens: usize,
}

impl Plan {
    /// The names of the devices whose memory `held` is: `t4`, or `cpu, cpu`.
    pub fn names(&self, held: &Held) -> String {
        named(&self.devices, &held.shares)
    }

    /// Whether `held` is a card's memory, and not a part of this machine's.
    pub fn is_card(&self, held: &Held) -> bool {
        let devices = held.shares.iter().filter_map(|share| self.devices.get(*share));
        devices.into_iter().any(|facts| facts.spec.kind != DeviceKind::Cpu)
    }
}

/// Lays the model on `devices` in the one `placement`; `host` is the processor that takes what does not fit on them.
///
/// # Errors
/// The model cannot be shared among so many devices, or a memory is too small.
pub fn place(
    placement: Placement,
    costs: &Costs,
    devices: &[DeviceFacts],
    host: &DeviceFacts,
    wish: &Wish,
) -> Result<Plan, PlacementError> {
    if devices.is_empty() {
        return Err(PlacementError::NoDevice);
    }
    let dealt = match placement {
        Placement::Replicas => replicas(costs, devices),
        Placement::Pipeline => pipeline(costs, devices)?,
        Placement::Tensor => tensor(costs, devices)?,
        Placement::Offload => offload(costs, devices, host, wish),
    };
    let (devices_used, shares) = dealt.into_iter().unzip();
    let layout = Layout {
        placement,
        shares,
        engines: devices.len(),
        kv_tokens: wish.least_tokens(),
    };
    sized(costs, devices_used, layout, wish)
}

type Dealt = Vec<(DeviceFacts, Share)>;

fn replicas(costs: &Costs, devices: &[DeviceFacts]) -> Dealt {
    let whole = |facts: &DeviceFacts| (facts.clone(), share(facts, 0..costs.layers()));
    devices.iter().map(whole).collect()
}

fn pipeline(costs: &Costs, devices: &[DeviceFacts]) -> Result<Dealt, PlacementError> {
    if devices.len() > costs.layers() {
        return Err(PlacementError::Layers {
            devices: devices.len(),
            layers: costs.layers(),
        });
    }
    // Unlike memories fill evenly; where devices share one, nobody's is larger.
    let sizes: Option<Vec<u64>> = devices
        .iter()
        .enumerate()
        .map(|(index, facts)| facts.memory.filter(|_| sharers(devices, facts.pool(index)) == 1))
        .collect();
    let ranges = balanced(costs, &sizes.unwrap_or_else(|| vec![1; devices.len()]));
    let dealt = devices.iter().zip(ranges);
    Ok(dealt
        .map(|(facts, layers)| (facts.clone(), share(facts, layers)))
        .collect())
}

fn tensor(costs: &Costs, devices: &[DeviceFacts]) -> Result<Dealt, PlacementError> {
    let (config, parts) = (&costs.config, devices.len());
    if parts > config.kv_heads {
        return Err(PlacementError::Heads {
            devices: parts,
            kv_heads: config.kv_heads,
        });
    }
    let rows = config.hidden.min(config.ffn).min(config.vocabulary);
    let most = rows.div_ceil(TILE_ROWS);
    if parts > most {
        return Err(PlacementError::Rows {
            devices: parts,
            rows,
            most,
        });
    }
    let part = |(part, facts): (usize, &DeviceFacts)| {
        let share = Share {
            part,
            parts,
            ..share(facts, 0..costs.layers())
        };
        (facts.clone(), share)
    };
    Ok(devices.iter().enumerate().map(part).collect())
}

fn offload(costs: &Costs, devices: &[DeviceFacts], host: &DeviceFacts, wish: &Wish) -> Dealt {
    let kv_per_layer = costs.kv_bytes_per_layer(wish.kv, 0, 1);
    let tokens = wish.least_tokens().saturating_mul(devices.len()) as u64;
    let room = |(index, facts): (usize, &DeviceFacts)| {
        let pool = facts.pool(index);
        let bytes = match pool {
            // What does not fit there fits nowhere.
            Pool::Machine => None,
            Pool::Card(_) | Pool::Limited(_) => facts.memory.map(|memory| memory / sharers(devices, pool)),
        };
        Room {
            bytes,
            kv_bytes_per_layer: kv_per_layer.saturating_mul(tokens),
        }
    };
    let rooms: Vec<Room> = devices.iter().enumerate().map(room).collect();
    let (ranges, rest) = filled(costs, &rooms);
    let dealt = devices.iter().zip(ranges).chain([(host, rest..costs.layers())]);
    dealt
        .filter(|(_, layers)| !layers.is_empty())
        .map(|(facts, layers)| (facts.clone(), share(facts, layers)))
        .collect()
}

/// Whole matrices of these layers.
fn share(facts: &DeviceFacts, layers: std::ops::Range<usize>) -> Share {
    Share {
        device: facts.spec,
        layers,
        part: 0,
        parts: 1,
    }
}

/// How many of the devices have this memory, at least one.
fn sharers(devices: &[DeviceFacts], pool: Pool) -> u64 {
    let same = devices
        .iter()
        .enumerate()
        .filter(|(index, facts)| facts.pool(*index) == pool);
    (same.count() as u64).max(1)
}

/// What all layers and matrices of a share weigh.
pub(super) fn weight_of(costs: &Costs, share: &Share) -> Cost {
    let layers = share
        .layers
        .clone()
        .map(|layer| costs.layer_part(layer, share.part, share.parts));
    let output = match share.layers.end == costs.layers() {
        true => costs.output_part(share.part, share.parts),
        false => Cost::default(),
    };
    layers.fold(output, Cost::plus)
}

/// Bytes that one token of one engine's cache takes on a share's device.
pub(super) fn kv_of(costs: &Costs, share: &Share, kv: KvFormat) -> u64 {
    let layer = costs.kv_bytes_per_layer(kv, share.part, share.parts);
    layer.saturating_mul(share.layers.len() as u64)
}

/// What lies in each memory, the caches still empty.
fn memories(costs: &Costs, devices: &[DeviceFacts], layout: &Layout, kv: KvFormat) -> Vec<Held> {
    let mut memories: Vec<(Pool, Held)> = Vec::new();
    for (index, (facts, share)) in devices.iter().zip(&layout.shares).enumerate() {
        let pool = facts.pool(index);
        let is_machine = pool == Pool::Machine;
        let place = memories
            .iter()
            .position(|(other, _)| *other == pool)
            .unwrap_or_else(|| {
                let held = Held {
                    shares: Vec::new(),
                    is_machine,
                    memory: facts.memory,
                    reserved: facts.reserved,
                    weights: if is_machine { costs.embedding_bytes } else { 0 },
                    kv: 0,
                    kv_per_token: 0,
                };
                memories.push((pool, held));
                memories.len() - 1
            });
        let held = &mut memories[place].1;
        let mut weights = weight_of(costs, share).bytes;
        if is_machine && costs.is_tied && share.layers.end == costs.layers() {
            // The embedding table is there already.
            weights = weights.saturating_sub(costs.output_part(share.part, share.parts).bytes);
        }
        let is_copy = is_machine && layout.placement == Placement::Replicas && !held.shares.is_empty();
        if !is_copy {
            held.weights = held.weights.saturating_add(weights);
        }
        // With replicas an engine has its cache on its device alone, else on all of them.
        let engines = match layout.placement {
            Placement::Replicas => 1,
            Placement::Pipeline | Placement::Tensor | Placement::Offload => layout.engines as u64,
        };
        let token = kv_of(costs, share, kv).saturating_mul(engines);
        held.kv_per_token = held.kv_per_token.saturating_add(token);
        held.shares.push(index);
    }
    memories.into_iter().map(|(_, held)| held).collect()
}

/// Gives every engine as large a cache as it can use and all memories hold.
fn sized(costs: &Costs, devices: Vec<DeviceFacts>, mut layout: Layout, wish: &Wish) -> Result<Plan, PlacementError> {
    let mut held = memories(costs, &devices, &layout, wish.kv);
    let least = wish.least_tokens();
    // Who asks for a size of cache knows better than this machine's word on its free memory; a card's memory is a fact.
    let is_taken_at_its_word = |held: &Held| held.is_machine && wish.kv_tokens.is_some();
    let short = held
        .iter()
        .find(|held| held.room_tokens() < least && !is_taken_at_its_word(held));
    if let Some(held) = short {
        let kv = held.kv_per_token.saturating_mul(least as u64);
        let engines = match layout.placement {
            Placement::Replicas => held.shares.len(),
            Placement::Pipeline | Placement::Tensor | Placement::Offload => layout.engines,
        };
        return Err(PlacementError::Memory {
            placement: layout.placement,
            shortage: Box::new(Shortage {
                device: named(&devices, &held.shares),
                is_machine: held.is_machine,
                memory: held.memory.unwrap_or(0),
                weights: held.weights,
                kv,
                kv_per_engine: kv / (engines as u64).max(1),
                kv_tokens: least,
                engines,
            }),
        });
    }
    let room_tokens = held.iter().map(Held::room_tokens).min().unwrap_or(0);
    layout.kv_tokens = wish.most_tokens().min(room_tokens).max(least);
    for held in &mut held {
        held.kv = held.kv_per_token.saturating_mul(layout.kv_tokens as u64);
    }
    Ok(Plan {
        layout,
        devices,
        held,
        room_tokens,
    })
}

fn named(devices: &[DeviceFacts], shares: &[usize]) -> String {
    let names = shares.iter().filter_map(|share| devices.get(*share));
    names.map(|facts| facts.name.as_str()).collect::<Vec<_>>().join(", ")
}
