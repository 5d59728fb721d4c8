//! The small endpoints: the model list, tokenize and detokenize, health, and what every reply carries.

use serde_json::json;

use crate::support::*;

#[test]
fn the_model_list_holds_the_tiny_model() {
    let server = Server::start();
    let models = server.get("/v1/models").ok();
    assert_eq!(models["object"], "list");
    let model = &models["data"][0];
    assert_eq!(
        (model["id"].as_str(), model["object"].as_str()),
        (Some("tandem-tiny"), Some("model")),
        "{models}"
    );
    assert!(
        model["created"].as_u64().is_some_and(|created| created > 1_700_000_000),
        "{models}"
    );
    assert!(model["owned_by"].is_string(), "{models}");
    assert_eq!(server.get("/v1/models/tandem-tiny").ok(), *model);
    assert_eq!(
        server.get("/v1/models").ok(),
        models,
        "the list changes from call to call"
    );
}

#[test]
fn an_unknown_model_is_refused_with_the_names_there_are() {
    let server = Server::start();
    for reply in [
        server.post(CHAT, &with(chat("hello"), json!({"model": "gpt-99"}))),
        server.post(COMPLETIONS, &with(endless(1), json!({"model": "gpt-99"}))),
        server.get("/v1/models/gpt-99"),
    ] {
        assert_eq!(reply.status, 404, "{}", reply.text());
        let error = check_error("unknown model", &reply.text());
        assert_eq!(error["code"], "model_not_found");
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains("gpt-99") && message.contains("tandem-tiny"),
            "{message}"
        );
    }
}

#[test]
fn the_name_default_always_means_the_configured_model() {
    let server = Server::start();
    for name in ["default", "tandem-tiny"] {
        let reply = server.post(CHAT, &with(chat("hello"), json!({"model": name}))).ok();
        assert!(!answer(&reply).text.is_empty());
    }
}

#[test]
fn tokens_turn_back_into_the_text_they_came_from() {
    let server = Server::start();
    for text in [
        "What is 12 + 30?",
        "你是一个python编程专家",
        "def add(a, b):\n    return a + b\n",
        "  two  spaces  ",
        "naïve é 🦀👩‍👩‍👧 ﷺ",
        "<think>",
        "<｜User｜>",
        "\u{2028}\u{0}\t\r\n",
        "",
    ] {
        let tokens = server
            .post("/tokenize", &json!({"prompt": text, "add_special_tokens": false}))
            .ok();
        let ids = tokens["tokens"].as_array().unwrap_or_else(|| panic!("{tokens}"));
        assert_eq!(tokens["count"], ids.len(), "{tokens}");
        let back = server.post("/detokenize", &json!({"tokens": ids})).ok();
        assert_eq!(back["prompt"], text, "{tokens}");
    }
}

#[test]
fn special_tokens_are_added_only_on_request() {
    let server = Server::start();
    let count = |special: bool| {
        let tokens = server
            .post("/tokenize", &json!({"prompt": "hello", "add_special_tokens": special}))
            .ok();
        tokens["count"].as_u64().unwrap()
    };
    assert_eq!(count(true), count(false) + 1, "one token that begins the text");
}

#[test]
fn an_unknown_token_id_is_refused() {
    let server = Server::start();
    for id in [json!(u32::MAX), json!(-1), json!(1.5), json!("1"), json!(null)] {
        let reply = server.post("/detokenize", &json!({"tokens": [id]}));
        assert_eq!(reply.status, 400, "{id}: {}", reply.text());
        check_error("unknown token id", &reply.text());
    }
}

#[test]
fn health_is_told_to_whoever_asks() {
    let server = Server::start();
    for path in ["/livez", "/readyz", "/health"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
}

#[test]
fn every_reply_has_a_request_id_of_its_own() {
    let server = Server::start();
    let mut connection = server.connect();
    let mut ids: Vec<String> = ["/v1/models", "/readyz", "/no-such-route", "/v1/models"]
        .map(|path| {
            connection
                .get(path)
                .header("x-request-id")
                .unwrap_or_else(|| panic!("no id: {path}"))
                .to_owned()
        })
        .into();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4, "{ids:?}");
}

#[test]
fn unknown_routes_and_wrong_methods_are_refused_in_the_same_shape() {
    let server = Server::start();
    let mut connection = server.connect();
    for (reply, status) in [
        (connection.get("/no-such-route"), 404),
        (connection.get("/v1/"), 404),
        (connection.get(CHAT), 405),
        (connection.post("/v1/models", b"{}"), 405),
        (connection.get("/v1/../etc/passwd"), 404),
        (connection.get("/%2e%2e/%2e%2e/etc/passwd"), 404),
    ] {
        assert_eq!(reply.status, status, "{}", reply.text());
        check_error("route", &reply.text());
    }
}

#[test]
fn a_connection_serves_many_requests() {
    let server = Server::start();
    let mut connection = server.connect();
    for _ in 0..3 {
        assert_eq!(connection.get("/v1/models").status, 200);
        assert_eq!(connection.post(CHAT, b"not json").status, 400);
        assert_eq!(connection.post(CHAT, chat("hello").to_string().as_bytes()).status, 200);
    }
}
