//! Every limit on one request, at the limit and one past it.

use serde_json::{Value, json};

use crate::support::*;

/// `request` is answered.
fn check_allowed(server: &Server, door: &str, request: &Value) -> Value {
    server.post(door, request).ok()
}

/// `request` is refused as the client's mistake, with the limit in the message.
fn check_refused(server: &Server, door: &str, request: &Value, limit: &str) -> Value {
    let reply = server.post(door, request);
    assert_eq!(reply.status, 400, "{}", reply.text());
    let error = check_error(limit, &reply.text());
    assert!(error["message"].as_str().unwrap().contains(limit), "{error}");
    error
}

fn two_tokens(more: Value) -> Value {
    with(with(chat("hello"), json!({"max_tokens": 2})), more)
}

#[test]
fn n_may_be_eight() {
    let server = Server::start();
    let reply = check_allowed(&server, CHAT, &two_tokens(json!({"n": 8})));
    assert_eq!(reply["choices"].as_array().map(Vec::len), Some(8));
    check_refused(&server, CHAT, &two_tokens(json!({"n": 9})), "8");
    check_refused(&server, CHAT, &two_tokens(json!({"n": 1_000_000_000})), "8");
    check_refused(&server, COMPLETIONS, &with(endless(2), json!({"n": 9})), "8");
}

#[test]
fn top_logprobs_may_be_twenty() {
    let server = Server::start();
    check_allowed(
        &server,
        CHAT,
        &two_tokens(json!({"logprobs": true, "top_logprobs": 20})),
    );
    check_refused(
        &server,
        CHAT,
        &two_tokens(json!({"logprobs": true, "top_logprobs": 21})),
        "20",
    );
    check_refused(&server, COMPLETIONS, &with(endless(2), json!({"logprobs": 21})), "20");
}

#[test]
fn stop_strings_may_be_four_of_some_length() {
    let server = Server::start();
    let stop = |count: usize, chars: usize| two_tokens(json!({"stop": vec!["中".repeat(chars); count]}));
    check_allowed(&server, CHAT, &stop(4, 64));
    check_refused(&server, CHAT, &stop(5, 1), "4");
    check_refused(&server, CHAT, &stop(1, 65), "64");
    check_refused(&server, CHAT, &stop(100_000, 1), "4");
    check_refused(&server, CHAT, &two_tokens(json!({"stop": ["a", 1]})), "stop");
}

#[test]
fn logit_bias_may_name_three_hundred_tokens() {
    let server = Server::start();
    let bias = |count: usize| {
        let entries: serde_json::Map<String, Value> = (0..count).map(|id| (id.to_string(), json!(1))).collect();
        two_tokens(json!({"logit_bias": entries}))
    };
    check_allowed(&server, CHAT, &bias(300));
    check_refused(&server, CHAT, &bias(301), "300");
    check_refused(&server, CHAT, &bias(100_000), "300");
}

#[test]
fn a_conversation_may_have_as_many_messages_as_the_setting_says() {
    let server = Server::with_environment(&[], &[("TANDEM_MESSAGES", "6")]);
    let messages = |count: usize| {
        let messages: Vec<Value> = (0..count).map(|_| json!({"role": "user", "content": "a"})).collect();
        two_tokens(json!({"messages": messages}))
    };
    check_allowed(&server, CHAT, &messages(6));
    check_refused(&server, CHAT, &messages(7), "6");
    check_refused(&server, CHAT, &messages(40_000), "6");
    check_refused(&Server::start(), CHAT, &messages(1_025), "1024");
}

#[test]
fn one_request_may_hold_some_prompts() {
    let server = Server::start();
    let prompts = |count: usize| with(endless(1), json!({"prompt": vec!["a"; count]}));
    let reply = check_allowed(&server, COMPLETIONS, &prompts(8));
    assert_eq!(reply["choices"].as_array().map(Vec::len), Some(8));
    check_refused(&server, COMPLETIONS, &prompts(9), "8");
    check_refused(&server, COMPLETIONS, &prompts(300_000), "8");
}

#[test]
fn prompt_and_output_may_fill_the_context_and_not_more() {
    let mut server = Server::with(&["--context", "256"]);
    assert_eq!(context_tokens(&server), 256);
    let request = |prompt: usize, output: usize| with(endless(output), json!({"prompt": vec![40; prompt]}));
    for (prompt, output) in [(1, 254), (1, 255), (200, 55), (200, 56), (255, 1)] {
        let reply = server.post(COMPLETIONS, &request(prompt, output)).ok();
        assert_eq!(reply["choices"][0]["finish_reason"], "length", "{prompt} + {output}");
        assert_eq!(reply["usage"]["completion_tokens"], output, "{prompt} + {output}");
    }
    // More output than there is room for is cut there or refused; more prompt is refused.
    for (prompt, output) in [(1, 256), (200, 57), (200, 2_560), (255, 2), (1, 2_560)] {
        let reply = server.post(COMPLETIONS, &request(prompt, output));
        match reply.status {
            200 => assert_eq!(reply.json()["usage"]["total_tokens"], 256, "{prompt} + {output}"),
            400 => assert_eq!(check_error("context", &reply.text())["code"], "context_length_exceeded"),
            status => panic!("{prompt} + {output}: {status} {}", reply.text()),
        }
    }
    for prompt in [256, 257, 2_560, 100_000] {
        let error = check_refused(&server, COMPLETIONS, &request(prompt, 1), "256");
        assert_eq!(error["code"], "context_length_exceeded", "{error}");
    }
    server.check_alive();
    check_serves(&server);
}

#[test]
fn a_chat_that_reaches_the_end_of_the_context_ends_with_length() {
    let server = Server::with(&["--context", "128"]);
    let request = with(chat("hello"), json!({"ignore_eos": true}));
    let reply = server.post(CHAT, &request).ok();
    assert_eq!(answer(&reply).finish, "length", "{reply}");
    assert_eq!(reply["usage"]["total_tokens"], 128, "{reply}");
}

#[test]
fn a_request_may_have_so_many_headers_and_so_long_an_address() {
    let server = Server::with_environment(&[], &[("TANDEM_HEADERS", "10"), ("TANDEM_URI_BYTES", "100")]);
    let status = |path: &str, headers: usize| {
        let mut connection = server.connect();
        let more = "X-A: b\r\n".repeat(headers - 1);
        connection.write(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n").as_bytes());
        connection.reply().status
    };
    assert_eq!((status("/v1/models", 10), status("/v1/models", 11)), (200, 431));
    let path = |bytes: usize| format!("/v1/models?{}", "a".repeat(bytes - "/v1/models?".len()));
    assert_eq!((status(&path(100), 1), status(&path(101), 1)), (200, 414));
}

#[test]
fn a_request_that_names_no_number_of_tokens_gets_the_settings() {
    let server = Server::with_environment(&[], &[("TANDEM_OUTPUT_TOKENS", "5")]);
    let reply = check_allowed(&server, CHAT, &chat(ADD_PROGRAM));
    assert_eq!(reply["usage"]["completion_tokens"], 5);
    assert_eq!(answer(&reply).finish, "length");
}
