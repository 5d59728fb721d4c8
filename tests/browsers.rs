//! What browsers ask before they let a page call, and what no page may make them do.

use serde_json::json;

use super::support::{CHAT, Connection, Reply, Server, chat, check_error};

/// What Chrome asks on behalf of LobeChat in the browser, with an OpenAI provider.
const OPENAI_HEADERS: &str = "authorization,content-type,x-stainless-arch,x-stainless-lang,x-stainless-os,\
x-stainless-package-version,x-stainless-retry-count,x-stainless-runtime,x-stainless-runtime-version,x-stainless-timeout";

/// The same with an Ollama provider; Firefox adds the second.
const OLLAMA_HEADERS: &str = "content-type,user-agent";

/// A request with these lines as its head, and its reply.
fn ask(server: &Server, method: &str, path: &str, lines: &str) -> Reply {
    let mut connection = server.connect();
    send(&mut connection, method, path, lines, "");
    connection.reply()
}

fn send(connection: &mut Connection, method: &str, path: &str, lines: &str, body: &str) {
    let length = if body.is_empty() {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    connection.write(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{lines}{length}\r\n{body}").as_bytes());
}

#[test]
fn a_page_of_another_origin_is_told_that_it_may_call() {
    let server = Server::start();
    for (path, headers) in [
        (CHAT, OPENAI_HEADERS),
        ("/api/chat", OLLAMA_HEADERS),
        ("/nowhere", OLLAMA_HEADERS),
    ] {
        let lines = format!(
            "Origin: http://chat.example:3210\r\nAccess-Control-Request-Method: POST\r\n\
             Access-Control-Request-Headers: {headers}\r\nAccess-Control-Request-Private-Network: true\r\n"
        );
        let reply = ask(&server, "OPTIONS", path, &lines);
        assert_eq!(reply.status, 200, "{path}");
        for (name, expected) in [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-methods", "GET,POST,HEAD,DELETE,OPTIONS"),
            ("access-control-allow-headers", headers),
            ("access-control-allow-private-network", "true"),
            ("access-control-max-age", "86400"),
        ] {
            assert_eq!(reply.header(name), Some(expected), "{name} of {path}");
        }
        assert_eq!(reply.header("access-control-allow-credentials"), None);
        assert_eq!(reply.body, b"");
    }
}

#[test]
fn a_page_may_read_replies_errors_and_refusals_alike() {
    let server = Server::with(&["--body-bytes", "1024"]);
    let origin = "Origin: https://chat.example\r\nContent-Type: application/json\r\n";
    for (method, path, body, status) in [
        ("GET", "/v1/models", String::new(), 200),
        ("POST", CHAT, chat("hello").to_string(), 200),
        ("POST", CHAT, "{".to_owned(), 400),
        ("POST", CHAT, json!({"x": "y".repeat(2000)}).to_string(), 413),
        ("GET", "/nowhere", String::new(), 404),
        ("PUT", CHAT, String::new(), 405),
    ] {
        let mut connection = server.connect();
        send(&mut connection, method, path, origin, &body);
        let reply = connection.reply();
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"), "{status}");
        let exposed = reply.header("access-control-expose-headers");
        assert_eq!(exposed, Some("x-request-id,retry-after,x-tandem-engine"), "{status}");
        assert!(reply.header("x-request-id").is_some(), "{status}");
    }
}

#[test]
fn only_the_pages_that_are_allowed_may_call() {
    let server = Server::with(&["--origins", "https://chat.example,http://localhost:*"]);
    for origin in ["https://chat.example", "http://localhost:3210"] {
        let reply = ask(&server, "GET", "/v1/models", &format!("Origin: {origin}\r\n"));
        assert_eq!(reply.status, 200, "{origin}");
        assert_eq!(reply.header("access-control-allow-origin"), Some(origin));
    }
    let asks = "Access-Control-Request-Method: POST\r\n";
    let preflight = ask(&server, "OPTIONS", CHAT, &format!("Origin: https://evil.com\r\n{asks}"));
    assert_eq!(preflight.header("access-control-allow-origin"), None);
    for lines in [
        "Origin: https://evil.com\r\nContent-Type: text/plain\r\n",
        "Origin: https://chat.example.evil.com\r\n",
        "Origin: null\r\nSec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
    ] {
        let mut connection = server.connect();
        send(&mut connection, "POST", CHAT, lines, &chat("hello").to_string());
        let reply = connection.reply();
        assert_eq!(reply.status, 403, "{lines}");
        assert_eq!(reply.header("access-control-allow-origin"), None, "{lines}");
        let error = check_error(lines, &reply.text());
        assert_eq!(error["code"], "origin_not_allowed", "{error}");
        assert!(error["message"].as_str().unwrap().contains("`origins`"), "{error}");
    }
    assert_eq!(
        ask(&server, "GET", "/v1/models", "").status,
        200,
        "what is no page's goes on"
    );
}

#[test]
fn a_name_that_is_not_the_server_s_is_refused() {
    let server = Server::with(&["--hosts", "gpu.example"]);
    let of = |head: &str| {
        let mut connection = server.connect();
        connection.write(format!("{head}\r\n\r\n").as_bytes());
        connection.reply()
    };
    let port = server.address.port();
    for host in [
        &format!("127.0.0.1:{port}"),
        "localhost",
        "GPU.example:80",
        "pi.local",
        "[::1]:80",
    ] {
        assert_eq!(
            of(&format!("GET /v1/models HTTP/1.1\r\nHost: {host}")).status,
            200,
            "{host}"
        );
    }
    for (status, head) in [
        (403, "GET /v1/models HTTP/1.1\r\nHost: evil.com"),
        (403, "GET /v1/models HTTP/1.1\r\nHost: localhost.evil.com:11434"),
        (403, "GET /v1/models HTTP/1.1\r\nHost: localhost."),
        (400, "GET /v1/models HTTP/1.1\r\nHost: localhost:x"),
        (400, "GET /v1/models HTTP/1.1"),
        (400, "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nHost: localhost"),
        (400, "GET http://evil.com/v1/models HTTP/1.1\r\nHost: localhost"),
    ] {
        let reply = of(head);
        assert_eq!(reply.status, status, "{head}: {}", reply.text());
        let error = check_error(head, &reply.text());
        assert!(error["message"].as_str().unwrap().contains("`hosts`"), "{error}");
    }
}
