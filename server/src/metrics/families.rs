//! The families that the process counts itself, registered once.

use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// vLLM's boundaries, in seconds: dashboards made for vLLM need them to the letter.
const FIRST_TOKEN_BUCKETS: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
    160.0, 640.0, 2560.0,
];
const INTER_TOKEN_BUCKETS: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
];
const REQUEST_BUCKETS: &[f64] = &[
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0,
    1920.0, 7680.0,
];

/// vLLM's values of `finished_reason`.
pub(super) const FINISHED_REASONS: [&str; 4] = ["stop", "length", "abort", "error"];

/// Every reason that [`Families::aborted`] counts.
pub(super) const ABORT_REASONS: [&str; 3] = ["client_gone", "shutdown", "engine"];

/// Every kind that [`Families::tokens`] counts.
const TOKEN_KINDS: [&str; 4] = ["input", "cached_input", "output", "reasoning"];

pub(super) struct Families {
    pub(super) latency: Latency,
    pub(super) finished: IntCounterVec,
    pub(super) requests: IntCounterVec,
    pub(super) tokens: IntCounterVec,
    pub(super) aborted: IntCounterVec,
    pub(super) connections_open: IntGauge,
    pub(super) connections_evicted: IntCounter,
    pub(super) connections_refused: IntCounter,
    pub(super) requests_in_flight: IntGauge,
    pub(super) draining: IntGauge,
}

/// How long things took, in seconds.
pub(super) struct Latency {
    pub(super) first_token: HistogramVec,
    pub(super) inter_token: HistogramVec,
    pub(super) request: HistogramVec,
    pub(super) queue: HistogramVec,
}

impl Latency {
    fn register(registry: &Registry) -> Result<Latency, prometheus::Error> {
        let seconds = |name: &str, help: &str, buckets: &[f64]| {
            let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            registered(registry, HistogramVec::new(opts, &["model_name"])?)
        };
        Ok(Latency {
            first_token: seconds(
                "vllm:time_to_first_token_seconds",
                "From the request's start to its first token.",
                FIRST_TOKEN_BUCKETS,
            )?,
            inter_token: seconds(
                "vllm:inter_token_latency_seconds",
                "Between two tokens of one reply.",
                INTER_TOKEN_BUCKETS,
            )?,
            request: seconds(
                "vllm:e2e_request_latency_seconds",
                "From the request's start to its last token.",
                REQUEST_BUCKETS,
            )?,
            queue: seconds(
                "vllm:request_queue_time_seconds",
                "From the request's start until an engine began with it.",
                REQUEST_BUCKETS,
            )?,
        })
    }
}

impl Families {
    pub(super) fn register(registry: &Registry) -> Result<Families, prometheus::Error> {
        let counts = |name: &str, help: &str, labels: &[&str]| {
            registered(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let counter = |name: &str, help: &str| registered(registry, IntCounter::new(name, help)?);
        let gauge = |name: &str, help: &str| registered(registry, IntGauge::new(name, help)?);
        let families = Families {
            latency: Latency::register(registry)?,
            finished: counts(
                "vllm:request_success_total",
                "Generation requests that ended, by why.",
                &["model_name", "finished_reason"],
            )?,
            requests: counts(
                "tandem_requests_total",
                "HTTP requests answered, refusals included.",
                &["api", "code"],
            )?,
            tokens: counts(
                "tandem_tokens_total",
                "Tokens of ended requests; cached_input is part of input, reasoning of output.",
                &["model", "type"],
            )?,
            aborted: counts(
                "tandem_aborted_total",
                "Generation requests cut short, by why.",
                &["reason"],
            )?,
            connections_open: gauge("tandem_connections_open", "Open client connections.")?,
            connections_evicted: counter(
                "tandem_connections_evicted_total",
                "Waiting connections closed to make room for a new one.",
            )?,
            connections_refused: counter(
                "tandem_connections_refused_total",
                "Connections answered 503 because all places held a running request.",
            )?,
            requests_in_flight: gauge("tandem_http_requests_in_flight", "Requests whose answer has not ended.")?,
            draining: gauge("tandem_draining", "1 once the process has been told to stop.")?,
        };
        build_info(registry)?;
        Ok(families)
    }

    /// Brings every series that a model has into being, so that rates work from the first event on.
    pub(super) fn show_zeros(&self, model: &str) {
        let latency = &self.latency;
        for family in [
            &latency.first_token,
            &latency.inter_token,
            &latency.request,
            &latency.queue,
        ] {
            observe(family, model, None);
        }
        FINISHED_REASONS
            .iter()
            .for_each(|reason| add(&self.finished, &[model, reason], 0));
        ABORT_REASONS.iter().for_each(|reason| add(&self.aborted, &[reason], 0));
        TOKEN_KINDS.iter().for_each(|kind| add(&self.tokens, &[model, kind], 0));
    }
}

/// Adds to one series of a family.
pub(super) fn add(family: &IntCounterVec, labels: &[&str], count: u64) {
    // Fails only for a wrong number of labels, which would be our bug and must not end a request.
    if let Ok(series) = family.get_metric_with_label_values(labels) {
        series.inc_by(count);
    }
}

/// Adds an observation, or only brings the series into being.
pub(super) fn observe(family: &HistogramVec, model: &str, seconds: Option<f64>) {
    // As in `add`.
    if let Ok(series) = family.get_metric_with_label_values(&[model])
        && let Some(seconds) = seconds
    {
        series.observe(seconds);
    }
}

/// Registers a clone and returns the original.
pub(super) fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    family: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

fn build_info(registry: &Registry) -> Result<(), prometheus::Error> {
    let opts = Opts::new("tandem_build_info", "Always 1; the labels say what runs.")
        .const_label("version", env!("CARGO_PKG_VERSION"))
        .const_label("revision", option_env!("TANDEM_REVISION").unwrap_or("unknown"));
    registered(registry, IntGauge::with_opts(opts)?)?.set(1);
    Ok(())
}
