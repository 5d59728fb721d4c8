//! A plan as data: what `--json` prints and the page is made of.

use models::{Choice, Costs, DeviceFacts, Load, Placement, PlacementError, Wish};
use serde::Serialize;

use super::Decision;
use super::decide::{other, wish};
use crate::config::{Config, ConfigError};

/// The plan of one model on some devices. Fields are added, never renamed; sizes are in bytes, times in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Report {
    /// The version of this program.
    pub(super) tandem_version: &'static str,
    pub(super) model: Model,
    /// The devices as named, in order: an engine is one of them or runs through all of them.
    pub(super) devices: Vec<String>,
    /// The placement chosen: `replicas`, `pipeline`, `tensor` or `offload`.
    pub(super) placement: &'static str,
    /// Why it was chosen.
    pub(super) reason: String,
    pub(super) engines: usize,
    /// Conversations that one engine computes at once.
    pub(super) slots: usize,
    /// Most tokens of one conversation.
    pub(super) context_tokens: usize,
    /// How the caches store keys and values: `f16` or `q8_0`.
    pub(super) kv: &'static str,
    /// Tokens in one engine's cache, as it would be started.
    pub(super) kv_tokens_per_engine: usize,
    /// Tokens that there is room for in one engine's cache, by format.
    pub(super) kv_room: Vec<Room>,
    /// What lies in each memory.
    pub(super) memory: Vec<Memory>,
    /// Which device holds what, in the order in which a step walks through them.
    pub(super) shares: Vec<Share>,
    /// What the estimates below are for.
    pub(super) load: Conditions,
    /// Every placement on these devices, possible or not.
    pub(super) placements: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Model {
    pub(super) name: String,
    pub(super) architecture: &'static str,
    pub(super) quantisation: String,
    pub(super) parameters: u64,
    pub(super) file_bytes: u64,
    pub(super) layers: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Room {
    pub(super) kv: &'static str,
    /// None: the placement is not possible with this format.
    pub(super) tokens_per_engine: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Memory {
    /// The devices whose memory it is; processors without a limit share this machine's.
    pub(super) devices: String,
    /// Which of the shares lie in it, by their index in `shares`.
    pub(super) shares: Vec<usize>,
    pub(super) weight_bytes: u64,
    pub(super) kv_bytes: u64,
    /// Kept back for the device's own context and the buffers of a step.
    pub(super) buffer_bytes: u64,
    /// None: nobody knows how much there is.
    pub(super) free_bytes: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Share {
    pub(super) device: String,
    /// The first of its layers.
    pub(super) layer_index: usize,
    /// How many.
    pub(super) layers: usize,
    /// Which part of each matrix.
    pub(super) part_index: usize,
    /// Of how many.
    pub(super) parts: usize,
}

/// The circumstances of the estimates.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Conditions {
    /// Tokens in each stream's cache.
    pub(super) stream_tokens: usize,
    /// Tokens of the prompt whose first token is waited for.
    pub(super) prompt_tokens: usize,
}

/// One placement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) placement: &'static str,
    /// Why it is not possible; none: it is.
    pub(super) refusal: Option<String>,
    /// Tokens of all streams together in a second; empty where it is not possible or a device's speed is unknown.
    pub(super) tokens_per_s: Vec<Rate>,
    /// Seconds to the first token of a prompt, while nothing else runs.
    pub(super) first_token_s: Option<Estimate>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Rate {
    pub(super) streams: usize,
    /// By the devices' limits.
    pub(super) ideal: f64,
    /// By the share of them that a good program reaches.
    pub(super) attainable: f64,
    /// Whether the caches and slots hold so many streams at once.
    pub(super) has_room: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Estimate {
    pub(super) ideal: f64,
    pub(super) attainable: f64,
}

impl Report {
    /// Everything that is worked out beside the decision itself.
    ///
    /// # Errors
    /// As [`super::decide()`].
    pub(super) fn new(
        model: Model,
        config: &Config,
        costs: &Costs,
        devices: &[DeviceFacts],
        host: &DeviceFacts,
        decision: &Decision,
    ) -> Result<Report, ConfigError> {
        let wish = wish(config, costs)?;
        let Choice { plan, reason } = &decision.choice;
        let layout = &plan.layout;
        let placed = |placement, wish: &Wish| models::place(placement, costs, devices, host, wish);
        let room = |kv| Room {
            kv: models::KvFormat::name(kv),
            tokens_per_engine: placed(layout.placement, &Wish { kv, ..wish })
                .ok()
                .map(|plan| plan.room_tokens),
        };
        let load = decision.load;
        let row = |placement: Placement| match placed(placement, &wish) {
            Ok(plan) => Row::new(
                placement,
                models::speed(costs, &plan, &load),
                layout.engines * config.slots,
            ),
            Err(error) => Row::refused(placement, &error),
        };
        let mut formats = [config.kv, other(config.kv)];
        formats.sort_unstable_by_key(|kv| kv.name());
        Ok(Report {
            tandem_version: env!("CARGO_PKG_VERSION"),
            model,
            devices: devices.iter().map(|facts| facts.name.clone()).collect(),
            placement: layout.placement.name(),
            reason: reason.clone(),
            engines: layout.engines,
            slots: config.slots,
            context_tokens: decision.context,
            kv: config.kv.name(),
            kv_tokens_per_engine: decision.kv_tokens,
            kv_room: formats.map(room).to_vec(),
            memory: memories(plan),
            shares: shares(plan),
            load: Conditions {
                stream_tokens: load.stream_tokens,
                prompt_tokens: load.prompt_tokens,
            },
            placements: Placement::ALL.map(row).to_vec(),
        })
    }

    /// One JSON object.
    pub(super) fn json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

fn memories(plan: &models::Plan) -> Vec<Memory> {
    let memory = |held: &models::Held| Memory {
        devices: plan.names(held),
        shares: held.shares.clone(),
        weight_bytes: held.weights,
        kv_bytes: held.kv,
        buffer_bytes: held.reserved,
        free_bytes: held.free(),
    };
    plan.held.iter().map(memory).collect()
}

fn shares(plan: &models::Plan) -> Vec<Share> {
    let pairs = plan.devices.iter().zip(&plan.layout.shares);
    let share = |(facts, share): (&DeviceFacts, &models::Share)| Share {
        device: facts.name.clone(),
        layer_index: share.layers.start,
        layers: share.layers.len(),
        part_index: share.part,
        parts: share.parts,
    };
    pairs.map(share).collect()
}

impl Row {
    fn new(placement: Placement, speed: Option<models::Speed>, slots: usize) -> Row {
        let rates = speed.iter().flat_map(|speed| {
            let rate = |(streams, rate): &(usize, models::Estimate)| Rate {
                streams: *streams,
                ideal: rate.ideal,
                attainable: rate.attainable,
                has_room: *streams <= speed.streams_max.min(slots),
            };
            speed.tokens_per_s.iter().map(rate)
        });
        Row {
            placement: placement.name(),
            refusal: None,
            tokens_per_s: rates.collect(),
            first_token_s: speed.as_ref().map(|speed| Estimate {
                ideal: speed.first_token_s.ideal,
                attainable: speed.first_token_s.attainable,
            }),
        }
    }

    fn refused(placement: Placement, error: &PlacementError) -> Row {
        Row {
            placement: placement.name(),
            refusal: Some(error.in_short()),
            tokens_per_s: Vec::new(),
            first_token_s: None,
        }
    }
}

/// The usual load, no longer than a conversation may be.
pub(super) fn load(config: &Config, context: usize) -> Load {
    let usual = Load::usual(config.kv);
    Load {
        stream_tokens: usual.stream_tokens.min(context),
        prompt_tokens: usual.prompt_tokens.min(context),
        ..usual
    }
}

#[cfg(test)]
pub(super) mod tests {
    use models::Card;

    use super::super::decide;
    use super::*;
    use crate::config::{Said, split};

    /// The embedded model on these cards.
    pub(in crate::plan) fn example(
        cards: &str,
        flags: &[(&'static str, &str)],
    ) -> (Config, Costs, Vec<DeviceFacts>, DeviceFacts) {
        let cards = split(cards);
        let mut said = Said {
            flags: vec![("devices", vec!["cpu"; cards.len()].join(","))],
            ..Said::default()
        };
        said.flags
            .extend(flags.iter().map(|(key, text)| (*key, (*text).to_owned())));
        let gguf = library::Gguf::from_static(models::tiny::GGUF, "tiny").unwrap();
        let costs = Costs::of(&gguf, &models::Config::from_gguf(&gguf).unwrap());
        let facts = cards.iter().enumerate();
        let facts = facts.map(|(index, name)| Card::named(name).unwrap().facts(index, None));
        (
            Config::resolve(&said).unwrap(),
            costs,
            facts.collect(),
            DeviceFacts::some_host(),
        )
    }

    pub(in crate::plan) fn decision(
        config: &Config,
        costs: &Costs,
        devices: &[DeviceFacts],
        host: &DeviceFacts,
    ) -> Decision {
        decide(config, costs, devices, host).unwrap()
    }

    pub(in crate::plan) fn report(cards: &str, flags: &[(&'static str, &str)]) -> Report {
        let (config, costs, devices, host) = example(cards, flags);
        let decision = decision(&config, &costs, &devices, &host);
        let model = Model {
            name: "tandem-tiny".to_owned(),
            architecture: "qwen2",
            quantisation: "Q4_K_M".to_owned(),
            parameters: 2_600_000,
            file_bytes: 1_729_824,
            layers: costs.layers(),
        };
        Report::new(model, &config, &costs, &devices, &host, &decision).unwrap()
    }

    #[test]
    fn every_placement_has_a_row_with_figures_or_a_reason() {
        let report = report("t4,t4,t4", &[]);
        assert_eq!(report.placements.len(), 4);
        for row in &report.placements {
            assert_eq!(row.refusal.is_none(), row.tokens_per_s.len() == 5, "{row:?}");
        }
        let tensor = report.placements.iter().find(|row| row.placement == "tensor").unwrap();
        assert_eq!(tensor.refusal.as_deref(), Some("only 2 key and value heads"));
    }

    #[test]
    fn streams_that_slots_or_caches_do_not_hold_are_marked() {
        let rooms = |flags: &[(&'static str, &str)]| {
            let report = report("t4", flags);
            let rates = report.placements[0].tokens_per_s.iter();
            rates.filter(|rate| rate.has_room).map(|rate| rate.streams).max()
        };
        assert_eq!(rooms(&[("slots", "16")]), Some(16));
        assert_eq!(rooms(&[]), Some(8));
        assert_eq!(rooms(&[("slots", "2")]), Some(2));
        assert_eq!(rooms(&[("kv_tokens", "1024"), ("context", "256")]), Some(4));
    }
}
