//! `GET /api/ps`: the models that are loaded, where they lie and how long they stay.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::response::Response;
use models::{Held, Plan};
use serde::Serialize;

use super::OllamaError;
use super::files::reply;
use super::tags::ModelDetails;
use crate::api::Api;
use crate::date::rfc3339_nanos;
use crate::roster::{Resident, Served};
use crate::shelf::Entry;

/// What Ollama adds to the present for a model that stays: the longest time that Go can count.
const FOREVER: Duration = Duration::from_nanos(i64::MAX as u64);

#[derive(Serialize)]
struct Loaded {
    models: Vec<LoadedModel>,
}

#[derive(Serialize)]
struct LoadedModel {
    name: String,
    model: String,
    /// Bytes of weights and caches, wherever they lie.
    size: u64,
    digest: String,
    details: ModelDetails,
    expires_at: String,
    /// Those of them that lie on cards.
    size_vram: u64,
    context_length: usize,
}

/// `GET /api/ps`
pub(super) async fn list(State(api): State<Arc<Api>>) -> Result<Response, OllamaError> {
    let mut models = Vec::new();
    for Resident { served, until } in api.app.roster.residents() {
        let (name, target) = (served.card.id.clone(), api.target(&served.card.id).await.ok());
        let entry = api
            .with_shelf(move |shelf| {
                let entry = target.and_then(|target| shelf.entry(&target).ok());
                Ok(entry.unwrap_or_else(|| Entry::unknown(&name)))
            })
            .await?;
        models.push(LoadedModel::of(&served, entry, until));
    }
    reply(&Loaded { models })
}

impl LoadedModel {
    fn of(served: &Served, entry: Entry, until: Option<SystemTime>) -> LoadedModel {
        let held = |is_counted: fn(&Plan, &Held) -> bool| {
            let plans = served.plan.iter();
            let held = plans.flat_map(|plan| plan.held.iter().map(move |held| (plan, held)));
            let counted = held.filter(|(plan, held)| is_counted(plan, held));
            counted.fold(0, |bytes: u64, (_, held)| {
                bytes.saturating_add(held.weights).saturating_add(held.kv)
            })
        };
        LoadedModel {
            details: ModelDetails::of(&entry),
            model: entry.name.clone(),
            name: entry.name,
            size: held(|_, _| true),
            digest: entry.digest.hex().to_owned(),
            expires_at: rfc3339_nanos(until.unwrap_or_else(|| SystemTime::now() + FOREVER)),
            size_vram: held(Plan::is_card),
            context_length: served.context_tokens(),
        }
    }
}
