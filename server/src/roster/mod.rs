//! The models that are loaded, by the names that requests give them.

mod keep_alive;
mod served;

use std::ops::Deref;
use std::sync::Arc;

pub(crate) use keep_alive::KeepAlive;
pub(crate) use served::{Opening, Parts, Served};

/// Names listed in a refusal.
const NAMES_SHOWN: usize = 8;

/// Which model a name means.
pub(crate) struct Roster {
    first: Arc<Served>,
}

/// A model held for one request: it stays loaded until this is dropped. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Lease {
    served: Arc<Served>,
    /// Whether the name asked for replies without a thought.
    pub(crate) skips_thought: bool,
}

/// Why there is no model for a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum NoModel {
    /// Nothing is called so.
    Unknown {
        /// The names there are, the first ones.
        names: Vec<String>,
    },
}

impl Roster {
    /// Of the one configured model.
    pub(crate) fn new(first: Served) -> Roster {
        Roster { first: Arc::new(first) }
    }

    /// The configured model.
    pub(crate) fn first(&self) -> &Arc<Served> {
        &self.first
    }

    /// All that are loaded, the configured one first.
    pub(crate) fn loaded(&self) -> Vec<Arc<Served>> {
        vec![Arc::clone(&self.first)]
    }

    /// Holds the model called `name`; no name at all means the configured one.
    ///
    /// # Errors
    /// No model is called so.
    pub(crate) async fn lease(&self, name: Option<&str>) -> Result<Lease, NoModel> {
        let card = &self.first.card;
        if name.is_none_or(|name| card.answers_to(name)) {
            return Ok(Lease {
                served: Arc::clone(&self.first),
                skips_thought: false,
            });
        }
        let aliases = card.aliases.iter().filter(|alias| *alias != "default");
        let names = [&card.id, "default"]
            .into_iter()
            .map(str::to_owned)
            .chain(aliases.cloned());
        Err(NoModel::Unknown {
            names: names.take(NAMES_SHOWN).collect(),
        })
    }
}

impl Roster {
    /// Lets go of the model called `name` as soon as nobody uses it; one that is not loaded stays so.
    ///
    /// # Errors
    /// No model is called so.
    pub(crate) async fn unload(&self, name: Option<&str>) -> Result<(), NoModel> {
        self.lease(name).await.map(|_lease| ())
    }
}

impl Lease {
    /// How long the model stays loaded after this request, where the request says so.
    pub(crate) fn keep(&self, keep_alive: Option<KeepAlive>) {
        tracing::debug!(model = %self.card.id, ?keep_alive, "the configured model stays loaded");
    }
}

impl Deref for Lease {
    type Target = Served;

    fn deref(&self) -> &Served {
        &self.served
    }
}
