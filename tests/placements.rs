//! One model on several devices, seen over HTTP: the answers are those of one device, and one device lost is not all.

use std::sync::Barrier;
use std::thread;

use serde_json::json;

use crate::support::*;

const TEXTS: [&str; 6] = [
    ADD_PROGRAM,
    "What is 12 + 30?",
    "How much is 7 plus 8?",
    "计算45+54",
    "55+45=?",
    "hello",
];

/// Streams, all at once; the answers in the order of [`TEXTS`].
fn at_once(server: &Server) -> Vec<Answer> {
    let start = Barrier::new(TEXTS.len());
    thread::scope(|scope| {
        let ask = |text| {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                joined(&mut server.stream(CHAT, &with(chat(text), json!({"stream": true}))))
            })
        };
        let threads: Vec<_> = TEXTS.into_iter().map(ask).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn series(server: &Server, name: &str) -> Vec<f64> {
    let page = server.get("/metrics").text();
    let lines = page.lines().filter(|line| line.starts_with(name));
    lines
        .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
        .collect()
}

#[test]
fn every_placement_answers_as_one_device_does_alone_and_in_company() {
    let alone = Server::with(&["--devices", "cpu"]);
    let expected: Vec<Answer> = TEXTS
        .iter()
        .map(|text| answer(&alone.post(CHAT, &chat(text)).ok()))
        .collect();
    for (placement, devices) in [
        ("replicas", "cpu,cpu"),
        ("pipeline", "cpu,cpu"),
        ("pipeline", "cpu,cpu,cpu"),
        ("tensor", "cpu,cpu"),
        ("offload", "cpu@2M,cpu"),
        ("offload", "cpu@2M"),
    ] {
        let limits = ["--context", "512", "--slots", "2"];
        let arguments = [&["--placement", placement, "--devices", devices][..], &limits].concat();
        let server = Server::with(&arguments);
        assert_eq!(at_once(&server), expected, "{placement} over {devices}");
    }
}

#[test]
fn the_metrics_tell_how_long_each_device_of_a_pipeline_worked_and_what_waiting_cost() {
    let server = Server::with(&["--placement", "pipeline"]);
    at_once(&server);
    let busy = series(&server, "tandem_device_busy_seconds_total{");
    let idle = series(&server, "tandem_device_idle_seconds_total{");
    let together = series(&server, "tandem_devices_together_seconds_total");
    assert_eq!((busy.len(), idle.len()), (2, 2));
    assert!(busy.iter().all(|seconds| *seconds > 0.0), "{busy:?}");
    // Whether they overlap is up to the machine; that they can is tested where time is under control.
    assert!(
        together.len() == 1 && together[0] <= busy[0].min(busy[1]),
        "{together:?} of {busy:?}"
    );
    let [first, second] = [0, 1].map(|device| busy[device] + idle[device]);
    assert!((first - second).abs() < 1e-6, "{first} and {second}: of the same time");
}

#[test]
fn a_device_that_cannot_be_opened_is_named_and_the_other_engine_serves() {
    let server = Server::with(&["--devices", "cuda:6,cpu", "--placement", "replicas"]);
    for text in TEXTS {
        server.post(CHAT, &chat(text)).ok();
    }
    let page = server.get("/metrics").text();
    for line in [
        "tandem_engine_state{device=\"cuda:6\",engine=\"0\",state=\"failed\",model=\"tandem-tiny\"} 1",
        "tandem_engine_state{device=\"cpu\",engine=\"1\",state=\"ready\",model=\"tandem-tiny\"} 1",
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
    let said = server.said();
    let line = said.lines().find(|line| line.contains("failed    engine 0: cuda:6"));
    assert!(line.is_some_and(|line| line.contains("without CUDA")), "{said}");
}

#[test]
fn when_no_device_can_be_opened_the_program_ends_with_5_and_what_to_do() {
    for (placement, devices) in [
        ("replicas", "cuda:6"),
        ("pipeline", "cpu,cuda:6"),
        ("tensor", "cpu,cuda:6"),
    ] {
        let output = command()
            .args([
                "serve",
                "--devices",
                devices,
                "--placement",
                placement,
                "--listen",
                "127.0.0.1:0",
            ])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(5), "{placement}: {said}");
        assert!(
            said.contains("cuda:6") && said.contains("--devices cpu"),
            "{placement}: {said}"
        );
    }
}
