//! `/metrics`: a page that every scraper can read, with counters that move by exactly what happened.

use std::collections::{HashMap, HashSet};

use serde_json::json;

use crate::support::*;

/// The series that routers and dashboards made for vLLM look for: each exactly once.
const ROUTER_BLOCK: [&str; 12] = [
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "vllm:kv_cache_usage_perc",
    "vllm:gpu_cache_usage_perc",
    "vllm:cache_config_info",
    "vllm:lora_requests_info",
    "vllm:prefix_cache_queries_total",
    "vllm:prefix_cache_hits_total",
    "vllm:prompt_tokens_total",
    "vllm:generation_tokens_total",
    "vllm:time_to_first_token_seconds_count",
    "vllm:e2e_request_latency_seconds_count",
];

/// Splits a series line into its name with labels and its value.
fn series(line: &str) -> (&str, f64) {
    let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a series: {line}"));
    (name, value.parse().unwrap_or_else(|_| panic!("not a number: {line}")))
}

fn check_labels(line: &str, labels: &str) {
    let mut rest = labels;
    while !rest.is_empty() {
        let (name, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("not a label: {line}"));
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{line}");
        let mut escaped = false;
        let end = value.find(|c| {
            let closes = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            closes
        });
        rest = &value[end.unwrap_or_else(|| panic!("an open label: {line}")) + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

#[test]
fn the_page_follows_the_text_format() {
    let server = Server::start();
    check_serves(&server);
    let reply = server.get("/metrics");
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4"));
    let page = reply.text();
    assert!(page.ends_with('\n'), "the last line ends");

    let mut types = HashMap::new();
    let mut seen = HashSet::new();
    for line in page.lines() {
        assert!(!line.is_empty(), "an empty line");
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(
                ["counter", "gauge", "histogram", "summary", "untyped"].contains(&kind),
                "{line}"
            );
            assert_eq!(types.insert(name, kind), None, "two types: {line}");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (series, _) = series(line);
        assert!(seen.insert(series), "twice: {line}");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        check_labels(
            line,
            labels
                .strip_suffix('}')
                .unwrap_or_else(|| panic!("an open label set: {line}")),
        );
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .unwrap_or(name);
        assert!(
            types.contains_key(name) || types.get(base) == Some(&"histogram"),
            "no type before {line}"
        );
    }
    for name in ROUTER_BLOCK {
        metric(&server, name, "model_name=");
    }
}

#[test]
fn counters_move_by_what_a_request_used() {
    let server = Server::start();
    check_serves(&server);
    let counters = || {
        [
            "vllm:prompt_tokens_total",
            "vllm:generation_tokens_total",
            "vllm:e2e_request_latency_seconds_count",
        ]
        .map(|name| metric(&server, name, ""))
    };
    let before = counters();
    let reply = server.post(CHAT, &chat("What is 12 + 30?")).ok();
    let after = counters();
    let used = |field: &str| reply["usage"][field].as_f64().unwrap();
    assert_eq!(after[0] - before[0], used("prompt_tokens"));
    assert_eq!(after[1] - before[1], used("completion_tokens"));
    assert_eq!(after[2] - before[2], 1.0);
}

#[test]
fn every_end_is_counted_under_its_reason() {
    let server = Server::start();
    let ended = |reason: &str| {
        metric(
            &server,
            "vllm:request_success_total",
            &format!("finished_reason=\"{reason}\""),
        )
    };
    let (stop, length) = (ended("stop"), ended("length"));
    server.post(CHAT, &chat("hello")).ok();
    server.post(COMPLETIONS, &endless(2)).ok();
    assert_eq!((ended("stop") - stop, ended("length") - length), (1.0, 1.0));
}

#[test]
fn gauges_show_what_is_running_and_fall_back_to_nothing() {
    let server = Server::with(&["--devices", "cpu"]);
    assert_eq!(running_and_waiting(&server), (0.0, 0.0));
    let tokens = context_tokens(&server) - 16;
    let events = server.stream(COMPLETIONS, &with(endless(tokens), json!({"stream": true})));
    wait_until("one runs and holds memory", || {
        running_and_waiting(&server).0 == 1.0 && metric(&server, "vllm:kv_cache_usage_perc", "") > 0.0
    });
    drop(events);
    wait_until_idle(&server);
}
