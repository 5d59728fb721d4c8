//! Counters, gauges and histograms, and the page `/metrics` that shows them to Prometheus.
//!
//! Two audiences. Routers and dashboards made for vLLM read the `vllm:` block: one series each, summed over the
//! engines, with vLLM's bucket boundaries. People read the `tandem_` series, one per engine.

mod devices;
mod engines;
mod families;
mod timer;

use std::sync::Arc;

use engine::EngineStatus;
use models::DevicesStatus;
use prometheus::{IntGauge, Registry, TextEncoder};

use crate::app::ModelCard;
use families::{Families, add};

pub(crate) use timer::{Abort, RequestTimer, TokenUse};

/// The `Content-Type` of [`Metrics::render`]'s text: Prometheus' text format, readable by every scraper.
pub(crate) const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// All counters of the process. Cloning is cheap; clones count together.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Registry,
    families: Arc<Families>,
    model: Arc<str>,
}

impl Metrics {
    /// Counters at zero for the model named `model`, with every series there from the first scrape on.
    ///
    /// # Errors
    /// Two families with one name: our bug, found by the first test that runs.
    pub(crate) fn new(model: &str) -> Result<Metrics, prometheus::Error> {
        let registry = Registry::new();
        let families = Arc::new(Families::register(&registry, model)?);
        Ok(Metrics {
            registry,
            families,
            model: model.into(),
        })
    }

    /// The whole page.
    pub(crate) fn render(&self, engines: &[EngineStatus], devices: Option<&DevicesStatus>, card: &ModelCard) -> String {
        let mut families = self.registry.gather();
        let devices = devices.map_or(Ok(Vec::new()), devices::gather);
        for gathered in [engines::gather(engines, card), devices] {
            match gathered {
                Ok(more) => families.extend(more),
                Err(error) => tracing::error!(%error, "series are missing from /metrics"),
            }
        }
        families.sort_by(|a, b| a.name().cmp(b.name()));
        let mut page = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&families, &mut page) {
            tracing::error!(%error, "could not write /metrics");
        }
        page
    }

    /// Starts the clock of one generation request that has passed its checks.
    pub(crate) fn request_started(&self) -> RequestTimer {
        RequestTimer::start(self.families.clone(), self.model.clone())
    }

    /// Counts one HTTP answer, whatever its status. `api` is a route's pattern, never a path as sent.
    pub(crate) fn answered(&self, api: &str, status: u16) {
        add(
            &self.families.requests,
            &[&self.model, api, status.to_string().as_str()],
            1,
        );
    }

    /// Counts an open connection for as long as the result lives.
    pub(crate) fn connection_opened(&self) -> Held {
        Held::new(&self.families.connections_open)
    }

    /// Counts a request in flight for as long as the result lives.
    pub(crate) fn in_flight(&self) -> Held {
        Held::new(&self.families.requests_in_flight)
    }

    /// Counts a connection closed to make room for another.
    pub(crate) fn connection_evicted(&self) {
        self.families.connections_evicted.inc();
    }

    /// Counts a connection answered 503 because every place was taken by a request.
    pub(crate) fn connection_refused(&self) {
        self.families.connections_refused.inc();
    }

    /// Shows that the process is leaving.
    pub(crate) fn draining(&self) {
        self.families.draining.set(1);
    }
}

/// One unit of a gauge, given back on drop.
pub(crate) struct Held(IntGauge);

impl Held {
    fn new(gauge: &IntGauge) -> Held {
        gauge.inc();
        Held(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests;
