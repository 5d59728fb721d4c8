//! The start-up lines: what runs, with what memory, and where to point a client.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;

use engine::EngineState;

use super::Loaded;
use crate::config::{Config, LogFormat};
use crate::paint::Paint;
use crate::plan::placement_lines;
use crate::roster::Served;
use crate::units::{bytes, grouped, parameters};

/// Tells whoever started the program that it is ready: as lines for people, as one event for machines.
pub(super) fn show(loaded: &Loaded, config: &Config, address: SocketAddr) {
    let Some(served) = loaded.app.roster.loaded().into_iter().next() else {
        return;
    };
    if config.log_format == LogFormat::Json {
        let model = &served.card;
        let engines = config.devices.len();
        let (kv_tokens, kv) = (loaded.plan.kv_tokens, config.kv.name());
        let (placement, context) = (loaded.plan.choice.plan.layout.placement.name(), model.context_tokens);
        let kv_bytes: u64 = loaded.plan.choice.plan.held.iter().map(|held| held.kv).sum();
        for (engine, reason) in failed(&served) {
            tracing::error!(engine, reason, "an engine could not start, the others serve");
        }
        tracing::info!(%address, model = model.id, engines, placement, kv_tokens, kv_bytes, kv, context, "ready");
        return;
    }
    let text = lines(loaded, &served, config, address, Paint::on(&std::io::stderr()));
    // Nobody can be told that stderr is gone.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn lines(loaded: &Loaded, served: &Served, config: &Config, address: SocketAddr, paint: Paint) -> String {
    let (model, facts, plan) = (&served.card, &loaded.facts, &loaded.plan);
    let mut page = format!(
        "\n  {} {}\n\n",
        paint.bold("Tandem"),
        paint.dim(env!("CARGO_PKG_VERSION"))
    );
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(page, "  {} {value}", paint.dim(&format!("{name:<9}")));
    };
    line(
        "model",
        format!(
            "{}: {}, {}, {} parameters, {}",
            paint.bold(&model.id),
            model.architecture,
            facts.quantisation,
            parameters(facts.parameters),
            model.file
        ),
    );
    line("template", facts.template.clone());
    line("engines", engines(config));
    for (index, reason) in failed(served) {
        line("failed", format!("engine {index}: {reason}; the others serve"));
    }
    for (name, text) in placement_lines(plan, config.kv) {
        line(name, text);
    }
    line(
        "loaded",
        format!("{} in {:.1} s", bytes(facts.weight_bytes), loaded.load_seconds),
    );
    line(
        "context",
        format!("{} tokens, prompt and reply together", grouped(plan.context)),
    );
    let base = format!("http://{}", reachable(address));
    let _ = write!(
        page,
        "\n  {} {}\n  {} base URL {}, model {}, any API key\n  {} Ctrl-C; running replies get {} s to end\n\n",
        paint.dim("listening"),
        paint.accent(&base),
        paint.dim("clients  "),
        paint.accent(&format!("{base}/v1")),
        paint.bold(&model.id),
        paint.dim("stop     "),
        config.drain.as_secs(),
    );
    page
}

/// Engines that could not start, and why.
fn failed(served: &Served) -> Vec<(usize, String)> {
    let engines = served.engines.status().into_iter();
    let failed = engines.filter(|engine| engine.state == EngineState::Failed);
    failed
        .filter_map(|engine| Some((engine.index, engine.failure?)))
        .collect()
}

/// `2 (cpu, cpu), 8 requests at a time each, 64 may wait; dealt in turn 3:1`.
fn engines(config: &Config) -> String {
    let devices: Vec<String> = config.devices.iter().map(ToString::to_string).collect();
    let mut text = format!(
        "{} ({}), {} at a time each, {} more may wait",
        config.devices.len(),
        devices.join(", "),
        config.slots,
        config.queue
    );
    if config.weights.iter().any(|weight| *weight != 1) {
        let weights: Vec<String> = config.weights.iter().map(u32::to_string).collect();
        let _ = write!(text, "; dealt {}", weights.join(":"));
    } else if config.devices.len() > 1 {
        text.push_str("; dealt in turn");
    }
    text
}

/// An address that a client on this machine can use: nobody connects to 0.0.0.0.
fn reachable(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    }
}
