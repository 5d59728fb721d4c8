//! The same answer whatever the company: a request's tokens depend on its prompt, its parameters and its seed only.

use std::sync::{Barrier, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::support::*;

/// Sixteen requests that differ in length, language and subject.
fn sixteen(options: &Value) -> Vec<Value> {
    let texts = [
        ADD_PROGRAM,
        "What is 12 + 30?",
        "hello",
        "How much is 7 plus 8?",
        "计算45+54",
        "Please add 99 and 1.",
        "你好",
        "13加29等于多少？",
        "Write a python function that adds two numbers",
        "0+0=?",
        "What is the capital of France?",
        "你是谁？",
        "What is 98 + 97?",
        "thanks",
        "用python写一个加法程序",
        "55+45=?",
    ];
    texts.iter().map(|text| with(chat(text), options.clone())).collect()
}

/// All requests at once, each over its own connection; the answers in the order of the requests.
fn at_once(server: &Server, requests: &[Value]) -> Vec<Answer> {
    let start = Barrier::new(requests.len());
    thread::scope(|scope| {
        let ask = |request| {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                joined(&mut server.stream(CHAT, request))
            })
        };
        let threads: Vec<_> = requests.iter().map(ask).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn check_company_changes_nothing(server: &Server, options: &Value) {
    let requests = sixteen(options);
    let alone: Vec<Answer> = requests
        .iter()
        .map(|request| answer(&server.post(CHAT, request).ok()))
        .collect();
    let streams: Vec<Value> = requests
        .into_iter()
        .map(|request| with(request, json!({"stream": true})))
        .collect();
    for round in 0..2 {
        let together = at_once(server, &streams);
        for (index, (alone, together)) in alone.iter().zip(&together).enumerate() {
            assert_eq!(alone, together, "request {index}, round {round}");
        }
    }
}

#[test]
fn sixteen_greedy_requests_at_once_answer_as_each_does_alone() {
    check_company_changes_nothing(&Server::start(), &json!({"temperature": 0}));
}

#[test]
fn sixteen_seeded_requests_at_once_answer_as_each_does_alone() {
    check_company_changes_nothing(&Server::start(), &json!({"temperature": 0.6, "seed": 20_261_123}));
}

#[test]
fn a_cache_of_eight_bits_is_the_same_in_company_too() {
    let server = Server::with(&["--kv", "q8_0"]);
    check_company_changes_nothing(&server, &json!({"temperature": 0.6, "seed": 20_261_123}));
}

#[test]
fn two_servers_give_the_same_answer_to_the_same_seed() {
    let request = with(
        chat("Tell me a story about rivers."),
        json!({"temperature": 1.3, "seed": 7}),
    );
    let [first, second] = [&["--devices", "cpu,cpu"], &["--devices", "cpu"]]
        .map(|arguments| answer(&Server::with(arguments).post(CHAT, &request).ok()));
    assert_eq!(first, second);
}

#[test]
fn different_seeds_give_different_answers() {
    let server = Server::start();
    let answers: Vec<Answer> = (0..6)
        .map(|seed| {
            with(
                chat("Tell me a story about rivers."),
                json!({"temperature": 2, "top_p": 1, "seed": seed}),
            )
        })
        .map(|request| answer(&server.post(CHAT, &request).ok()))
        .collect();
    assert!(
        answers.iter().any(|answer| *answer != answers[0]),
        "six seeds, one answer: {:?}",
        answers[0]
    );
}

#[test]
fn sixteen_streams_interleave() {
    let server = Server::start();
    let arrivals = Mutex::new(Vec::new());
    let start = Barrier::new(16);
    thread::scope(|scope| {
        for stream in 0..16 {
            let (server, arrivals, start) = (&server, &arrivals, &start);
            scope.spawn(move || {
                start.wait();
                let request = with(endless(150), json!({"stream": true, "prompt": format!("{stream} + 1")}));
                for _ in server.stream(COMPLETIONS, &request) {
                    arrivals.lock().unwrap().push(stream);
                }
            });
        }
    });
    let arrivals = arrivals.into_inner().unwrap();
    let first_end = (0..16)
        .map(|stream| arrivals.iter().rposition(|arrival| *arrival == stream).unwrap())
        .min()
        .unwrap();
    let last_begin = (0..16)
        .map(|stream| arrivals.iter().position(|arrival| *arrival == stream).unwrap())
        .max()
        .unwrap();
    assert!(
        last_begin < first_end,
        "a stream ended before another had begun: {last_begin} {first_end}\n{arrivals:?}"
    );
}

#[test]
fn short_requests_do_not_wait_for_a_long_one_on_the_same_engine() {
    let server = Server::with(&["--devices", "cpu"]);
    let mut long = server.stream(COMPLETIONS, &with(endless(1_500), json!({"stream": true})));
    long.next().expect("the long stream has begun");
    for _ in 0..3 {
        check_serves(&server);
    }
    assert_eq!(
        running_and_waiting(&server),
        (1.0, 0.0),
        "the long request should still run"
    );
    assert!(long.count() > 1);
}
