//! Models that are loaded in no time, and what becomes of requests for them.

use super::*;

/// Knows no other model.
struct Nobody;

impl Loader for Nobody {
    fn find(&self, _name: &str) -> Result<Option<Wanted>, LoadError> {
        Ok(None)
    }

    fn check(&self, _choice: &ModelChoice, _beside: &[Arc<Served>]) -> Result<(), LoadError> {
        Ok(())
    }

    fn load(&self, _choice: &ModelChoice, _beside: &[Arc<Served>]) -> Result<Served, LoadError> {
        Err(LoadError::Broken("there is no other model".to_owned()))
    }

    fn dress(&self, _served: &Served, _choice: &ModelChoice) -> Result<Served, LoadError> {
        Err(LoadError::Broken("there is no other name".to_owned()))
    }
}

impl Roster {
    /// Of a model that is there, for tests of other things.
    pub(crate) fn of_one(served: Served) -> Roster {
        let names = Names {
            configured: Wanted {
                key: Key::Tiny,
                face: "tiny".to_owned(),
                choice: ModelChoice::Tiny,
                skips_thought: false,
            },
            own: [&served.card.id]
                .into_iter()
                .chain(&served.card.aliases)
                .cloned()
                .collect(),
            stand_ins: Vec::new(),
            aliases: Vec::new(),
            any_model: false,
            on_demand: false,
        };
        let bounds = Bounds {
            loaded_max: 1,
            waiting_max: 8,
            keep_alive: KeepAlive::Forever,
        };
        Roster::new(names, served, Nobody, bounds)
    }
}
