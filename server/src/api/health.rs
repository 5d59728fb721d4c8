//! What probes, scrapers and curious people ask for.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::EngineState;
use serde::Serialize;

use super::Api;
use crate::metrics::CONTENT_TYPE;

/// `GET /`, by which Ollama's clients and the health checks made for it look whether it is there: these words exactly.
pub(crate) async fn greeting() -> &'static str {
    "Ollama is running"
}

/// `GET /livez`: the process answers. It depends on nothing else, so that a load is never a reason to kill it.
pub(crate) async fn livez() -> Response {
    ([(header::CACHE_CONTROL, "no-store")], "ok\n").into_response()
}

#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    engines: Vec<EngineReadiness>,
}

#[derive(Serialize)]
struct EngineReadiness {
    index: usize,
    name: String,
    state: &'static str,
}

/// `GET /readyz`, `GET /health`: 200 while at least one engine takes jobs, or none is loaded and the
/// next request will load one, and we are not leaving; else 503 and why.
pub(crate) async fn readyz(State(api): State<Arc<Api>>) -> Response {
    let models = api.app.roster.loaded();
    let engines: Vec<_> = models.iter().flat_map(|model| model.engines.status()).collect();
    let any = |state: EngineState| engines.iter().any(|engine| engine.state == state);
    let status = if api.app.drain.is_draining() {
        "draining"
    } else if any(EngineState::Ready) || engines.is_empty() {
        "ready"
    } else if any(EngineState::Loading) {
        "loading"
    } else {
        "failed"
    };
    let code = if status == "ready" {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let engines = engines
        .into_iter()
        .map(|engine| EngineReadiness {
            index: engine.index,
            name: engine.name,
            state: engine.state.name(),
        })
        .collect();
    (
        code,
        [(header::CACHE_CONTROL, "no-store")],
        Json(Readiness { status, engines }),
    )
        .into_response()
}

/// `GET /metrics`
pub(crate) async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let app = &api.app;
    let models = app.roster.loaded();
    let page = app
        .metrics
        .render(&models.iter().map(|model| model.scraped()).collect::<Vec<_>>());
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], page).into_response()
}
