//! How fast a layout is by arithmetic: the roofline of its devices, as if nothing else took time.
//!
//! A step reads each matrix once for all its columns, or multiplies them, whichever takes longer; then each stream's
//! cache. Attention's own products and sampling are left out.

use kernels::KvFormat;

use super::costs::Costs;
use super::device::DeviceKind;
use super::facts::{DeviceFacts, Link, Rates};
use super::plan::{Plan, kv_of, weight_of};
use super::{Placement, Share};

/// What the devices are to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// How the caches store keys and values.
    pub kv: KvFormat,
    /// Tokens in each stream's cache.
    pub stream_tokens: usize,
    /// Tokens of the prompt whose first token is waited for.
    pub prompt_tokens: usize,
    /// Pieces that a prompt is cut into, so that one device reads a piece while the next one reads the piece before.
    pub prompt_pieces: usize,
    /// How often all devices of [`Placement::Tensor`] meet in a layer.
    pub meetings_per_layer: usize,
    /// Bytes of one token that each of them hands over in a layer, all meetings together; none: what ours do.
    pub exchanged_bytes_per_layer: Option<u64>,
}

impl Load {
    /// Caches of 2,048 tokens, a prompt of 1,000 in four pieces.
    pub fn usual(kv: KvFormat) -> Load {
        Load {
            kv,
            stream_tokens: 2048,
            prompt_tokens: 1000,
            prompt_pieces: 4,
            meetings_per_layer: 4,
            exchanged_bytes_per_layer: None,
        }
    }
}

/// A figure at the limit and one that a good program reaches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// By the devices' limits.
    pub ideal: f64,
    /// By what is reached of them.
    pub attainable: f64,
}

/// What a layout is expected to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Speed {
    /// Streams, and the tokens that all of them together get in a second.
    pub tokens_per_s: Vec<(usize, Estimate)>,
    /// Seconds from a prompt to its first token, while nothing else runs.
    pub first_token_s: Estimate,
    /// Streams that the caches hold at once.
    pub streams_max: usize,
}

impl Speed {
    /// Streams that are estimated.
    pub const STREAMS: [usize; 5] = [1, 2, 4, 8, 16];

    /// The estimate for so many streams.
    pub fn at(&self, streams: usize) -> Option<Estimate> {
        let (_, estimate) = self.tokens_per_s.iter().find(|(count, _)| *count == streams)?;
        Some(*estimate)
    }
}

/// Estimates `plan`; none where a device's speed is unknown.
pub fn speed(costs: &Costs, plan: &Plan, load: &Load) -> Option<Speed> {
    let ideal = Model::new(costs, plan, load, |facts| facts.speeds.map(|speeds| speeds.ideal))?;
    let attainable = Model::new(costs, plan, load, |facts| facts.speeds.map(|speeds| speeds.attainable))?;
    let both = |of: &dyn Fn(&Model<'_>) -> f64| Estimate {
        ideal: of(&ideal),
        attainable: of(&attainable),
    };
    let streams = Speed::STREAMS.map(|streams| (streams, both(&|model| model.tokens_per_s(streams))));
    let per_engine = plan.layout.kv_tokens / load.stream_tokens.max(1);
    Some(Speed {
        tokens_per_s: streams.to_vec(),
        first_token_s: both(&|model| model.first_token_s()),
        streams_max: per_engine.saturating_mul(plan.layout.engines),
    })
}

/// One share's work and how fast its device does it.
struct Stage {
    processor: DeviceKind,
    rates: Rates,
    link: Link,
    weight_bytes: f64,
    kv_bytes_per_stream: f64,
    /// Of the layers' matrices.
    layer_elements: f64,
    output_elements: f64,
    output_bytes: f64,
}

struct Model<'a> {
    placement: Placement,
    engines: usize,
    stages: Vec<Stage>,
    layers: f64,
    /// Bytes of one token between two stages.
    hidden_bytes: f64,
    exchanged_bytes: f64,
    load: &'a Load,
}

impl<'a> Model<'a> {
    fn new(
        costs: &Costs,
        plan: &Plan,
        load: &'a Load,
        rates: impl Fn(&DeviceFacts) -> Option<Rates>,
    ) -> Option<Model<'a>> {
        let pairs = plan.devices.iter().zip(&plan.layout.shares);
        let stages = pairs
            .map(|(facts, share)| Some(Stage::new(costs, facts, share, rates(facts)?, load)))
            .collect::<Option<_>>()?;
        let exchanged = load
            .exchanged_bytes_per_layer
            .unwrap_or_else(|| handed(costs.exchanged_bytes_per_layer(), plan.layout.shares.len()));
        Some(Model {
            placement: plan.layout.placement,
            engines: plan.layout.engines,
            stages,
            layers: costs.layers() as f64,
            hidden_bytes: 4.0 * costs.config.hidden as f64,
            exchanged_bytes: exchanged as f64,
            load,
        })
    }

    /// All streams together.
    fn tokens_per_s(&self, streams: usize) -> f64 {
        let lanes = streams.min(self.engines).max(1);
        let columns = streams as f64 / lanes as f64;
        match self.placement {
            Placement::Replicas => {
                let busy = &self.stages[..lanes.min(self.stages.len())];
                let rate = |stage: &Stage| {
                    // Engines on one processor take turns.
                    let sharers = busy.iter().filter(|other| other.processor == stage.processor).count();
                    columns / stage.decode_s(columns) / sharers.max(1) as f64
                };
                busy.iter().map(rate).sum()
            }
            Placement::Pipeline | Placement::Offload => {
                let times: Vec<f64> = self.stages.iter().map(|stage| stage.decode_s(columns)).collect();
                let once = times.iter().sum::<f64>() + self.hand_over_s(columns);
                streams as f64 / once.max(lanes as f64 * self.busiest(&times))
            }
            Placement::Tensor => {
                let columns = streams as f64;
                let times: Vec<f64> = self.stages.iter().map(|stage| stage.decode_s(columns)).collect();
                columns / (self.busiest(&times) + self.exchange_s(columns))
            }
        }
    }

    fn first_token_s(&self) -> f64 {
        let tokens = self.load.prompt_tokens as f64;
        let times: Vec<f64> = self.stages.iter().map(|stage| stage.prefill_s(tokens)).collect();
        match self.placement {
            Placement::Replicas => times.into_iter().fold(f64::INFINITY, f64::min),
            Placement::Pipeline | Placement::Offload => {
                let pieces = self.load.prompt_pieces.max(1) as f64;
                // The first piece walks through all devices, each other one follows when the slowest device is free.
                let first = times.iter().sum::<f64>() / pieces;
                first + (pieces - 1.0) * self.busiest(&times) / pieces + self.hand_over_s(tokens)
            }
            Placement::Tensor => self.busiest(&times) + self.exchange_s(tokens),
        }
    }

    /// The time of the processor that has most to do, where `times` are the stages'.
    fn busiest(&self, times: &[f64]) -> f64 {
        let of = |processor: DeviceKind| {
            let pairs = self.stages.iter().zip(times);
            let own = pairs.filter(|(stage, _)| stage.processor == processor);
            own.map(|(_, time)| time).sum::<f64>()
        };
        self.stages.iter().map(|stage| of(stage.processor)).fold(0.0, f64::max)
    }

    /// From each stage to the next.
    fn hand_over_s(&self, columns: f64) -> f64 {
        let pairs = self.stages.windows(2);
        let times = pairs.map(|pair| match pair {
            [a, b] => a.link.slower(b.link).seconds(columns * self.hidden_bytes),
            _ => 0.0,
        });
        times.sum()
    }

    /// All meetings of a step.
    fn exchange_s(&self, columns: f64) -> f64 {
        let links = self.stages.iter().map(|stage| stage.link);
        let Some(link) = links.reduce(Link::slower).filter(|_| self.stages.len() > 1) else {
            return 0.0;
        };
        let meetings = self.layers * self.load.meetings_per_layer as f64;
        meetings * link.latency_s + self.layers * columns * self.exchanged_bytes / link.bytes_per_s.max(1.0)
    }
}

/// Bytes that one of so many devices lays out and picks up: its own part, then whole rows.
fn handed(bytes: u64, devices: usize) -> u64 {
    bytes + bytes / (devices as u64).max(1)
}

impl Stage {
    fn new(costs: &Costs, facts: &DeviceFacts, share: &Share, rates: Rates, load: &Load) -> Stage {
        let whole = weight_of(costs, share);
        let has_output = share.layers.end == costs.layers();
        let output = costs.output_part(share.part, share.parts);
        let output_elements = if has_output { output.elements } else { 0 };
        Stage {
            processor: facts.spec.kind,
            rates,
            link: facts.link,
            weight_bytes: whole.bytes as f64,
            kv_bytes_per_stream: kv_of(costs, share, load.kv) as f64 * load.stream_tokens as f64,
            layer_elements: whole.elements.saturating_sub(output_elements) as f64,
            output_elements: output_elements as f64,
            output_bytes: if has_output { output.bytes as f64 } else { 0.0 },
        }
    }

    /// One token for each of `columns` streams.
    fn decode_s(&self, columns: f64) -> f64 {
        let read = self.weight_bytes / self.rates.read_bytes_per_s;
        let multiply = 2.0 * columns * (self.layer_elements + self.output_elements) / self.rates.decode_ops_per_s;
        read.max(multiply) + columns * self.kv_bytes_per_stream / self.rates.read_bytes_per_s
    }

    /// A prompt, of which one token alone meets the output matrix.
    fn prefill_s(&self, tokens: f64) -> f64 {
        let read = (self.weight_bytes - self.output_bytes) / self.rates.read_bytes_per_s;
        let multiply = 2.0 * tokens * self.layer_elements / self.rates.prefill_ops_per_s;
        read.max(multiply) + self.output_bytes / self.rates.read_bytes_per_s
    }
}
