//! Loading a model: when the program starts, and when a request first asks for another one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use library::store;
use models::PlacementError;

use super::model::{self, Facts, Opened};
use super::{memory, start_engines};
use crate::config::{Config, ConfigError, ModelChoice};
use crate::failure::Failure;
use crate::metrics::Metrics;
use crate::roster::{Key, LoadError, Loader, Names, Parts, Served, Wanted};

/// Loads models as the configuration says.
pub(super) struct ModelLoader {
    pub(super) config: Config,
    pub(super) metrics: Metrics,
}

/// A model that is ready, and what the start-up lines say of it.
pub(super) struct Ready {
    pub(super) served: Served,
    pub(super) facts: Facts,
    pub(super) plan: memory::Plan,
    pub(super) load_seconds: f64,
}

impl ModelLoader {
    /// Everything that takes time: the file, the weights, the engines.
    ///
    /// * `beside`  what is loaded already and stays; the processor takes over what the devices cannot hold only if they
    ///   could not hold it either without these
    pub(super) fn ready(&self, config: &Config, beside: &[Arc<Served>]) -> Result<Ready, Failure> {
        let started = Instant::now();
        let opened = Opened::open(config)?;
        let plan = memory::plan(config, &opened, beside)?;
        if !beside.is_empty() && memory::spills(config, &plan) {
            return Err(spilled());
        }
        self.metrics.show_model(&opened.card.id);
        let (model, engines) = start_engines(config, opened.gguf, &plan)?;
        let mut card = opened.card;
        card.context_tokens = plan.context;
        let served = Served::new(Parts {
            card,
            tokenizer: opened.tokenizer,
            template: Arc::new(opened.template),
            engines,
            devices: Arc::new(move || model.devices()),
            defaults: opened.sampling,
            opening: opened.opening,
            plan: Some(plan.choice.plan.clone()),
        });
        Ok(Ready {
            served,
            facts: opened.facts,
            plan,
            load_seconds: started.elapsed().as_secs_f64(),
        })
    }

    /// The names that the configured model has from the start.
    ///
    /// # Errors
    /// Its files are not as they should be.
    pub(super) fn names(&self, first: &Served) -> Result<Names, Failure> {
        let config = &self.config;
        let own = [&first.card.id].into_iter().chain(&first.card.aliases).cloned();
        Ok(Names {
            configured: wanted(&config.model)?,
            own: own.collect(),
            stand_ins: first.card.stand_ins.clone(),
            aliases: config.aliases.clone(),
            any_model: config.any_model,
            on_demand: config.on_demand,
        })
    }

    /// The configuration as it is for a model that nobody configured: what was said of the context is a wish, and its
    /// cache is as large as there is room, which whoever named a size of cache knew for the configured model alone.
    fn config_for(&self, choice: &ModelChoice) -> Config {
        let mut config = self.config.clone();
        config.is_context_wish = true;
        if *choice != self.config.model {
            config.kv_tokens = None;
        }
        config.model = choice.clone();
        config
    }
}

impl Loader for ModelLoader {
    fn find(&self, name: &str) -> Result<Option<Wanted>, LoadError> {
        let Some(choice) = ModelChoice::named(name, &self.config.store, &self.config.environment) else {
            return Ok(None);
        };
        wanted(&choice).map(Some).map_err(|failure| told(name, &failure))
    }

    fn check(&self, choice: &ModelChoice, beside: &[Arc<Served>]) -> Result<(), LoadError> {
        let config = self.config_for(choice);
        let alone = Opened::open(&config).and_then(|opened| Ok(memory::plan_alone(&config, &opened, beside)?));
        let name = choice.to_string();
        match alone {
            Ok(_) => Ok(()),
            Err(failure) if lacks_room(&failure) => {
                tracing::error!(model = name, error = %failure, "a model is too large for this machine");
                Err(LoadError::Broken(format!(
                    "model {name} requires more memory than this machine has: {failure}"
                )))
            }
            Err(failure) => Err(told(&name, &failure)),
        }
    }

    fn load(&self, choice: &ModelChoice, beside: &[Arc<Served>]) -> Result<Served, LoadError> {
        tracing::info!(model = %choice, "loading a model");
        match self.ready(&self.config_for(choice), beside) {
            Ok(ready) => Ok(ready.served),
            Err(failure) => Err(told(&choice.to_string(), &failure)),
        }
    }

    fn dress(&self, served: &Served, choice: &ModelChoice) -> Result<Served, LoadError> {
        let dressed = model::dressed(served, choice, &self.config_for(choice));
        dressed.map_err(|failure| told(&choice.to_string(), &failure))
    }
}

/// What a client is told of a failure; the log says all.
fn told(name: &str, failure: &Failure) -> LoadError {
    if is_spilled(failure) {
        tracing::info!(model = name, "a model fits the devices only when another has left");
        return LoadError::NoRoom(format!(
            "model {name} requires more memory than is available beside the models that are loaded"
        ));
    }
    tracing::error!(model = name, error = %failure, "a model could not be loaded");
    match failure {
        failure if lacks_room(failure) => LoadError::NoRoom(format!(
            "model {name} requires more memory than is available: {failure}"
        )),
        // It says how many devices can share the model, and names no file.
        Failure::Config(ConfigError::Placement(_)) => {
            LoadError::Broken(format!("model {name} could not be loaded: {failure}"))
        }
        _ => LoadError::Broken(format!("model {name} could not be loaded: the server's log says why")),
    }
}

/// Whether it may go well with more memory.
fn lacks_room(failure: &Failure) -> bool {
    let is_memory = |error: &PlacementError| matches!(error, PlacementError::Memory { .. });
    match failure {
        Failure::Config(ConfigError::NoMemory { .. }) => true,
        Failure::Config(ConfigError::Placement(PlacementError::Nothing { tried })) => {
            tried.iter().any(|(_, error)| is_memory(error))
        }
        Failure::Config(ConfigError::Placement(error)) => is_memory(error),
        _ => false,
    }
}

/// Why a model is not spread to the processor: without the others the devices may hold it. Nothing else was tried.
fn spilled() -> Failure {
    ConfigError::Placement(PlacementError::Nothing { tried: Vec::new() }).into()
}

fn is_spilled(failure: &Failure) -> bool {
    matches!(failure, Failure::Config(ConfigError::Placement(PlacementError::Nothing { tried })) if tried.is_empty())
}

/// What a choice means to the roster.
fn wanted(choice: &ModelChoice) -> Result<Wanted, Failure> {
    let of_file = |path: &PathBuf| (Key::File(path.clone()), path.display().to_string());
    let (key, face) = match choice {
        ModelChoice::Tiny => (Key::Tiny, "tiny".to_owned()),
        ModelChoice::File(path) => of_file(path),
        ModelChoice::Hub { name, cache } => of_file(&model::hub_file(name, cache.as_ref())?),
        ModelChoice::Stored { name, stores } => {
            let stored = store::find(stores, name)?;
            let face = format!("{}@{}", stored.name.full(), stored.id.hex());
            (Key::File(stored.path), face)
        }
    };
    Ok(Wanted {
        key,
        face,
        choice: choice.clone(),
        skips_thought: false,
    })
}
