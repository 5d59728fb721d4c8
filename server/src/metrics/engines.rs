//! What the engines say of themselves, turned into series at each scrape: summed for routers, one by one for people.

use engine::{BLOCK_TOKENS, EngineState, EngineStatus};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::families::{add, registered};
use super::of_model;
use crate::app::ModelCard;

/// Every family that is read from `engines`, by name.
pub(super) fn gather(engines: &[EngineStatus], card: &ModelCard) -> Result<Vec<MetricFamily>, prometheus::Error> {
    let registry = Registry::new();
    router_block(&registry, engines, card)?;
    let by_model = of_model(card)?;
    engine_gauges(&by_model, engines)?;
    engine_counters(&by_model, engines)?;
    let mut families = registry.gather();
    families.extend(by_model.gather());
    Ok(families)
}

/// vLLM's names with the label `model_name` alone: a router reads the process as one engine.
fn router_block(registry: &Registry, engines: &[EngineStatus], card: &ModelCard) -> Result<(), prometheus::Error> {
    let sum = |field: fn(&EngineStatus) -> usize| engines.iter().map(field).sum::<usize>();
    let total = |field: fn(&EngineStatus) -> u64| engines.iter().map(field).sum::<u64>();
    let blocks = sum(|engine| engine.kv_blocks);
    let used = share(sum(|engine| engine.kv_blocks_used), blocks);
    let gauge = |name: &str, help: &str, value: f64| -> Result<(), prometheus::Error> {
        let opts = Opts::new(name, help).const_label("model_name", &card.id);
        registered(registry, Gauge::with_opts(opts)?)?.set(value);
        Ok(())
    };
    let counter = |name: &str, help: &str, value: u64| -> Result<(), prometheus::Error> {
        let opts = Opts::new(name, help).const_label("model_name", &card.id);
        registered(registry, IntCounter::with_opts(opts)?)?.inc_by(value);
        Ok(())
    };
    gauge(
        "vllm:num_requests_running",
        "Requests in the engines' batches.",
        sum(|engine| engine.running) as f64,
    )?;
    gauge(
        "vllm:num_requests_waiting",
        "Requests waiting for a place.",
        sum(|engine| engine.waiting) as f64,
    )?;
    let kv_help = "Share of the KV blocks in use, 0 to 1.";
    // Two names for one value: readers of either age of vLLM find theirs.
    gauge("vllm:kv_cache_usage_perc", kv_help, used)?;
    gauge("vllm:gpu_cache_usage_perc", kv_help, used)?;
    let (queries, hits) = (
        total(|engine| engine.prefix_queries_tokens),
        total(|engine| engine.prefix_hits_tokens),
    );
    for prefix in ["vllm:prefix_cache", "vllm:gpu_prefix_cache"] {
        counter(
            &format!("{prefix}_queries_total"),
            "Prompt tokens looked up in the prefix cache.",
            queries,
        )?;
        counter(
            &format!("{prefix}_hits_total"),
            "Prompt tokens found in the prefix cache.",
            hits,
        )?;
    }
    counter(
        "vllm:prompt_tokens_total",
        "Prompt tokens computed.",
        total(|engine| engine.prompt_tokens),
    )?;
    counter(
        "vllm:generation_tokens_total",
        "Tokens generated.",
        total(|engine| engine.generation_tokens),
    )?;
    counter(
        "vllm:num_preemptions_total",
        "Requests put back for want of blocks.",
        total(|engine| engine.preemptions),
    )?;
    constants(registry, blocks, card)
}

/// The facts that vLLM tells as labels of series that are always 1.
fn constants(registry: &Registry, blocks: usize, card: &ModelCard) -> Result<(), prometheus::Error> {
    constant(
        registry,
        Opts::new("vllm:cache_config_info", "The KV cache's measures.")
            .const_label("model_name", &card.id)
            .const_label("block_size", BLOCK_TOKENS.to_string())
            .const_label("num_gpu_blocks", blocks.to_string()),
    )?;
    // There are no adapters; the series is here because Higress' default policy fails without it.
    constant(
        registry,
        Opts::new("vllm:lora_requests_info", "Adapters: none.")
            .const_label("model_name", &card.id)
            .const_label("max_lora", "0")
            .const_label("running_lora_adapters", "")
            .const_label("waiting_lora_adapters", ""),
    )
}

fn engine_gauges(registry: &Registry, engines: &[EngineStatus]) -> Result<(), prometheus::Error> {
    let gauge = |name: &str, help: &str, labels: &[&str]| {
        registered(registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
    };
    let state = gauge(
        "tandem_engine_state",
        "1 for the state the engine is in.",
        &["engine", "device", "state"],
    )?;
    let running = gauge(
        "tandem_engine_requests_running",
        "Requests in the engine's batch.",
        &["engine"],
    )?;
    let waiting = gauge(
        "tandem_engine_requests_waiting",
        "Requests in the engine's queue.",
        &["engine"],
    )?;
    let batch = gauge(
        "tandem_engine_batch_size",
        "Rows of the engine's last step.",
        &["engine"],
    )?;
    let used = Opts::new(
        "tandem_engine_kv_used_ratio",
        "Share of the engine's KV blocks in use, 0 to 1.",
    );
    let used = registered(registry, GaugeVec::new(used, &["engine"])?)?;
    for engine in engines {
        let index = engine.index.to_string();
        let index = index.as_str();
        state
            .get_metric_with_label_values(&[index, &engine.name, engine.state.name()])?
            .set(1);
        running
            .get_metric_with_label_values(&[index])?
            .set(gauge_value(engine.running));
        waiting
            .get_metric_with_label_values(&[index])?
            .set(gauge_value(engine.waiting));
        batch
            .get_metric_with_label_values(&[index])?
            .set(gauge_value(engine.batch_rows_last));
        used.get_metric_with_label_values(&[index])?
            .set(share(engine.kv_blocks_used, engine.kv_blocks));
    }
    let up = engines
        .iter()
        .filter(|engine| matches!(engine.state, EngineState::Ready))
        .count();
    let opts = Opts::new("tandem_up_engines", "Engines ready to work.");
    registered(registry, Gauge::with_opts(opts)?)?.set(up as f64);
    Ok(())
}

fn engine_counters(registry: &Registry, engines: &[EngineStatus]) -> Result<(), prometheus::Error> {
    let counts = |name: &str, help: &str, labels: &[&str]| {
        registered(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
    };
    let tokens = counts(
        "tandem_engine_tokens_total",
        "Tokens the engine computed.",
        &["engine", "type"],
    )?;
    let preemptions = counts(
        "tandem_engine_preemptions_total",
        "Requests the engine put back for want of blocks.",
        &["engine"],
    )?;
    let steps = counts("tandem_engine_steps_total", "Steps the engine ran.", &["engine"])?;
    for engine in engines {
        let index = engine.index.to_string();
        let index = index.as_str();
        add(&tokens, &[index, "prompt"], engine.prompt_tokens);
        add(&tokens, &[index, "generation"], engine.generation_tokens);
        add(&preemptions, &[index], engine.preemptions);
        add(&steps, &[index], engine.steps);
    }
    Ok(())
}

fn constant(registry: &Registry, opts: Opts) -> Result<(), prometheus::Error> {
    registered(registry, Gauge::with_opts(opts)?)?.set(1.0);
    Ok(())
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn gauge_value(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
