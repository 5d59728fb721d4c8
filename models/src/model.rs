//! A model on the devices of a layout: what they share is loaded once, the rest when an engine first needs it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use engine::{BLOCK_TOKENS, LanguageModel, ModelShape};
use kernels::{KvFormat, PackedMatrix, Threads};
use library::Gguf;

use crate::config::Config;
use crate::cpu::{shape, team};
use crate::decoder::{Caches, Decoder, Stage};
use crate::device::{Cpu, HostMemory, Sizes, card};
use crate::error::ModelsError;
use crate::limits::KV_BLOCKS_MAX;
use crate::placement::{DeviceKind, Layout, Placement, Share};
use crate::run::{DevicesStatus, Lane, Meeting, Member, Opening, Pipeline, Seat, Team, Teamed, Whole};
use crate::slice::Slice;
use crate::weights::{Meter, Shard, embedding, matrix_bytes};

/// What engines are built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Most tokens of one sequence.
    pub context_tokens: usize,
    /// How keys and values are stored.
    pub kv_format: KvFormat,
    /// Token rows of one engine's largest step; devices with memory of their own make room for it once.
    pub step_rows_max: usize,
    /// Sequences of one engine's largest step.
    pub sequences_max: usize,
}

/// A model file on its devices, from which engines are made.
pub struct Model {
    parts: Arc<Parts>,
    run: Run,
}

/// What every device's thread needs.
struct Parts {
    gguf: Gguf,
    config: Config,
    layout: Layout,
    options: Options,
    embedding: Arc<PackedMatrix>, // [vocabulary, hidden]
    /// The slices that lie in this machine's memory, each once however many devices run it.
    host: HashMap<Slice, Arc<Shard<HostMemory>>>,
    progress: Box<dyn Fn(u64) + Send + Sync>,
    loaded: AtomicU64,
}

/// How the engines' steps reach the devices.
enum Run {
    /// Each engine is a device.
    Alone,
    Lanes(Arc<Pipeline>),
    Together(Arc<Team>),
}

impl Model {
    /// Loads what lies in this machine's memory. Cards load their slices when [`Model::engine`] first opens them.
    ///
    /// `progress` is told the bytes read so far, from any thread, up to about [`Model::bytes_to_load`].
    ///
    /// # Errors
    /// As [`Config::from_gguf`]; the file cannot be read or the memory not be had.
    pub fn load(
        gguf: Gguf,
        layout: Layout,
        options: Options,
        progress: Box<dyn Fn(u64) + Send + Sync>,
    ) -> Result<Model, ModelsError> {
        let config = Config::from_gguf(&gguf)?;
        let loaded = AtomicU64::new(0);
        let meter = Meter {
            progress: &*progress,
            done: &loaded,
        };
        let embedding = embedding(&gguf, &meter)?;
        let mut host = HashMap::new();
        for share in layout
            .shares
            .iter()
            .filter(|share| share.device.kind == DeviceKind::Cpu)
        {
            if let Entry::Vacant(place) = host.entry(Slice::of(share)) {
                let shard = Shard::load(&HostMemory, &gguf, &config, place.key(), Some(&embedding), &meter)?;
                place.insert(Arc::new(shard));
            }
        }
        let run = Run::new(&layout, &config, &embedding);
        let parts = Arc::new(Parts {
            gguf,
            config,
            layout,
            options,
            embedding,
            host,
            progress,
            loaded,
        });
        Ok(Model { parts, run })
    }

    /// Bytes of the file that all devices of `layout` read together: what two cards both hold is read twice.
    ///
    /// # Errors
    /// A layout that cuts the model's matrices to nothing.
    pub fn bytes_to_load(gguf: &Gguf, config: &Config, layout: &Layout) -> Result<u64, ModelsError> {
        let mut bytes = gguf.tensor(crate::tensors::EMBEDDING).map_or(0, |tensor| tensor.bytes);
        let mut host = Vec::new();
        for share in &layout.shares {
            let (slice, is_host) = (Slice::of(share), share.device.kind == DeviceKind::Cpu);
            if is_host && host.contains(&slice) {
                continue;
            }
            bytes += matrix_bytes(gguf, config, &slice, is_host)?;
            if is_host {
                host.push(slice);
            }
        }
        Ok(bytes)
    }

    /// The model's sizes.
    pub fn config(&self) -> &Config {
        &self.parts.config
    }

    /// Where it lies.
    pub fn layout(&self) -> &Layout {
        &self.parts.layout
    }

    /// Builds engine `index`, on the engine's own thread. What several engines share is opened by the first that asks, and
    /// opened again after it failed.
    ///
    /// # Errors
    /// A device that cannot be opened or is too small.
    pub fn engine(&self, index: usize) -> Result<Box<dyn LanguageModel>, ModelsError> {
        let parts = &self.parts;
        let shape = parts.shape()?;
        let embedding = Arc::clone(&parts.embedding);
        match &self.run {
            Run::Alone => {
                let share = parts.layout.shares.get(index).ok_or_else(|| no_engine(index))?;
                let stage = parts.stage(share, 1, shape.kv_blocks, None)?;
                Ok(Box::new(Whole::new(shape, embedding, stage)))
            }
            Run::Lanes(pipeline) => {
                let lanes = parts.layout.engines;
                let generation = pipeline.open(|| parts.openings(lanes, shape.kv_blocks, Vec::new()))?;
                Ok(Box::new(Lane {
                    index,
                    generation,
                    shape,
                    stages: parts.layout.shares.len(),
                    embedding,
                    pipeline: Arc::clone(pipeline),
                }))
            }
            Run::Together(team) => {
                let blocks = parts.layout.engines * shape.kv_blocks;
                let generation = team.open(|| {
                    let (meeting, seats) = Meeting::new(parts.layout.shares.len());
                    (meeting, parts.openings(1, blocks, seats))
                })?;
                Ok(Box::new(Member {
                    index,
                    generation,
                    shape,
                    team: Arc::clone(team),
                }))
            }
        }
    }

    /// How busy the devices are that several engines share; none where every engine is a device.
    pub fn devices(&self) -> Option<DevicesStatus> {
        match &self.run {
            Run::Alone => None,
            Run::Lanes(pipeline) => Some(pipeline.status()),
            Run::Together(team) => Some(team.status()),
        }
    }
}

impl Run {
    fn new(layout: &Layout, config: &Config, embedding: &Arc<PackedMatrix>) -> Run {
        let names = names(&layout.shares);
        match layout.placement {
            Placement::Replicas => Run::Alone,
            Placement::Pipeline | Placement::Offload => Run::Lanes(Arc::new(Pipeline::new(names, layout.engines))),
            Placement::Tensor => {
                let columns = layout.shares.iter();
                let columns = columns.map(|share| Slice::of(share).rows(config.vocabulary).len());
                let team = Team::new(names, layout.engines, columns.collect(), Arc::clone(embedding));
                Run::Together(Arc::new(team))
            }
        }
    }
}

impl Parts {
    fn shape(&self) -> Result<ModelShape, ModelsError> {
        let kv_blocks = self.layout.kv_tokens / BLOCK_TOKENS;
        let all = kv_blocks.saturating_mul(self.layout.engines);
        if self.layout.placement == Placement::Tensor && all > KV_BLOCKS_MAX {
            return Err(ModelsError::KvBlocks {
                asked: all,
                allowed: KV_BLOCKS_MAX,
            });
        }
        shape(&self.config, self.options.context_tokens, kv_blocks)
    }

    /// One opening for each share, with its device's name.
    fn openings(self: &Arc<Self>, lanes: usize, blocks: usize, seats: Vec<Seat>) -> Vec<(String, Opening)> {
        let mut seats = seats.into_iter();
        let shares = self.layout.shares.iter().zip(names(&self.layout.shares));
        let opening = |(share, name): (&Share, String)| {
            let (parts, share, seat) = (Arc::clone(self), share.clone(), seats.next());
            let opening: Opening = Box::new(move || parts.stage(&share, lanes, blocks, seat));
            (name, opening)
        };
        shares.map(opening).collect()
    }

    /// A share on its device, on the thread that will use it.
    fn stage(
        &self,
        share: &Share,
        lanes: usize,
        blocks: usize,
        seat: Option<Seat>,
    ) -> Result<Box<dyn Stage>, ModelsError> {
        let (config, slice) = (&self.config, Slice::of(share));
        let caches = Caches {
            lanes,
            blocks,
            format: self.options.kv_format,
        };
        match share.device.kind {
            DeviceKind::Cpu => {
                let shard = self.host.get(&slice).cloned().ok_or_else(|| ModelsError::Device {
                    device: share.device.to_string(),
                    reason: "its layers were not loaded".to_owned(),
                })?;
                let device = Cpu::new(Sizes::new(config, &slice));
                let decoder = Decoder::new(device, shard, config, &slice, caches, seat)?;
                let threads = team(Threads::of_machine())?;
                Ok(Box::new(Teamed { threads, decoder }))
            }
            DeviceKind::Cuda(index) => {
                let meter = Meter {
                    progress: &*self.progress,
                    done: &self.loaded,
                };
                // Where matrices are cut, the engines' steps are put into one.
                let together = if share.parts > 1 { self.layout.engines } else { 1 };
                let work = card::Work {
                    gguf: &self.gguf,
                    config,
                    slice: &slice,
                    caches,
                    rows: together * self.options.step_rows_max,
                    sequences: together * self.options.sequences_max,
                    context_tokens: self.options.context_tokens,
                };
                card::open(index, &work, seat, &meter)
            }
        }
    }
}

fn no_engine(index: usize) -> ModelsError {
    ModelsError::Device {
        device: format!("engine {index}"),
        reason: "the layout has no device for it".to_owned(),
    }
}

/// The devices' names; those that are named twice have a number behind them.
fn names(shares: &[Share]) -> Vec<String> {
    let name = |(index, share): (usize, &Share)| {
        let same = |other: &&Share| other.device == share.device;
        let before = shares.iter().take(index).filter(same).count();
        if shares.iter().filter(same).count() > 1 {
            format!("{}#{before}", share.device)
        } else {
            share.device.to_string()
        }
    };
    shares.iter().enumerate().map(name).collect()
}
