//! Who is loaded, who leaves for whom, and what becomes of those who wait, with models that are loaded in no time.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::*;
use crate::api::tests::kit::{Kit, until};

/// A model of this name has no files worth the name.
const DAMAGED: &str = "damaged";

/// Makes a model of any name: `a` and `a-warm` are the same weights under two names.
struct Maker {
    /// Models that fit beside each other.
    fitting: usize,
    /// What was asked of it, in order.
    told: Sender<String>,
    /// Loading waits for a word from here, or for the other end to be gone.
    go_on: Mutex<Receiver<()>>,
}

impl Maker {
    /// With what it tells, and the one whose word it waits for.
    fn new(fitting: usize) -> (Maker, Receiver<String>, Sender<()>) {
        let ((told, heard), (let_go, go_on)) = (channel(), channel());
        let go_on = Mutex::new(go_on);
        (Maker { fitting, told, go_on }, heard, let_go)
    }

    fn tell(&self, what: &str, choice: &ModelChoice) {
        // Some tests do not listen.
        let _ = self.told.send(format!("{what} {}", name_of(choice)));
    }
}

impl Loader for Maker {
    fn find(&self, name: &str) -> Result<Option<Wanted>, LoadError> {
        Ok(Some(file(name)))
    }

    fn check(&self, choice: &ModelChoice, _beside: &[Arc<Served>]) -> Result<(), LoadError> {
        self.tell("check", choice);
        match name_of(choice) {
            DAMAGED => Err(LoadError::Broken("it is damaged".to_owned())),
            _ => Ok(()),
        }
    }

    fn load(&self, choice: &ModelChoice, beside: &[Arc<Served>]) -> Result<Served, LoadError> {
        self.tell("load", choice);
        let _ = self.go_on.lock().unwrap().recv();
        if beside.len() >= self.fitting {
            return Err(LoadError::NoRoom("there is no room".to_owned()));
        }
        Ok(model(name_of(choice)))
    }

    fn dress(&self, served: &Served, choice: &ModelChoice) -> Result<Served, LoadError> {
        self.tell("dress", choice);
        let card = crate::app::ModelCard {
            id: name_of(choice).to_owned(),
            ..served.card.clone()
        };
        Ok(served.dressed(card, served.defaults.clone(), served.opening.clone()))
    }
}

fn model(name: &str) -> Served {
    let mut served = Kit::default().served();
    name.clone_into(&mut served.card.id);
    served
}

fn file(name: &str) -> Wanted {
    let weights = name.split('-').next().unwrap_or(name);
    Wanted {
        key: Key::File(weights.into()),
        face: name.to_owned(),
        choice: ModelChoice::File(name.into()),
        skips_thought: false,
    }
}

fn name_of(choice: &ModelChoice) -> &str {
    match choice {
        ModelChoice::File(path) => path.to_str().unwrap(),
        _ => "tiny",
    }
}

fn tiny() -> Wanted {
    Wanted {
        key: Key::Tiny,
        face: "tiny".to_owned(),
        choice: ModelChoice::Tiny,
        skips_thought: false,
    }
}

fn bounds(loaded_max: usize) -> Bounds {
    Bounds {
        loaded_max,
        waiting_max: 2,
        keep_alive: KeepAlive::For(Duration::from_secs(600)),
    }
}

impl Roster {
    /// Of a model that is there, for tests of other things.
    pub(crate) fn of_one(served: Served) -> Roster {
        let own = [&served.card.id].into_iter().chain(&served.card.aliases);
        let names = Names {
            configured: tiny(),
            own: own.cloned().collect(),
            stand_ins: Vec::new(),
            aliases: Vec::new(),
            any_model: false,
            on_demand: false,
        };
        let bounds = Bounds {
            keep_alive: KeepAlive::Forever,
            waiting_max: 8,
            ..bounds(1)
        };
        Roster::new(names, served, Maker::new(1).0, bounds)
    }

    /// With the configured model `tiny`, and any other on demand.
    fn of_many(loaded_max: usize, maker: Maker) -> Roster {
        let names = Names {
            configured: tiny(),
            own: vec!["tiny".to_owned()],
            stand_ins: Vec::new(),
            aliases: Vec::new(),
            any_model: false,
            on_demand: true,
        };
        Roster::new(names, model("tiny"), maker, bounds(loaded_max))
    }

    /// Asks for a model, and lets it go at once.
    async fn touch(&self, name: &str) {
        drop(self.lease(file(name)).await.unwrap());
    }

    fn names_loaded(&self) -> Vec<String> {
        self.loaded().iter().map(|model| model.card.id.clone()).collect()
    }
}

#[tokio::test]
async fn the_one_used_longest_ago_leaves_the_configured_last_and_a_busy_one_after_all_idle() {
    // Whether the number of models or the memory is short.
    for (loaded_max, fitting) in [(3, 8), (8, 3)] {
        let (maker, _, let_go) = Maker::new(fitting);
        drop(let_go);
        let roster = Roster::of_many(loaded_max, maker);
        for name in ["a", "b", "a", "c"] {
            roster.touch(name).await;
        }
        assert_eq!(roster.names_loaded(), ["tiny", "a", "c"]);
        let held = roster.lease(file("a")).await.unwrap();
        for (name, left) in [("d", ["tiny", "a", "d"]), ("e", ["tiny", "a", "e"])] {
            roster.touch(name).await;
            assert_eq!(roster.names_loaded(), left);
        }
        let also_held = roster.lease(file("e")).await.unwrap();
        roster.touch("f").await;
        assert_eq!(roster.names_loaded(), ["a", "e", "f"]);
        assert_eq!((held.card.id.as_str(), also_held.card.id.as_str()), ("a", "e"));
        drop(roster.lease(tiny()).await.unwrap());
        assert_eq!(roster.names_loaded(), ["a", "e", "tiny"]);
    }
}

#[tokio::test]
async fn a_busy_model_stays_if_the_request_it_would_leave_for_gives_up() {
    let (maker, told, let_go) = Maker::new(1);
    drop(let_go);
    let roster = Roster::of_many(1, maker);
    let held = roster.lease(tiny()).await.unwrap();
    let asking = |wanted: Wanted| {
        let roster = roster.clone();
        tokio::spawn(async move { roster.lease(wanted).await.map(|lease| lease.card.id.clone()) })
    };
    let other = asking(file("a"));
    until(|| roster.loaded().is_empty()).await;
    let late = asking(tiny());
    tokio::task::yield_now().await;
    assert!(!late.is_finished(), "it leaves");
    other.abort();
    assert_eq!(late.await.unwrap().as_deref(), Ok("tiny"));
    assert_eq!(roster.names_loaded(), ["tiny"]);
    let loads = |told: &Receiver<String>| told.try_iter().filter(|word| word.starts_with("load")).count();
    assert_eq!(loads(&told), 0, "nothing was loaded for nobody");
    // Without another to go to, the last request for it ends and it leaves.
    let other = asking(file("a"));
    until(|| roster.loaded().is_empty()).await;
    drop(held);
    assert_eq!(other.await.unwrap().as_deref(), Ok("a"));
    assert_eq!(loads(&told), 1);
}

#[tokio::test]
async fn nobody_leaves_for_a_model_that_cannot_be_loaded() {
    let (maker, told, let_go) = Maker::new(1);
    drop(let_go);
    let roster = Roster::of_many(8, maker);
    let refused = roster.lease(file(DAMAGED)).await.err().unwrap();
    assert_eq!(refused, NoModel::Failed(LoadError::Broken("it is damaged".to_owned())));
    assert_eq!(roster.names_loaded(), ["tiny"]);
    assert_eq!(told.try_iter().collect::<Vec<_>>(), ["load damaged", "check damaged"]);
}

#[tokio::test]
async fn a_model_too_large_for_empty_memory_is_refused_and_the_next_request_served() {
    let (maker, _, let_go) = Maker::new(0);
    drop(let_go);
    let roster = Roster::of_many(8, maker);
    let refused = roster.lease(file("a")).await.err().unwrap();
    assert_eq!(
        refused,
        NoModel::Failed(LoadError::NoRoom("there is no room".to_owned()))
    );
    assert!(roster.names_loaded().is_empty());
}

#[tokio::test]
async fn requests_for_one_model_share_its_loading_and_so_many_may_wait() {
    let (maker, told, let_go) = Maker::new(8);
    let roster = Roster::of_many(8, maker);
    let asking = || {
        let roster = roster.clone();
        tokio::spawn(async move { roster.lease(file("a")).await })
    };
    let waiting = [asking(), asking()];
    let users = || roster.inner.state().iter().map(|entry| entry.users).sum::<usize>();
    until(|| users() == 2).await;
    let refused = roster.lease(file("a")).await.err().unwrap();
    assert_eq!(refused, NoModel::Busy { waiting: 2 });
    assert_eq!(roster.names_loaded(), ["tiny"]);
    let_go.send(()).unwrap();
    for lease in waiting {
        assert_eq!(lease.await.unwrap().unwrap().card.id, "a");
    }
    assert_eq!(told.try_iter().collect::<Vec<_>>(), ["load a"]);
    assert_eq!(users(), 0);
}

#[tokio::test]
async fn a_model_has_each_of_its_names_once_and_leaves_with_the_last() {
    let (maker, told, let_go) = Maker::new(8);
    drop(let_go);
    let roster = Roster::of_many(8, maker);
    tokio::spawn(roster.clone().tend());
    let id = |name: &str| roster.served(&file(name)).map(|served| served.card.id.clone());
    for _ in 0..2 {
        roster.touch("a").await;
        roster.touch("a-warm").await;
    }
    assert_eq!(told.try_iter().collect::<Vec<_>>(), ["load a", "dress a-warm"]);
    assert_eq!(
        (id("a").as_deref(), id("a-warm").as_deref()),
        (Some("a"), Some("a-warm"))
    );
    assert_eq!(id("a-cold"), None);
    roster.forget_name("a").await.unwrap();
    assert_eq!((id("a"), id("a-warm").as_deref()), (None, Some("a-warm")));
    roster.forget_name("a-warm").await.unwrap();
    until(|| id("a-warm").is_none()).await;
    assert_eq!(roster.names_loaded(), ["tiny"]);
}
