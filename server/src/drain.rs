//! Leaving in good order: the one flag that says the process is stopping, and when the last streams must end.

use std::sync::Arc;

use tokio::sync::watch;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Serving,
    Draining,
    Over,
}

/// Shared by whoever must know that the process is on its way out. Clones see the same stage.
#[derive(Clone)]
pub(crate) struct Drain {
    stage: Arc<watch::Sender<Stage>>,
}

impl Drain {
    /// Serving, until [`Drain::begin`].
    pub(crate) fn new() -> Drain {
        Drain {
            stage: Arc::new(watch::Sender::new(Stage::Serving)),
        }
    }

    /// From now on new requests are refused and running ones may end.
    pub(crate) fn begin(&self) {
        self.advance(Stage::Draining);
    }

    /// From now on running streams must end too.
    pub(crate) fn expire(&self) {
        self.advance(Stage::Over);
    }

    /// Whether new requests are refused.
    pub(crate) fn is_draining(&self) -> bool {
        *self.stage.borrow() != Stage::Serving
    }

    /// Resolves when running streams must end now, with a last event that says so.
    pub(crate) async fn deadline(&self) {
        // The sender lives as long as `self`, so waiting cannot fail; if it did, ending the stream is right.
        let _ = self.stage.subscribe().wait_for(|stage| *stage == Stage::Over).await;
    }

    fn advance(&self, to: Stage) {
        self.stage.send_if_modified(|stage| {
            let forward = matches!((*stage, to), (Stage::Serving, _) | (Stage::Draining, Stage::Over));
            if forward {
                *stage = to;
            }
            forward
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_deadline_resolves_for_every_clone_and_for_those_who_come_late() {
        let drain = Drain::new();
        assert!(!drain.is_draining());
        let early = tokio::spawn({
            let drain = drain.clone();
            async move { drain.deadline().await }
        });
        drain.begin();
        assert!(drain.is_draining());
        drain.expire();
        early.await.unwrap();
        drain.deadline().await;
    }

    #[test]
    fn a_drain_never_goes_back() {
        let drain = Drain::new();
        drain.expire();
        drain.begin();
        assert!(matches!(*drain.stage.borrow(), Stage::Over));
    }
}
