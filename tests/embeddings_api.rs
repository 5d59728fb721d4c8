//! `/v1/embeddings` and its kin in Ollama's API: a text has the same vector whatever it is asked with and in whatever
//! form.

use serde_json::{Value, json};

use crate::support::*;

const EMBEDDINGS: &str = "/v1/embeddings";
const TEXTS: [&str; 4] = ["1 + 1", "你是一个python编程专家", "def add(a, b):", "hello"];

fn embed(server: &Server, request: &Value) -> Value {
    server.post(EMBEDDINGS, request).ok()
}

/// The vectors of a reply, in order, whatever form they came in.
fn vectors(reply: &Value) -> Vec<Vec<f32>> {
    let data = reply["data"].as_array().unwrap_or_else(|| panic!("no data: {reply}"));
    for (index, item) in data.iter().enumerate() {
        assert_eq!((&item["object"], &item["index"]), (&json!("embedding"), &json!(index)));
    }
    data.iter().map(|item| numbers(&item["embedding"])).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "what was written as f32 reads back as f32"
)]
fn numbers(embedding: &Value) -> Vec<f32> {
    match embedding {
        Value::String(text) => floats(text),
        list => {
            let list = list.as_array().unwrap_or_else(|| panic!("no vector: {list}"));
            list.iter().map(|number| number.as_f64().unwrap() as f32).collect()
        }
    }
}

/// Base64 of little-endian f32.
fn floats(text: &str) -> Vec<f32> {
    let digit = |digit: u8| match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("no digit of base64: {other}"),
    };
    let digits = text.trim_end_matches('=').bytes().map(digit);
    let bits: Vec<u8> = digits
        .flat_map(|digit| (0..6).rev().map(move |bit| digit >> bit & 1))
        .collect();
    let byte = |bits: &[u8]| bits.iter().fold(0, |byte, bit| byte << 1 | bit);
    let bytes: Vec<u8> = bits.chunks_exact(8).map(byte).collect();
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect()
}

fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|value| value * value).sum::<f32>().sqrt()
}

#[test]
fn a_text_has_the_same_bits_alone_in_a_list_as_tokens_and_beside_running_replies() {
    let server = Server::start();
    let alone: Vec<Vec<f32>> = TEXTS
        .iter()
        .flat_map(|text| vectors(&embed(&server, &json!({"input": text}))))
        .collect();
    for (index, vector) in alone.iter().enumerate() {
        assert!((length(vector) - 1.0).abs() < 1e-5, "{}", length(vector));
        assert!(
            alone.iter().skip(index + 1).all(|other| other != vector),
            "two texts, one vector"
        );
    }
    let mut streams: Vec<Events> = (0..4)
        .map(|_| server.stream(COMPLETIONS, &with(endless(200), json!({"stream": true}))))
        .collect();
    // More than an engine takes at once.
    let many: Vec<&str> = TEXTS.iter().copied().cycle().take(50).collect();
    let found = vectors(&embed(&server, &json!({"input": many, "model": "default"})));
    assert_eq!(found.len(), 50);
    for (index, vector) in found.iter().enumerate() {
        assert!(*vector == alone[index % 4], "text {index} of a list");
    }
    let ids = |text: &&str| {
        let request = json!({"prompt": text, "add_special_tokens": true});
        server.post("/tokenize", &request).ok()["tokens"].clone()
    };
    let lists: Vec<Value> = TEXTS.iter().map(ids).collect();
    assert!(vectors(&embed(&server, &json!({"input": lists}))) == alone);
    assert!(vectors(&embed(&server, &json!({"input": lists[0]}))) == alone[..1]);
    for stream in &mut streams {
        assert_eq!(stream.last().as_deref(), Some("[DONE]"));
    }
}

#[test]
fn the_reply_has_openais_shape_and_counts_the_tokens_of_all_inputs() {
    let server = Server::start();
    let one = embed(&server, &json!({"input": "1 + 1", "user": "me"}));
    let count = server.post("/tokenize", &json!({"prompt": "1 + 1"})).ok()["count"].clone();
    assert_eq!(one["usage"], json!({"prompt_tokens": count, "total_tokens": count}));
    assert_eq!((&one["object"], &one["model"]), (&json!("list"), &json!("tandem-tiny")));
    let two = server
        .post("/embeddings", &json!({"input": ["1 + 1", "1 + 1"], "model": "default"}))
        .ok();
    let count = count.as_u64().unwrap() * 2;
    assert_eq!(two["usage"], json!({"prompt_tokens": count, "total_tokens": count}));
    assert_eq!(two["model"], "default");
    assert_eq!(vectors(&two)[0], vectors(&two)[1]);
}

#[test]
fn base64_is_the_same_numbers() {
    let server = Server::start();
    let request = |format: &str| json!({"input": TEXTS, "encoding_format": format});
    let (float, base64) = (embed(&server, &request("float")), embed(&server, &request("base64")));
    assert!(base64["data"][0]["embedding"].is_string(), "{base64}");
    assert!(vectors(&float) == vectors(&base64));
}

#[test]
fn dimensions_are_the_first_numbers_at_length_one() {
    let server = Server::start();
    let whole = vectors(&embed(&server, &json!({"input": "hello"}))).remove(0);
    let cut = vectors(&embed(&server, &json!({"input": "hello", "dimensions": 8}))).remove(0);
    let share = length(&whole[..8]);
    assert_eq!(cut.len(), 8);
    for (cut, whole) in cut.iter().zip(&whole) {
        assert!((cut - whole / share).abs() < 1e-6, "{cut} of {whole}");
    }
    let all = json!({"input": "hello", "dimensions": whole.len()});
    assert!(vectors(&embed(&server, &all)) == [whole.clone()]);
    let reply = server.post(EMBEDDINGS, &json!({"input": "hello", "dimensions": whole.len() + 1}));
    assert_eq!(reply.status, 400);
    let error = check_error("too many dimensions", &reply.text());
    assert_eq!(error["param"], "dimensions");
}

#[test]
fn what_cannot_be_embedded_is_refused_by_its_field() {
    let server = Server::with(&["--embedding-inputs", "3", "--context", "128"]);
    let check = |request: Value, status: u16, param: Value, code: &str| {
        let case = request.to_string();
        let reply = server.post(EMBEDDINGS, &request);
        assert_eq!(reply.status, status, "{case}");
        let error = check_error(&case, &reply.text());
        assert_eq!(
            (&error["param"], error["code"].as_str()),
            (&param, Some(code)),
            "{case}: {error}"
        );
    };
    let field = |request: Value, param: &str| check(request, 400, json!(param), "invalid_value");
    field(json!({}), "input");
    field(json!({"input": []}), "input");
    field(json!({"input": 1}), "input");
    field(json!({"input": {}}), "input");
    field(json!({"input": ""}), "input[0]");
    field(json!({"input": ["a", ""]}), "input[1]");
    field(json!({"input": ["a", 1]}), "input[1]");
    field(json!({"input": [[]]}), "input[0]");
    field(json!({"input": [1_000_000]}), "input[0]");
    field(json!({"input": ["a", "b", "c", "d"]}), "input");
    field(json!({"input": "a", "encoding_format": "int8"}), "encoding_format");
    field(json!({"input": "a", "encoding_format": 1}), "encoding_format");
    field(json!({"input": "a", "dimensions": 0}), "dimensions");
    field(json!({"input": "a", "dimensions": "8"}), "dimensions");
    let long = |tokens: usize| json!({"input": ["a", vec![5; tokens]]});
    check(long(129), 400, json!("input[1]"), "invalid_value");
    let long = |tokens: usize| json!({"input": [vec![4], vec![5; tokens]]});
    check(long(129), 400, Value::Null, "context_length_exceeded");
    assert_eq!(
        server.post(EMBEDDINGS, &long(128)).status,
        200,
        "the context is all theirs"
    );
    check(
        json!({"input": "a", "model": "nobody"}),
        404,
        json!("model"),
        "model_not_found",
    );
    check_serves(&server);
}

#[test]
fn more_inputs_than_the_queue_holds_are_embedded_a_few_at_a_time() {
    let server = Server::with(&["--slots", "1", "--queue", "0", "--devices", "cpu"]);
    let texts: Vec<String> = (0..30).map(|number| format!("{number} + {number}")).collect();
    let together = vectors(&embed(&server, &json!({"input": texts})));
    assert_eq!(together.len(), 30);
    assert!(vectors(&embed(&server, &json!({"input": texts[29]}))) == together[29..]);
}

#[test]
fn a_client_that_leaves_takes_its_texts_with_it() {
    let server = Server::start();
    let texts: Vec<String> = (0..200).map(|number| format!("{number} ").repeat(60)).collect();
    let mut connection = server.connect();
    connection.send_post(EMBEDDINGS, json!({"input": texts}).to_string().as_bytes());
    wait_until("the request is at work", || running_and_waiting(&server) != (0.0, 0.0));
    drop(connection);
    wait_until_idle(&server);
    let gone = metric(&server, "tandem_aborted_total", "client_gone");
    assert!((gone - 1.0).abs() < 1e-9, "{gone} requests left by their clients");
    check_serves(&server);
}

#[test]
fn ollamas_embed_gives_the_same_vectors_and_counts_what_it_read() {
    let server = Server::start();
    let expected = embed(&server, &json!({"input": TEXTS}));
    let reply = server
        .post(
            "/api/embed",
            &json!({"model": "default", "input": TEXTS, "options": {"num_ctx": 64}, "keep_alive": "5m"}),
        )
        .ok();
    let found: Vec<Vec<f32>> = reply["embeddings"].as_array().unwrap().iter().map(numbers).collect();
    assert!(found == vectors(&expected));
    assert_eq!(reply["model"], "default");
    assert_eq!(reply["prompt_eval_count"], expected["usage"]["prompt_tokens"]);
    assert!(
        reply["total_duration"].as_u64() > reply["load_duration"].as_u64(),
        "{reply}"
    );
    let one = server
        .post("/api/embed", &json!({"input": TEXTS[0], "dimensions": 8}))
        .ok();
    let cut = embed(&server, &json!({"input": TEXTS[0], "dimensions": 8}));
    assert!(numbers(&one["embeddings"][0]) == vectors(&cut)[0]);
    for nothing in [json!({}), json!({"input": ""}), json!({"input": []})] {
        let reply = server.post("/api/embed", &nothing).ok();
        assert_eq!(
            (&reply["embeddings"], &reply["prompt_eval_count"]),
            (&json!([]), &json!(0))
        );
    }
}

#[test]
fn ollamas_older_embeddings_gives_one_vector_at_its_own_length() {
    let server = Server::start();
    let expected = vectors(&embed(&server, &json!({"input": "hello"}))).remove(0);
    // As `curl -d` declares it.
    let mut connection = server.connect();
    let body = r#"{"model":"default","prompt":"hello"}"#;
    connection.write(
        format!(
            "POST /api/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
    let found = numbers(&connection.reply().ok()["embedding"]);
    let own = length(&found);
    assert!((own - 1.0).abs() > 1e-3, "a length of {own} is no proof");
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found / own - expected).abs() < 1e-5, "{found} / {own}, {expected}");
    }
    let nothing = server.post("/api/embeddings", &json!({"model": "default"})).ok();
    assert_eq!(nothing, json!({"embedding": []}));
}

#[test]
fn ollamas_embed_cuts_what_is_too_long_unless_told_not_to() {
    let server = Server::with(&["--context", "64"]);
    let long = "1 + 1 = 2; ".repeat(50);
    let request = |truncate: Value| json!({"input": ["hello", long], "truncate": truncate});
    let reply = server.post("/api/embed", &request(json!(true))).ok();
    let hello = server.post("/tokenize", &json!({"prompt": "hello"})).ok()["count"].as_u64();
    assert_eq!(reply["prompt_eval_count"].as_u64(), hello.map(|tokens| tokens + 64));
    assert_eq!(server.post("/api/embeddings", &json!({"prompt": long})).status, 200);
    for (request, words) in [
        (request(json!(false)), "context length"),
        (request(json!("no")), "truncate"),
        (json!({"input": 5}), "input"),
        (json!({"input": [{}]}), "input[0]"),
        (json!({"input": "a", "keep_alive": "soon"}), "keep_alive"),
    ] {
        let reply = server.post("/api/embed", &request);
        assert_eq!(reply.status, 400, "{request}");
        let error: Value = serde_json::from_str(&reply.text()).unwrap();
        let text = error["error"].as_str().unwrap_or_else(|| panic!("no text: {error}"));
        assert!(text.contains(words), "{text}");
    }
    assert_eq!(server.post("/api/embed", &json!({"model": "nobody"})).status, 404);
}
