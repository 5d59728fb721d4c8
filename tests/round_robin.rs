//! Requests are dealt to the engines in turn, and every reply says whose turn it was.

use crate::support::*;

/// The engines that served `requests` requests, one after the other.
fn engines(server: &Server, requests: usize) -> Vec<String> {
    let ask = || {
        let reply = server.post(CHAT, &chat("What is 1 + 2?"));
        reply.ok();
        reply
            .header("x-tandem-engine")
            .expect("every reply names its engine")
            .to_owned()
    };
    (0..requests).map(|_| ask()).collect()
}

fn count(engines: &[String], engine: &str) -> usize {
    engines.iter().filter(|name| *name == engine).count()
}

#[test]
fn ten_requests_in_a_row_are_five_for_each_engine() {
    let engines = engines(&Server::start(), 10);
    assert_eq!((count(&engines, "0"), count(&engines, "1")), (5, 5), "{engines:?}");
    assert!(
        engines.windows(2).all(|pair| pair[0] != pair[1]),
        "not in turn: {engines:?}"
    );
}

#[test]
fn weights_of_three_and_one_give_the_first_engine_fifteen_of_twenty() {
    let engines = engines(&Server::with(&["--weights", "3,1"]), 20);
    assert_eq!((count(&engines, "0"), count(&engines, "1")), (15, 5), "{engines:?}");
    assert!(
        engines.windows(4).all(|four| four.iter().any(|engine| engine == "0")),
        "in runs: {engines:?}"
    );
}

#[test]
fn one_device_is_one_engine() {
    let engines = engines(&Server::with(&["--devices", "cpu"]), 3);
    assert_eq!(count(&engines, "0"), 3, "{engines:?}");
}

#[test]
fn a_stream_names_its_engine_before_its_first_event() {
    let server = Server::start();
    let mut request = chat("What is 1 + 2?");
    request["stream"] = true.into();
    let named: Vec<String> = (0..4)
        .map(|_| {
            let mut events = server.stream(CHAT, &request);
            let engine = events
                .header("x-tandem-engine")
                .expect("the head names the engine")
                .to_owned();
            joined(&mut events);
            engine
        })
        .collect();
    assert_eq!((count(&named, "0"), count(&named, "1")), (2, 2), "{named:?}");
}
