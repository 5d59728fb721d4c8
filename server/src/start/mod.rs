//! From a configuration to a served model, in the order in which things go wrong: the address first, which takes no
//! time, then the model file, which takes minutes, then the engines.

mod aside;
mod banner;
mod bar;
mod descriptors;
mod loader;
mod memory;
mod model;
mod serve;
mod stored;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use engine::{EngineSettings, EngineSpec, Engines, ModelError, ModelFactory};
use library::Gguf;
use models::{Model, ModelsError, Options, Placement};
use tokio::net::TcpSocket;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::App;
use crate::config::Config;
use crate::drain::Drain;
use crate::failure::Failure;
use crate::metrics::Metrics;
use crate::roster::{Bounds, Roster};
use crate::shelf::Shelf;
pub(crate) use aside::Aside;
pub(crate) use bar::Progress;
pub(crate) use model::{id, open_file, open_with_store};

use loader::{ModelLoader, Ready};

/// Connections that may wait for the accept loop.
const BACKLOG: u32 = 1024;

/// The code of a process that a second signal ended.
const ENDED_AT_ONCE: u8 = 130;

/// Serves until a signal.
///
/// # Errors
/// What kept it from serving.
pub(crate) fn run(config: Config) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("tandem-io")
        .build()
        .context("cannot start the I/O threads")?;
    let served = runtime.block_on(async {
        let mut signals = Signals::listen().context("cannot listen for signals")?;
        let socket = bind(&config)?;
        let loading = tokio::task::spawn_blocking({
            let config = config.clone();
            move || load(&config)
        });
        let app = tokio::select! {
            loaded = loading => loaded.context("loading the model ended badly")??,
            name = signals.next() => {
                tracing::info!(signal = name, "stopped before the model was loaded");
                return Ok(ExitCode::SUCCESS);
            }
        };
        let listen = config.listen;
        let listener = socket
            .listen(BACKLOG)
            .map_err(|cause| Failure::Address { listen, cause })?;
        serve::serve(app, listener, &config, signals).await
    });
    // A step in progress or a load that was given up may still run; nobody waits for them.
    runtime.shutdown_timeout(Duration::from_millis(100));
    served
}

/// Takes the port, so that a wrong address shows before minutes of loading. Clients are heard when there is a model.
fn bind(config: &Config) -> Result<TcpSocket, Failure> {
    let listen = config.listen;
    let bound = || {
        let socket = if listen.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.set_reuseaddr(true)?;
        socket.bind(listen)?;
        Ok(socket)
    };
    bound().map_err(|cause| Failure::Address { listen, cause })
}

/// The configured model, and all that requests share.
fn load(config: &Config) -> Result<Loaded, Failure> {
    models::Simd::limit(config.simd);
    let metrics = Metrics::new().context("metrics")?;
    let loader = ModelLoader {
        config: config.clone(),
        metrics: metrics.clone(),
    };
    let Ready {
        served,
        facts,
        plan,
        load_seconds,
    } = loader.ready(config, &[])?;
    let names = loader.names(&served)?;
    let bounds = Bounds {
        loaded_max: config.loaded_models,
        waiting_max: config.devices.len() * (config.slots + config.queue),
        keep_alive: config.keep_alive,
    };
    let app = App {
        roster: Roster::new(names, served, loader, bounds),
        limits: config.limits.clone(),
        metrics,
        drain: Drain::new(),
        shelf: Arc::new(Shelf::new(config.places(), config.rules.clone())),
        ollama: config.ollama.clone(),
    };
    Ok(Loaded {
        app,
        facts,
        plan,
        load_seconds,
    })
}

/// Reads the weights, opens the devices and builds the engines; shows how far it is.
fn start_engines(config: &Config, gguf: Gguf, plan: &memory::Plan) -> Result<(Arc<Model>, Engines), Failure> {
    let name = gguf.name().to_owned();
    let wrong = |error: ModelsError| Failure::Model(format!("{name}: {error}"));
    let options = Options {
        context_tokens: plan.context,
        kv_format: config.kv,
        step_rows_max: config.slots + config.step_tokens,
        sequences_max: config.slots,
    };
    let layout = &plan.choice.plan.layout;
    let sizes = models::Config::from_gguf(&gguf).map_err(&wrong)?;
    let bytes = Model::bytes_to_load(&gguf, &sizes, layout).map_err(&wrong)?;
    let progress = Arc::new(Progress::of(bytes));
    let told = Arc::clone(&progress);
    let model = Model::load(gguf, layout.clone(), options, Box::new(move |done| told.at(done)));
    let started = model.map_err(wrong).and_then(|model| {
        let model = Arc::new(model);
        let shared = Arc::clone(&model);
        let factory: ModelFactory =
            Arc::new(move |index| shared.engine(index).map_err(|error| ModelError(error.to_string())));
        let mut settings = settings(config);
        if layout.placement != Placement::Replicas {
            let devices: Vec<String> = layout.shares.iter().map(|share| share.device.to_string()).collect();
            settings
                .engines
                .iter_mut()
                .for_each(|engine| engine.name = devices.join("+"));
        }
        // Cards load their part when their engines are built.
        Ok((model, Engines::start(settings, factory)?))
    });
    progress.end();
    started
}

/// A model that is ready, and what the start-up lines say of it.
struct Loaded {
    app: App,
    facts: model::Facts,
    plan: memory::Plan,
    load_seconds: f64,
}

/// The engines as configured.
pub(crate) fn settings(config: &Config) -> EngineSettings {
    let specs = config.devices.iter().zip(&config.weights);
    let specs = specs.map(|(name, weight)| EngineSpec {
        name: name.to_string(),
        weight: *weight,
    });
    let mut settings = EngineSettings::new(specs.collect());
    settings.slots = config.slots;
    settings.queue_jobs_max = config.queue;
    settings.step_tokens_max = config.step_tokens;
    settings
}

/// SIGTERM and SIGINT, whichever comes.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one. Returns its name.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
