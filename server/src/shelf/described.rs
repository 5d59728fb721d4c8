//! One model, opened and described without loading it.

use library::hub::{HubError, HubName};
use library::store::{self, Message, ModelName, StoreError, StoredModel};
use library::{Gguf, GgufError, TensorInfo};

use super::facts::Facts;
use super::{Entry, Shelf, text};
use crate::config::ModelChoice;
use crate::roster::{Meaning, Names};

/// Why a model cannot be described. The texts name paths: they are for the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShelfError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error(transparent)]
    File(#[from] GgufError),
}

/// A model with all that its files tell.
pub(crate) struct Described {
    /// What lists tell of it.
    pub(crate) entry: Entry,
    /// Its header.
    pub(crate) gguf: Gguf,
    stored: Option<StoredModel>,
}

impl Shelf {
    /// The model that is served from the start.
    pub(crate) fn configured(&self) -> ModelChoice {
        self.places.configured.clone()
    }

    /// Which model `name` means, if one, and whether it is to skip the thought under that name.
    pub(crate) fn meant(&self, names: &Names, name: &str) -> Option<(ModelChoice, bool)> {
        match names.meaning(Some(name)) {
            Meaning::Configured { skips_thought } => Some((self.configured(), skips_thought)),
            Meaning::Stored { name, skips_thought } => {
                let configured = || names.stands_in(&name).then(|| self.configured());
                Some((self.find(&name).or_else(configured)?, skips_thought))
            }
        }
    }

    /// The model that `name` means by its form, if a store or the hub's cache may have it.
    pub(crate) fn find(&self, name: &str) -> Option<ModelChoice> {
        if HubName::is_meant(name) {
            let cache = self.places.hub.clone();
            return name.parse().map(|name| ModelChoice::Hub { name, cache }).ok();
        }
        let name: ModelName = name.parse().ok()?;
        let is_there = self.places.stores.iter().any(|store| store.has(&name));
        is_there.then(|| ModelChoice::Stored {
            name,
            stores: self.places.stores.clone(),
        })
    }

    /// Whether all files of the model are there, as far as their lengths tell.
    pub(crate) fn has(&self, choice: &ModelChoice) -> bool {
        match choice {
            ModelChoice::Tiny => true,
            ModelChoice::File(path) => path.is_file(),
            ModelChoice::Stored { name, stores } => store::find(stores, name).is_ok(),
            ModelChoice::Hub { name, cache } => cache.as_ref().is_some_and(|cache| cache.find(name).is_ok()),
        }
    }

    /// What lists tell of a model.
    ///
    /// # Errors
    /// It is not there, or not as it should be.
    pub(crate) fn entry(&self, choice: &ModelChoice) -> Result<Entry, ShelfError> {
        match choice {
            ModelChoice::Stored { name, stores } => {
                let stored = store::find(stores, name)?;
                let facts = self.known.of_file(&stored.path)?;
                Ok(Entry::of_stored(&stored).with(facts))
            }
            other => Ok(Described::open(other)?.entry),
        }
    }
}

impl Described {
    /// Opens and describes a model.
    ///
    /// # Errors
    /// It is not there, or not as it should be.
    pub(crate) fn open(choice: &ModelChoice) -> Result<Described, ShelfError> {
        match choice {
            ModelChoice::Stored { name, stores } => Described::of_stored(store::find(stores, name)?),
            ModelChoice::Tiny => {
                let gguf = Gguf::from_static(models::tiny::GGUF, "the embedded tiny model")?;
                Ok(Described::of_file(choice, gguf))
            }
            ModelChoice::File(path) => Ok(Described::of_file(choice, Gguf::open(path)?)),
            ModelChoice::Hub { name, cache } => {
                let no_cache = || HubError::NoCache { name: name.to_string() };
                let path = cache.as_ref().ok_or_else(no_cache)?.find(name)?;
                let gguf = Gguf::open(&path)?;
                let mut described = Described::of_file(&ModelChoice::File(path), gguf);
                described.entry.name = name.to_string();
                Ok(described)
            }
        }
    }

    fn of_file(choice: &ModelChoice, gguf: Gguf) -> Described {
        Described {
            entry: Entry::of_file(choice, &gguf),
            gguf,
            stored: None,
        }
    }

    fn of_stored(stored: StoredModel) -> Result<Described, ShelfError> {
        let gguf = Gguf::open(&stored.path)?;
        Ok(Described {
            entry: Entry::of_stored(&stored).with(Facts::of(&gguf)),
            gguf,
            stored: Some(stored),
        })
    }

    /// The weights' numbers together.
    pub(crate) fn parameter_count(&self) -> u64 {
        let elements = self.gguf.tensors().iter().map(TensorInfo::elements);
        elements.fold(0, u64::saturating_add)
    }

    /// The licences, one after the other.
    pub(crate) fn license(&self) -> String {
        self.stored
            .as_ref()
            .map(|stored| stored.licenses.join("\n"))
            .unwrap_or_default()
    }

    /// The store's Go template, else the file's own, which is Jinja.
    pub(crate) fn template(&self) -> &str {
        let own = || self.gguf.metadata().opt_text("tokenizer.chat_template").ok().flatten();
        let stored = self.stored.as_ref().and_then(|stored| stored.template.as_ref());
        stored.map(|(_, text)| text.as_str()).or_else(own).unwrap_or_default()
    }

    /// The text at the beginning of every conversation.
    pub(crate) fn system(&self) -> &str {
        let stored = self.stored.as_ref().and_then(|stored| stored.system.as_deref());
        stored.unwrap_or_default()
    }

    /// The messages at the beginning of every conversation.
    pub(crate) fn messages(&self) -> &[Message] {
        self.stored.as_ref().map_or(&[], |stored| stored.messages.as_slice())
    }

    /// Sampling values and stop strings, one to a line.
    pub(crate) fn parameters(&self) -> String {
        let stored = self.stored.as_ref();
        stored
            .map(|stored| text::parameters(&stored.parameters))
            .unwrap_or_default()
    }

    /// What would make the same model again.
    pub(crate) fn modelfile(&self) -> String {
        text::modelfile(&self.entry.name, self.stored.as_ref())
    }
}
