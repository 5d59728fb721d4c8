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
use prometheus::proto::MetricFamily;
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
}

/// What one model's engines and devices say of themselves at a scrape.
pub(crate) struct Scraped<'a> {
    pub(crate) card: &'a ModelCard,
    pub(crate) engines: Vec<EngineStatus>,
    /// Those that several engines share.
    pub(crate) devices: Option<DevicesStatus>,
}

impl Metrics {
    /// Counters at zero.
    ///
    /// # Errors
    /// Two families with one name: our bug, found by the first test that runs.
    pub(crate) fn new() -> Result<Metrics, prometheus::Error> {
        let registry = Registry::new();
        let families = Arc::new(Families::register(&registry)?);
        Ok(Metrics { registry, families })
    }

    /// Shows every series of the model named `model` from the next scrape on, at zero.
    pub(crate) fn show_model(&self, model: &str) {
        self.families.show_zeros(model);
    }

    /// The whole page.
    pub(crate) fn render(&self, models: &[Scraped<'_>]) -> String {
        let mut families = self.registry.gather();
        for model in models {
            let devices = model.devices.as_ref();
            let devices = devices.map_or(Ok(Vec::new()), |devices| devices::gather(devices, model.card));
            for gathered in [engines::gather(&model.engines, model.card), devices] {
                match gathered {
                    Ok(more) => merge(&mut families, more),
                    Err(error) => tracing::error!(%error, "series are missing from /metrics"),
                }
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
    pub(crate) fn request_started(&self, model: &str) -> RequestTimer {
        RequestTimer::start(self.families.clone(), model.into())
    }

    /// Counts one HTTP answer, whatever its status. `api` is a route's pattern, never a path as sent.
    pub(crate) fn answered(&self, api: &str, status: u16) {
        add(&self.families.requests, &[api, status.to_string().as_str()], 1);
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

/// Adds families to `all`; those of one name become one.
fn merge(all: &mut Vec<MetricFamily>, more: Vec<MetricFamily>) {
    for mut family in more {
        match all.iter_mut().find(|known| known.name() == family.name()) {
            Some(known) => known.mut_metric().extend(family.take_metric()),
            None => all.push(family),
        }
    }
}

/// A registry whose series all name their model.
fn of_model(card: &ModelCard) -> Result<Registry, prometheus::Error> {
    let label = ("model".to_owned(), card.id.clone());
    Registry::new_custom(None, Some([label].into()))
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
