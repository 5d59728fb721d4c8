//! The exposition as a scraper reads it: names, single series, counters that only grow.

use std::collections::BTreeMap;

use engine::EngineState;

use super::*;

fn card() -> ModelCard {
    ModelCard {
        id: "tandem-tiny".to_owned(),
        aliases: Vec::new(),
        stand_ins: Vec::new(),
        created: 0,
        context_tokens: 128,
        architecture: "qwen2".to_owned(),
        file: "embedded".to_owned(),
    }
}

fn engine(index: usize, running: usize, kv_blocks_used: usize) -> EngineStatus {
    EngineStatus {
        index,
        name: "cpu".to_owned(),
        state: EngineState::Ready,
        failure: None,
        running,
        waiting: 2,
        paused: 0,
        kv_blocks: 100,
        kv_blocks_used,
        kv_blocks_cached: 0,
        prompt_tokens: 10,
        generation_tokens: 20,
        prefix_queries_tokens: 10,
        prefix_hits_tokens: 4,
        preemptions: 1,
        steps: 30,
        batch_rows_last: 5,
        requests_finished: 0,
        requests_cancelled: 0,
        requests_failed: 0,
        rows_not_finite: 0,
        requests_moved: 0,
        failures: 0,
        builds: 1,
    }
}

/// Reads the text format as strictly as Go's `expfmt`: one HELP and TYPE per family, before its samples, families in
/// one piece, no series twice.
fn parse(page: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut families = Vec::new();
    let mut family = String::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().unwrap().to_owned();
            assert!(!families.contains(&family), "family {family} twice");
            families.push(family.clone());
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let stem = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end));
            assert!(name == family || stem == Some(&family), "{name} stands under {family}");
            assert!(
                samples.insert(series.to_owned(), value.parse().unwrap()).is_none(),
                "series {series} twice"
            );
        }
    }
    samples
}

fn page(metrics: &Metrics) -> BTreeMap<String, f64> {
    parse(&metrics.render(&[Scraped {
        card: &card(),
        engines: vec![engine(0, 1, 25), engine(1, 3, 75)],
        devices: None,
    }]))
}

fn metrics() -> Metrics {
    let metrics = Metrics::new().unwrap();
    metrics.show_model("tandem-tiny");
    metrics
}

#[test]
fn devices_that_engines_share_say_how_long_they_computed_and_waited() {
    use std::time::Duration;
    let device = |name: &str, busy| models::DeviceStatus {
        name: name.to_owned(),
        busy: Duration::from_millis(busy),
        idle: Duration::from_millis(2000 - busy),
    };
    let status = models::DevicesStatus {
        devices: vec![device("cuda:0", 1500), device("cuda:1", 750)],
        together: Duration::from_millis(250),
        builds: 1,
    };
    let page = parse(&metrics().render(&[Scraped {
        card: &card(),
        engines: Vec::new(),
        devices: Some(status),
    }]));
    for (series, value) in [
        (
            "tandem_device_busy_seconds_total{device=\"cuda:0\",model=\"tandem-tiny\"}",
            1.5,
        ),
        (
            "tandem_device_idle_seconds_total{device=\"cuda:1\",model=\"tandem-tiny\"}",
            1.25,
        ),
        ("tandem_devices_together_seconds_total{model=\"tandem-tiny\"}", 0.25),
        ("tandem_devices_builds_total{model=\"tandem-tiny\"}", 1.0),
    ] {
        assert_eq!(page.get(series), Some(&value), "{series}");
    }
}

#[test]
fn routers_find_each_of_their_families_as_one_series_of_the_whole_process() {
    let page = page(&metrics());
    let model = "{model_name=\"tandem-tiny\"}";
    for (name, value) in [
        ("vllm:num_requests_running", 4.0),
        ("vllm:num_requests_waiting", 4.0),
        ("vllm:kv_cache_usage_perc", 0.5),
        ("vllm:gpu_cache_usage_perc", 0.5),
        ("vllm:prefix_cache_queries_total", 20.0),
        ("vllm:prefix_cache_hits_total", 8.0),
        ("vllm:gpu_prefix_cache_queries_total", 20.0),
        ("vllm:gpu_prefix_cache_hits_total", 8.0),
        ("vllm:prompt_tokens_total", 20.0),
        ("vllm:generation_tokens_total", 40.0),
        ("vllm:time_to_first_token_seconds_count", 0.0),
        ("vllm:inter_token_latency_seconds_count", 0.0),
        ("vllm:e2e_request_latency_seconds_count", 0.0),
        ("vllm:request_queue_time_seconds_count", 0.0),
    ] {
        let series: Vec<_> = page
            .iter()
            .filter(|(series, _)| series.split('{').next() == Some(name))
            .collect();
        assert_eq!(series, [(&format!("{name}{model}"), &value)], "{name}");
    }
    let count = |start: &str| page.keys().filter(|series| series.starts_with(start)).count();
    assert_eq!(count("vllm:cache_config_info{"), 1);
    assert_eq!(count("vllm:lora_requests_info{"), 1);
    let config = page
        .keys()
        .find(|series| series.starts_with("vllm:cache_config_info"))
        .unwrap();
    assert!(
        config.contains("block_size=\"16\"") && config.contains("num_gpu_blocks=\"200\""),
        "{config}"
    );
}

#[test]
fn every_engine_has_its_own_series() {
    let page = page(&metrics());
    assert_eq!(
        page["tandem_engine_requests_running{engine=\"1\",model=\"tandem-tiny\"}"],
        3.0
    );
    assert_eq!(
        page["tandem_engine_requests_waiting{engine=\"0\",model=\"tandem-tiny\"}"],
        2.0
    );
    assert_eq!(
        page["tandem_engine_kv_used_ratio{engine=\"1\",model=\"tandem-tiny\"}"],
        0.75
    );
    assert_eq!(
        page["tandem_engine_batch_size{engine=\"0\",model=\"tandem-tiny\"}"],
        5.0
    );
    assert_eq!(
        page["tandem_engine_state{device=\"cpu\",engine=\"0\",state=\"ready\",model=\"tandem-tiny\"}"],
        1.0
    );
    assert_eq!(
        page["tandem_engine_tokens_total{engine=\"0\",type=\"generation\",model=\"tandem-tiny\"}"],
        20.0
    );
    assert_eq!(
        page["tandem_engine_preemptions_total{engine=\"1\",model=\"tandem-tiny\"}"],
        1.0
    );
    assert_eq!(page["tandem_up_engines{model=\"tandem-tiny\"}"], 2.0);
}

#[test]
fn a_finished_request_counts_its_tokens_and_times_once() {
    let metrics = metrics();
    let mut timer = metrics.request_started("tandem-tiny");
    timer.admitted(7, 3);
    timer.admitted(7, 3);
    timer.token(0);
    timer.token(0);
    timer.token(1);
    timer.finished(
        "stop",
        TokenUse {
            prompt: 7,
            cached: 3,
            output: 3,
            reasoning: 1,
        },
    );
    let page = page(&metrics);
    let model = "{model_name=\"tandem-tiny\"}";
    assert_eq!(page[&format!("vllm:request_queue_time_seconds_count{model}")], 1.0);
    assert_eq!(page[&format!("vllm:time_to_first_token_seconds_count{model}")], 1.0);
    assert_eq!(
        page[&format!("vllm:inter_token_latency_seconds_count{model}")],
        1.0,
        "between tokens of one choice"
    );
    assert_eq!(page[&format!("vllm:e2e_request_latency_seconds_count{model}")], 1.0);
    assert_eq!(
        page["vllm:request_success_total{finished_reason=\"stop\",model_name=\"tandem-tiny\"}"],
        1.0
    );
    for (kind, count) in [
        ("input", 7.0),
        ("cached_input", 3.0),
        ("output", 3.0),
        ("reasoning", 1.0),
    ] {
        assert_eq!(
            page[&format!("tandem_tokens_total{{model=\"tandem-tiny\",type=\"{kind}\"}}")],
            count
        );
    }
    assert_eq!(page["tandem_aborted_total{reason=\"client_gone\"}"], 0.0);
}

#[test]
fn a_dropped_timer_is_a_client_that_left_and_its_tokens_still_count() {
    let metrics = metrics();
    let mut timer = metrics.request_started("tandem-tiny");
    timer.admitted(7, 0);
    timer.token(0);
    drop(timer);
    let page = page(&metrics);
    assert_eq!(page["tandem_aborted_total{reason=\"client_gone\"}"], 1.0);
    assert_eq!(
        page["vllm:request_success_total{finished_reason=\"abort\",model_name=\"tandem-tiny\"}"],
        1.0
    );
    assert_eq!(page["tandem_tokens_total{model=\"tandem-tiny\",type=\"input\"}"], 7.0);
    assert_eq!(page["tandem_tokens_total{model=\"tandem-tiny\",type=\"output\"}"], 1.0);
}

#[test]
fn what_we_cut_and_what_we_refuse_are_not_clients_that_left() {
    let metrics = metrics();
    metrics
        .request_started("tandem-tiny")
        .aborted(Abort::Shutdown, TokenUse::default());
    metrics
        .request_started("tandem-tiny")
        .aborted(Abort::Engine, TokenUse::default());
    metrics.request_started("tandem-tiny").refused();
    let page = page(&metrics);
    for (reason, count) in [("client_gone", 0.0), ("shutdown", 1.0), ("engine", 1.0)] {
        assert_eq!(
            page[&format!("tandem_aborted_total{{reason=\"{reason}\"}}")],
            count,
            "{reason}"
        );
    }
}

#[test]
fn counters_never_fall_and_gauges_go_back() {
    let metrics = metrics();
    let before = page(&metrics);
    let held = (metrics.connection_opened(), metrics.in_flight());
    metrics.answered("/v1/chat/completions", 200);
    metrics.answered("/v1/chat/completions", 429);
    assert_eq!(page(&metrics)["tandem_connections_open"], 1.0);
    drop(held);
    let after = page(&metrics);
    assert_eq!(after["tandem_connections_open"], 0.0);
    assert_eq!(after["tandem_http_requests_in_flight"], 0.0);
    for (series, value) in before.iter().filter(|(series, _)| series.contains("_total")) {
        assert!(after[series] >= *value, "{series} fell");
    }
    let refused = "tandem_requests_total{api=\"/v1/chat/completions\",code=\"429\"}";
    assert_eq!(after[refused], 1.0);
}

#[test]
fn a_model_name_cannot_break_the_page() {
    let metrics = metrics();
    let card = ModelCard {
        id: "a\"b\\c\nd".to_owned(),
        ..card()
    };
    metrics.show_model(&card.id);
    let page = parse(&metrics.render(&[Scraped {
        card: &card,
        engines: Vec::new(),
        devices: None,
    }]));
    assert!(
        page.contains_key("vllm:num_requests_running{model_name=\"a\\\"b\\\\c\\nd\"}"),
        "{page:?}"
    );
}

#[test]
fn two_models_stand_in_the_same_families_under_their_names() {
    let metrics = metrics();
    metrics.show_model("other");
    let (tiny, other) = (
        card(),
        ModelCard {
            id: "other".to_owned(),
            ..card()
        },
    );
    let scraped = [(&tiny, 1), (&other, 3)].map(|(card, running)| Scraped {
        card,
        engines: vec![engine(0, running, 25)],
        devices: None,
    });
    let page = parse(&metrics.render(&scraped));
    for (model, running) in [("tandem-tiny", 1.0), ("other", 3.0)] {
        let label = |name: &str| format!("{{{name}=\"{model}\"}}");
        assert_eq!(
            page[&format!("vllm:num_requests_running{}", label("model_name"))],
            running
        );
        assert_eq!(page[&format!("tandem_up_engines{}", label("model"))], 1.0);
    }
}
