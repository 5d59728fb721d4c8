//! SIGTERM: new requests are refused, running ones end well, the program ends with 0.

use serde_json::{Value, json};

use crate::support::*;

/// How a stream ended.
fn ending(events: Events) -> String {
    let last = events.last().expect("a stream says at least one thing");
    if last == "[DONE]" {
        return last;
    }
    let error: Value = serde_json::from_str(&last).unwrap_or_else(|_| panic!("no terminal event: {last}"));
    error["error"]["code"]
        .as_str()
        .unwrap_or_else(|| panic!("no terminal event: {last}"))
        .to_owned()
}

fn long_stream(server: &Server, choices: usize) -> Events {
    let tokens = context_tokens(server) - 16;
    server.stream(
        COMPLETIONS,
        &with(endless(tokens), json!({"stream": true, "n": choices})),
    )
}

#[test]
fn an_idle_server_ends_at_once_with_0() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start();
        check_serves(&server);
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0), "{signal}: {}", server.said());
    }
}

#[test]
fn running_streams_end_whole_and_new_requests_are_refused() {
    let mut server = Server::with(&["--drain-seconds", "60"]);
    let alone = answer(&server.post(CHAT, &chat(ADD_PROGRAM)).ok());
    let mut early = server.connect();
    assert_eq!(early.get("/readyz").status, 200);

    let mut streams: Vec<Events> = (0..6)
        .map(|_| server.stream(CHAT, &with(chat(ADD_PROGRAM), json!({"stream": true}))))
        .collect();
    let long = long_stream(&server, 1);
    server.signal("TERM");

    // A connection from before the signal may still ask; it is told that the server is leaving, or closed.
    wait_until("the server says that it is leaving", || {
        let Ok(mut connection) = Connection::try_open(server.address) else {
            return true;
        };
        connection.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        connection.try_reply().is_none_or(|reply| reply.status == 503)
    });
    early.send_post(CHAT, chat("hello").to_string().as_bytes());
    if let Some(reply) = early.try_reply() {
        assert_eq!(reply.status, 503, "{}", reply.text());
        check_error("draining", &reply.text());
    }

    for stream in &mut streams {
        assert_eq!(joined(stream), alone, "a stream that ran when the signal came");
    }
    assert_eq!(ending(long), "[DONE]");
    assert_eq!(server.wait().code(), Some(0), "{}", server.said());
}

#[test]
fn streams_that_outlast_the_drain_get_a_last_event_that_says_so() {
    let mut server = Server::with(&["--devices", "cpu", "--slots", "2", "--drain-seconds", "0"]);
    // Some run, some wait: each must be told.
    let streams: Vec<Events> = (0..6).map(|_| long_stream(&server, 1)).collect();
    server.signal("TERM");
    for stream in streams {
        let ending = ending(stream);
        assert!(
            ["[DONE]", "server_shutting_down"].contains(&ending.as_str()),
            "{ending}"
        );
    }
    assert_eq!(server.wait().code(), Some(0), "{}", server.said());
}

#[test]
fn a_whole_reply_that_outlasts_the_drain_is_a_503() {
    let mut server = Server::with(&["--devices", "cpu", "--drain-seconds", "0"]);
    let tokens = context_tokens(&server) - 16;
    let mut connection = server.connect();
    connection.send_post(
        COMPLETIONS,
        with(endless(tokens), json!({"n": 8})).to_string().as_bytes(),
    );
    wait_until("it runs", || running_and_waiting(&server).0 > 0.0);
    server.signal("TERM");
    let reply = connection.reply();
    assert!(matches!(reply.status, 200 | 503), "{}", reply.text());
    if reply.status == 503 {
        assert_eq!(check_error("draining", &reply.text())["code"], "server_shutting_down");
    }
    assert_eq!(server.wait().code(), Some(0), "{}", server.said());
}

#[test]
fn a_second_signal_does_not_wait_for_the_drain() {
    let mut server = Server::with(&[
        "--devices",
        "cpu",
        "--slots",
        "1",
        "--queue",
        "1000",
        "--drain-seconds",
        "600",
    ]);
    // Waiting work for many minutes.
    let streams: Vec<Events> = (0..20).map(|_| long_stream(&server, 8)).collect();
    server.signal("TERM");
    // Two signals of one kind that are pending together are one.
    wait_until("the server is leaving", || server.get("/readyz").status == 503);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(130), "{}", server.said());
    drop(streams);
}
