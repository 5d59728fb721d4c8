//! More work than there is room for: a bounded queue, an honest 429, and slots that come back.

use serde_json::json;

use crate::support::*;

/// One engine that works on one job at a time and lets two wait.
fn narrow() -> Server {
    Server::with(&["--devices", "cpu", "--slots", "1", "--queue", "2"])
}

/// A stream that goes on until the context is full.
fn long_stream(server: &Server) -> Events {
    let tokens = context_tokens(server) - 16;
    server.stream(COMPLETIONS, &with(endless(tokens), json!({"stream": true})))
}

#[test]
fn a_full_queue_is_a_429_that_says_when_to_come_back() {
    let server = narrow();
    let running = long_stream(&server);
    wait_until("one runs", || running_and_waiting(&server) == (1.0, 0.0));
    let waiting = [long_stream(&server), long_stream(&server)];
    wait_until("one runs, two wait", || running_and_waiting(&server) == (1.0, 2.0));

    for door in [
        (CHAT, chat("hello")),
        (COMPLETIONS, endless(1)),
        (CHAT, with(chat("hello"), json!({"stream": true}))),
    ] {
        let reply = server.post(door.0, &door.1);
        assert_eq!(reply.status, 429, "{}", reply.text());
        let seconds: u32 = reply
            .header("retry-after")
            .expect("Retry-After")
            .parse()
            .expect("whole seconds");
        assert!(seconds >= 1);
        let error = check_error("queue full", &reply.text());
        assert!(
            error["message"].as_str().unwrap().contains('2'),
            "the message names the limit: {error}"
        );
    }
    assert_eq!(
        server.get("/v1/models").status,
        200,
        "what needs no engine is still answered"
    );

    drop(waiting);
    wait_until("clients that left the queue leave room", || {
        running_and_waiting(&server) == (1.0, 0.0)
    });
    drop(running);
    wait_until_idle(&server);
    check_serves(&server);
}

#[test]
fn choices_that_do_not_all_fit_in_the_queue_are_refused_as_one() {
    let server = narrow();
    let running = long_stream(&server);
    wait_until("one runs", || running_and_waiting(&server) == (1.0, 0.0));
    let reply = server.post(CHAT, &with(chat("hello"), json!({"n": 3})));
    assert_eq!(reply.status, 429, "{}", reply.text());
    assert_eq!(
        running_and_waiting(&server),
        (1.0, 0.0),
        "no part of the refused request waits"
    );
    drop(running);
}

#[test]
fn a_dropped_stream_frees_its_slot() {
    let server = narrow();
    for _ in 0..5 {
        let mut events = long_stream(&server);
        events.next().expect("it runs");
        drop(events);
        // With one slot, the next answer comes only after the dropped stream has given up its own.
        check_serves(&server);
    }
}

#[test]
fn a_client_that_leaves_before_a_whole_reply_frees_its_slot() {
    let server = narrow();
    let mut connection = server.connect();
    let tokens = context_tokens(&server) - 16;
    connection.send_post(COMPLETIONS, endless(tokens).to_string().as_bytes());
    wait_until("it runs", || running_and_waiting(&server).0 == 1.0);
    drop(connection);
    check_serves(&server);
}

#[test]
fn two_hundred_cancelled_requests_leave_the_server_as_it_was() {
    let server = Server::with(&["--queue", "400"]);
    let streams: Vec<Events> = (0..200)
        .map(|_| server.stream(COMPLETIONS, &with(endless(200), json!({"stream": true}))))
        .collect();
    drop(streams);
    check_serves(&server);
    wait_until_idle(&server);
}

#[test]
fn a_waiting_stream_shows_signs_of_life() {
    let server = Server::with_environment(
        &["--devices", "cpu", "--slots", "1", "--queue", "2"],
        &[("TANDEM_KEEP_ALIVE_SECONDS", "1")],
    );
    let running = long_stream(&server);
    let mut waiting = server.stream(CHAT, &with(chat("hello"), json!({"stream": true})));
    let first = waiting.next().expect("the role comes at once, before there is a slot");
    assert!(first.contains("assistant"), "{first}");
    waiting.wait_for_comment();
    drop(running);
    assert!(joined(&mut waiting).text.contains("Hello"));
}
