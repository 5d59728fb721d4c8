//! Every numeric field with every number that somebody might send: answered or refused by its name, never a 5xx.

use serde_json::{Value, json};

use crate::support::*;

/// Fields of both doors. The bases ask for two tokens, so that what is answered is answered soon.
const BOTH: [&str; 10] = [
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "max_tokens",
    "n",
    "seed",
];

fn strange_values() -> Vec<Value> {
    let mut values: Vec<Value> = [
        "-9223372036854775808",
        "-9223372036854775809",
        "-1",
        "0",
        "-0.0",
        "1",
        "2",
        "21",
        "100",
        "4294967296",
        "1000000000",
        "9223372036854775807",
        "18446744073709551615",
        "18446744073709551616",
        "1e308",
        "-1e308",
        "1e-320",
        "1.5",
        "999999",
    ]
    .iter()
    .map(|number| serde_json::from_str(number).unwrap())
    .collect();
    values.extend([
        json!("5"),
        json!("NaN"),
        json!(null),
        json!(true),
        json!([]),
        json!([1]),
        json!({}),
        json!({"a": 1}),
    ]);
    values
}

fn check_field(server: &mut Server, door: &str, base: &Value, field: &str) {
    let mut connection = server.connect();
    for value in strange_values() {
        let case = format!("{field} = {value} at {door}");
        let reply = connection.post(door, with(base.clone(), json!({field: value})).to_string().as_bytes());
        match reply.status {
            200 => assert!(reply.json()["choices"].is_array(), "{case}"),
            400 => {
                let error = check_error(&case, &reply.text());
                assert_eq!(error["type"], "invalid_request_error", "{case}: {error}");
                let named = error["param"].as_str().is_some_and(|param| param.starts_with(field));
                assert!(named, "the error does not name its field, {case}: {error}");
            }
            status => panic!("{case}: {status} {}", reply.text()),
        }
    }
    server.check_alive();
}

#[test]
fn strange_numbers_in_a_chat_are_answered_or_refused_by_name() {
    let mut server = Server::with(&["--context", "256"]);
    let base = with(chat("hello"), json!({"max_tokens": 2}));
    for field in BOTH {
        check_field(&mut server, CHAT, &base, field);
    }
    check_field(
        &mut server,
        CHAT,
        &with(base.clone(), json!({"logprobs": true})),
        "top_logprobs",
    );
    check_field(&mut server, CHAT, &chat("hello"), "max_completion_tokens");
    for field in [
        "logprobs",
        "stream_options",
        "stop",
        "logit_bias",
        "user",
        "reasoning_effort",
        "best_of",
    ] {
        // These take other types than a number: what matters is that no value of theirs harms the server.
        for value in strange_values() {
            let reply = server.post(CHAT, &with(base.clone(), json!({field: value})));
            assert!(
                matches!(reply.status, 200 | 400),
                "{field} = {value}: {} {}",
                reply.status,
                reply.text()
            );
        }
    }
    check_serves(&server);
}

#[test]
fn strange_numbers_in_a_completion_are_answered_or_refused_by_name() {
    let mut server = Server::with(&["--context", "256"]);
    for field in BOTH.iter().chain(&["logprobs", "best_of"]) {
        check_field(&mut server, COMPLETIONS, &endless(2), field);
    }
    check_serves(&server);
}

#[test]
fn a_refused_number_says_what_is_allowed() {
    let server = Server::start();
    for (field, value, allowed) in [
        ("temperature", json!(-1), "2"),
        ("temperature", json!(999_999), "2"),
        ("top_p", json!(1.5), "1"),
        ("n", json!(1_000_000_000), "8"),
        ("presence_penalty", json!(3), "2"),
    ] {
        let reply = server.post(CHAT, &with(chat("hello"), json!({field: value})));
        assert_eq!(reply.status, 400, "{field} = {value}: {}", reply.text());
        let error = check_error(field, &reply.text());
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(field) && message.contains(allowed), "{message}");
        assert!(
            message.starts_with(|first: char| !first.is_uppercase()) && !message.ends_with('.'),
            "{message}"
        );
    }
}

#[test]
fn a_logit_bias_takes_only_known_tokens_and_finite_weights() {
    let mut server = Server::with(&["--context", "256"]);
    let base = with(chat("hello"), json!({"max_tokens": 2}));
    for (bias, status) in [
        (json!({}), 200),
        (json!({"5": 0}), 200),
        (json!({"5": 100}), 200),
        (json!({"5": -100}), 200),
        (json!({"5": 101}), 400),
        (json!({"5": -100.5}), 400),
        (json!({"5": 1e308}), 400),
        (json!({"5": "1"}), 400),
        (json!({"5": null}), 400),
        (json!({"-1": 1}), 400),
        (json!({"4294967296": 1}), 400),
        (json!({"1e2": 1}), 400),
        (json!({"five": 1}), 400),
        (json!({"": 1}), 400),
    ] {
        let reply = server.post(CHAT, &with(base.clone(), json!({"logit_bias": bias})));
        assert_eq!(reply.status, status, "{bias}: {}", reply.text());
        if status == 400 {
            check_error(&bias.to_string(), &reply.text());
        }
    }
    // Every token forbidden: the model still says something, or the request is refused.
    let size = (0..300)
        .map(|id| (id.to_string(), json!(-100)))
        .collect::<serde_json::Map<_, _>>();
    let reply = server.post(CHAT, &with(base, json!({"logit_bias": size})));
    assert_eq!(reply.status, 200, "{}", reply.text());
    server.check_alive();
}
