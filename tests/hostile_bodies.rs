//! Bodies that no honest client sends: each is refused with a short reason, none is a 5xx or a hang, and the server
//! serves on.

use serde_json::json;

use crate::support::*;

/// Where a JSON body can be sent.
const DOORS: [&str; 4] = [CHAT, COMPLETIONS, "/tokenize", "/detokenize"];

/// Each body at each door: refused as the client's mistake.
fn check_refused(server: &mut Server, cases: &[(&str, Vec<u8>)]) {
    for (case, body) in cases {
        for door in DOORS {
            let reply = server.connect().post(door, body);
            let case = format!("{case} at {door}");
            assert!(
                (400..500).contains(&reply.status),
                "{case}: {} {}",
                reply.status,
                reply.text()
            );
            check_error(&case, &reply.text());
            server.check_alive();
        }
    }
    check_serves(server);
}

/// Each body at the chat door: answered or refused, but well.
fn check_answered_or_refused(server: &mut Server, cases: &[(&str, Vec<u8>)]) {
    for (case, body) in cases {
        let reply = server.connect().post(CHAT, body);
        if reply.status != 200 {
            assert!(
                (400..500).contains(&reply.status),
                "{case}: {} {}",
                reply.status,
                reply.text()
            );
            check_error(case, &reply.text());
        }
        server.check_alive();
    }
    check_serves(server);
}

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

/// A chat request whose message holds `content` just so.
fn message(content: &str) -> Vec<u8> {
    let head = r#"{"model":"default","max_tokens":2,"messages":[{"role":"user","content":"#;
    [head.as_bytes(), content.as_bytes(), b"}]}"].concat()
}

#[test]
fn what_is_not_json_is_refused() {
    check_refused(
        &mut Server::start(),
        &[
            ("an empty body", bytes("")),
            ("white space", bytes(" \n\t ")),
            ("a word", bytes("hello")),
            ("a cut object", bytes(r#"{"model": "default", "messages": [{"ro"#)),
            ("a cut string", bytes(r#"{"model": "def"#)),
            ("something after the end", bytes(r#"{"model": "default"} {"#)),
            ("a trailing comma", bytes(r#"{"model": "default",}"#)),
            ("single quotes", bytes("{'model': 'default'}")),
            ("a comment", bytes("{/* */}")),
            ("a byte order mark", bytes("\u{feff}[]")),
            ("UTF-16", "{}".encode_utf16().flat_map(u16::to_le_bytes).collect()),
            (
                "bytes that are not UTF-8",
                b"{\"model\": \"\xff\xfe\xc0\x80\"}".to_vec(),
            ),
            ("an overlong sequence", b"{\"model\": \"\xc0\xaf\"}".to_vec()),
            ("a bare NUL", b"{\"model\": \"\0\"}".to_vec()),
            ("NaN", bytes(r#"{"temperature": NaN}"#)),
            ("Infinity", bytes(r#"{"temperature": Infinity}"#)),
            ("a leading zero", bytes(r#"{"temperature": 01}"#)),
            ("a hexadecimal number", bytes(r#"{"seed": 0x10}"#)),
            ("a number that is too large", bytes(r#"{"temperature": 1e400}"#)),
            ("gzip without saying so", b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec()),
        ],
    );
}

#[test]
fn json_of_the_wrong_shape_is_refused() {
    check_refused(
        &mut Server::start(),
        &[
            ("null", bytes("null")),
            ("a list", bytes("[]")),
            ("a number", bytes("5")),
            ("a string", bytes("\"hello\"")),
            ("an empty object", bytes("{}")),
            ("fields of no kind we know", bytes(r#"{"a": 1, "b": [{}]}"#)),
            (
                "every field null",
                bytes(r#"{"model":null,"messages":null,"prompt":null,"tokens":null}"#),
            ),
            (
                "every field a number",
                bytes(r#"{"model":1,"messages":2,"prompt":3,"tokens":4}"#),
            ),
            (
                "every field an object",
                bytes(r#"{"model":{},"messages":{},"prompt":{},"tokens":{}}"#),
            ),
            (
                "every field a flag",
                bytes(r#"{"model":true,"messages":true,"prompt":true,"tokens":true}"#),
            ),
        ],
    );
}

#[test]
fn nesting_without_end_is_refused() {
    let nested = |open: &str, close: &str, depth: usize| format!("{}{}", open.repeat(depth), close.repeat(depth));
    let lists = nested("[", "]", 100_000);
    let objects = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    check_refused(
        &mut Server::start(),
        &[
            ("100,000 lists", bytes(&lists)),
            ("100,000 lists that never close", bytes(&"[".repeat(100_000))),
            ("a million lists that never close", bytes(&"[".repeat(1_000_000))),
            ("100,000 objects", bytes(&objects)),
            (
                "lists in a field of no interest",
                bytes(&format!(r#"{{"something":{lists}}}"#)),
            ),
            (
                "lists as the model",
                bytes(&format!(r#"{{"model":{lists},"prompt":{lists},"tokens":{lists}}}"#)),
            ),
        ],
    );
    let deep = nested("[", "]", 100_000);
    check_answered_or_refused(
        &mut Server::start(),
        &[
            ("a deep message", message(&deep)),
            (
                "a deep schema",
                bytes(&format!(
                    r#"{{"model":"default","messages":[],"response_format":{{"type":"json_schema","json_schema":{objects}}}}}"#
                )),
            ),
            (
                "deep tool arguments",
                bytes(&format!(r#"{{"model":"default","messages":[],"tools":[{deep}]}}"#)),
            ),
        ],
    );
}

#[test]
fn strange_strings_are_answered_or_refused() {
    check_answered_or_refused(
        &mut Server::start(),
        &[
            ("an escaped NUL", message(r#""a\u0000b""#)),
            ("a lone high surrogate", message(r#""\ud83d""#)),
            ("a lone low surrogate", message(r#""\ude00""#)),
            ("surrogates in the wrong order", message(r#""\ude00\ud83d""#)),
            (
                "every control character",
                message(r#""\u0001\u0002\u0003\u001b[31m\u007f\u0080\u0085\u2028\u2029""#),
            ),
            ("the last code point", message(r#""\udbff\udfff""#)),
            (
                "a key given twice",
                bytes(r#"{"model":"default","model":"tandem-tiny","messages":[],"messages":[]}"#),
            ),
            ("an empty text", message(r#""""#)),
            ("no messages", bytes(r#"{"model":"default","messages":[]}"#)),
            ("an empty message", bytes(r#"{"model":"default","messages":[{}]}"#)),
            (
                "a message of another kind",
                bytes(r#"{"model":"default","messages":["hello", 1, null]}"#),
            ),
            (
                "an unknown role",
                bytes(r#"{"model":"default","messages":[{"role":"root","content":"hi"}]}"#),
            ),
            (
                "no content",
                bytes(r#"{"model":"default","messages":[{"role":"user"}]}"#),
            ),
            (
                "only a system message",
                bytes(r#"{"model":"default","max_tokens":2,"messages":[{"role":"system","content":"a"}]}"#),
            ),
            ("an empty part list", message("[]")),
            ("a part without a type", message(r#"[{"text":"a"}]"#)),
            ("a part of an unknown type", message(r#"[{"type":"video","text":"a"}]"#)),
            (
                "a model name of a megabyte",
                bytes(&json!({"model": "m".repeat(1 << 20), "messages": []}).to_string()),
            ),
            (
                "a role of a megabyte",
                bytes(&format!(
                    r#"{{"model":"default","messages":[{{"role":"{}"}}]}}"#,
                    "r".repeat(1 << 20)
                )),
            ),
            (
                "a line break in the model's name",
                bytes(r#"{"model":"a\r\nSet-Cookie: b=c","messages":[{"role":"user","content":"a"}]}"#),
            ),
        ],
    );
}

#[test]
fn a_body_may_be_large_up_to_the_limit_and_not_beyond() {
    let mut server = Server::with_environment(&[], &[("TANDEM_BODY_BYTES", "65536")]);
    for door in DOORS {
        for size in [1_000, 10_000, 65_535, 65_536] {
            let body = format!("{}{}", " ".repeat(size - 2), "{}");
            let reply = server.connect().post(door, body.as_bytes());
            assert_eq!(reply.status, 400, "{size} bytes at {door}: {}", reply.text());
        }
        let body = format!("{}{}", " ".repeat(65_537 - 2), "{}");
        let reply = server.connect().post(door, body.as_bytes());
        assert_eq!(reply.status, 413, "{door}: {}", reply.text());
        assert!(
            check_error(door, &reply.text())["message"]
                .as_str()
                .unwrap()
                .contains("65536"),
            "{}",
            reply.text()
        );

        let json = "Content-Type: application/json\r\n";
        // A length alone is enough to refuse; the body of a chunked request is counted as it comes.
        let mut connection = server.connect();
        connection
            .write(format!("POST {door} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999999\r\n\r\n").as_bytes());
        assert_eq!(connection.reply().status, 413, "{door}");
        let mut connection = server.connect();
        connection.write(
            format!("POST {door} HTTP/1.1\r\nHost: localhost\r\n{json}Transfer-Encoding: chunked\r\n\r\n").as_bytes(),
        );
        for _ in 0..5 {
            connection.write(format!("4000\r\n{}\r\n", " ".repeat(0x4000)).as_bytes());
        }
        connection.write(b"0\r\n\r\n");
        assert_eq!(connection.reply().status, 413, "{door}, chunked");
    }
    server.check_alive();
    check_serves(&server);
}

#[test]
fn a_giant_prompt_is_refused_whatever_it_is_made_of() {
    let mut server = Server::start();
    // Twice as many bytes as JSON, where each is escaped: just under the limit of a body.
    let size = 1_000_000;
    for unit in [" ", "a", "\n", "中", "👩‍👩‍👧", "ﷺ", "\u{301}", "1", "a b ", "\t x"] {
        let text = unit.repeat(size / unit.len());
        for (door, request) in [
            (CHAT, chat(&text)),
            (COMPLETIONS, with(endless(1), json!({"prompt": text}))),
        ] {
            let reply = server.post(door, &request);
            assert_eq!(reply.status, 400, "{unit:?} at {door}: {}", reply.text());
            let error = check_error(unit, &reply.text());
            assert_eq!(error["code"], "context_length_exceeded", "{unit:?}: {error}");
        }
        let reply = server.post("/tokenize", &json!({"prompt": text}));
        assert!(reply.status < 500, "{unit:?}: {}", reply.text());
        server.check_alive();
    }
    check_serves(&server);
}
