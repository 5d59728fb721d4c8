//! Clients that break HTTP, dawdle, flood or walk away: they get an error or a closed connection, the others nothing of it.

use serde_json::json;

use crate::support::*;

/// Writes `bytes` and closes the sending half; the status of the reply, if there was one.
fn status_of(server: &Server, bytes: &[u8]) -> Option<u16> {
    let mut connection = server.connect();
    connection.write(bytes);
    connection.end_writing();
    connection.try_reply().map(|reply| reply.status)
}

#[test]
fn requests_that_are_not_http_are_refused() {
    let mut server = Server::start();
    let long_path = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(20_000));
    let many_headers = format!(
        "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        "X-A: b\r\n".repeat(500)
    );
    let large_header = format!(
        "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-A: {}\r\n\r\n",
        "b".repeat(200_000)
    );
    for (case, bytes) in [
        ("noise", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice()),
        ("no version", b"GET /v1/models\r\n\r\n"),
        ("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        ("HTTP/2 without asking", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("a header without a colon", b"GET /v1/models HTTP/1.1\r\nHost a\r\n\r\n"),
        ("a NUL in a header", b"GET /v1/models HTTP/1.1\r\nHost: a\0b\r\n\r\n"),
        (
            "a negative length",
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        ),
        (
            "a length that is not a number",
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1e3\r\n\r\n",
        ),
        (
            "two lengths",
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        ),
        (
            "a bad chunk",
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ),
        ("a very long path", long_path.as_bytes()),
        ("five hundred headers", many_headers.as_bytes()),
        ("a header of 200 kB", large_header.as_bytes()),
    ] {
        if let Some(status) = status_of(&server, bytes) {
            assert!((400..500).contains(&status), "{case}: {status}");
        }
        server.check_alive();
    }
    check_serves(&server);
}

#[test]
fn a_body_that_is_framed_twice_is_not_taken_for_two_requests() {
    let server = Server::start();
    let smuggled =
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n\
        0\r\n\r\nGET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut connection = server.connect();
    connection.write(smuggled);
    connection.end_writing();
    let replies = String::from_utf8_lossy(&connection.rest())
        .matches("HTTP/1.1 200")
        .count();
    assert_eq!(replies, 0, "the second half of a body was answered as a request");
    check_serves(&server);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start();
    let mut connection = server.connect();
    connection.write(
        "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n"
            .repeat(20)
            .as_bytes(),
    );
    for _ in 0..20 {
        assert_eq!(connection.reply().status, 200);
        assert_eq!(connection.reply().status, 404);
    }
}

#[test]
fn honest_clients_with_old_or_careful_manners_are_served() {
    let server = Server::start();
    let mut old = server.connect();
    old.write(b"GET /v1/models HTTP/1.0\r\n\r\n");
    assert!(old.reply().ok()["data"].is_array());
    assert_eq!(old.rest(), b"", "HTTP/1.0 ends with its reply");

    let body = chat("hello").to_string();
    let mut careful = server.connect();
    let length = body.len();
    careful.write(format!(
        "POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json; charset=utf-8\r\nExpect: 100-continue\r\n\
         Connection: close\r\nContent-Length: {length}\r\n\r\n"
    ).as_bytes());
    assert_eq!(careful.interim(), 100);
    careful.write(body.as_bytes());
    assert_eq!(answer(&careful.reply().ok()).finish, "stop");
    assert_eq!(careful.rest(), b"", "the connection is closed as asked");

    let mut chunked = server.connect();
    let (first, second) = body.as_bytes().split_at(20);
    chunked.write(
        format!(
            "POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        .as_bytes(),
    );
    for chunk in [first, second] {
        chunked.write(&[format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    }
    chunked.write(b"0\r\n\r\n");
    assert_eq!(answer(&chunked.reply().ok()).finish, "stop");
}

#[test]
fn a_client_that_dawdles_over_its_headers_or_body_is_closed_and_harms_nobody() {
    let server = Server::with_environment(
        &[],
        &[
            ("TANDEM_HEADER_SECONDS", "1"),
            ("TANDEM_BODY_SECONDS", "1"),
            ("TANDEM_IDLE_SECONDS", "1"),
        ],
    );
    let mut slow: Vec<Connection> = (0..200).map(|_| server.connect()).collect();
    for (index, connection) in slow.iter_mut().enumerate() {
        let bytes: &[u8] = match index % 4 {
            0 => b"",
            1 => b"GET /v1/mod",
            2 => b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-A: ",
            _ => {
                b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Content-Length: 100\r\n\r\n{\"mod"
            }
        };
        connection.write(bytes);
    }
    check_serves(&server);
    for (index, connection) in slow.iter_mut().enumerate() {
        // Closed without a word, or with a 408; never left open, never answered as if whole.
        let said = String::from_utf8_lossy(&connection.rest()).into_owned();
        assert!(
            said.is_empty() || said.starts_with("HTTP/1.1 408"),
            "client {index}: {said}"
        );
    }
    check_serves(&server);
}

#[test]
fn a_connection_that_has_had_its_reply_and_stays_silent_is_closed() {
    let server = Server::with_environment(&[], &[("TANDEM_IDLE_SECONDS", "1"), ("TANDEM_HEADER_SECONDS", "1")]);
    let mut connection = server.connect();
    assert_eq!(connection.get("/v1/models").status, 200);
    assert_eq!(connection.rest(), b"", "nothing more was asked");
}

#[test]
fn more_connections_than_allowed_wait_or_are_refused_and_the_server_serves_on() {
    let mut server = Server::with_environment(
        &[],
        &[
            ("TANDEM_CONNECTIONS", "8"),
            ("TANDEM_IDLE_SECONDS", "1"),
            ("TANDEM_HEADER_SECONDS", "1"),
        ],
    );
    let held: Vec<Connection> = (0..64)
        .filter_map(|_| Connection::try_open(server.address).ok())
        .collect();
    server.check_alive();
    drop(held);
    check_serves(&server);
}

#[test]
fn clients_that_leave_free_what_they_held() {
    let mut server = Server::with(&["--devices", "cpu", "--slots", "2"]);
    for round in 0..30 {
        let mut connection = server.connect();
        let request = with(endless(200), json!({"stream": round % 2 == 0, "n": 1 + round % 3}));
        connection.send_post(COMPLETIONS, request.to_string().as_bytes());
        match round % 3 {
            0 => drop(connection),
            1 => {
                connection.end_writing();
                drop(connection);
            }
            _ if round % 2 == 0 => drop(connection.events().next()),
            _ => {}
        }
        server.check_alive();
    }
    wait_until_idle(&server);
    check_serves(&server);
}

#[test]
fn a_client_that_stops_reading_harms_nobody_and_is_let_go() {
    let server = Server::with_environment(&["--devices", "cpu"], &[("TANDEM_WRITE_SECONDS", "1")]);
    let tokens = context_tokens(&server) - 16;
    // Eight choices with twenty logprobs each are megabytes: more than the sockets between us hold.
    let request = with(endless(tokens), json!({"stream": true, "n": 8, "logprobs": 20}));
    let mut deaf = server.connect();
    deaf.send_post(COMPLETIONS, request.to_string().as_bytes());
    wait_until("the deaf client's request runs", || {
        running_and_waiting(&server).0 > 0.0
    });
    check_serves(&server);
    wait_until_idle(&server);
    check_serves(&server);
    drop(deaf);
}
