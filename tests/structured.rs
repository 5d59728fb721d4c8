//! Answers held to a form: JSON, JSON of a schema, on every endpoint, whole and streamed, with thought and without.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::*;

/// A schema whose answers are short, whatever a model says.
fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "colour": {"enum": ["red", "green"]},
            "sum": {"type": "integer", "minimum": 10, "maximum": 99},
            "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "minItems": 1, "maxItems": 2}
        },
        "required": ["sum", "colour", "tags"],
        "additionalProperties": false,
        "$defs": {"tag": {"type": "string", "pattern": "^[a-z]{2,4}$"}}
    })
}

fn check_valid(text: &str) {
    let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text:?}"));
    let fields = value.as_object().expect("an object");
    assert_eq!(fields.len(), 3, "{text}");
    assert!(["red", "green"].contains(&value["colour"].as_str().unwrap()), "{text}");
    assert!((10..=99).contains(&value["sum"].as_i64().unwrap()), "{text}");
    let tags = value["tags"].as_array().unwrap();
    assert!((1..=2).contains(&tags.len()), "{text}");
    for tag in tags {
        let tag = tag.as_str().unwrap();
        assert!(
            (2..=4).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_lowercase()),
            "{text}"
        );
    }
}

/// The ways to ask for the schema in OpenAI's API.
fn ways() -> [Value; 4] {
    [
        json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": true, "schema": schema()}}}),
        json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": false, "schema": schema()}}}),
        json!({"guided_json": schema()}),
        json!({"structured_outputs": {"json": schema()}}),
    ]
}

const NO_THOUGHT: &str = "none";

#[test]
fn an_answer_is_of_its_schema_behind_a_free_thought_and_without_one() {
    let server = Server::start();
    let free = answer(&server.post(CHAT, &chat("What is 12 + 30?")).ok());
    for way in ways() {
        let request = with(chat("What is 12 + 30?"), way.clone());
        let held = answer(&server.post(CHAT, &request).ok());
        check_valid(&held.text);
        assert_eq!(
            (held.thought.as_str(), held.finish.as_str()),
            (free.thought.as_str(), "stop")
        );
        let streamed = joined(&mut server.stream(CHAT, &with(request, json!({"stream": true}))));
        assert_eq!(streamed, held);
        let request = with(chat("hello"), with(way, json!({"reasoning_effort": NO_THOUGHT})));
        let held = answer(&server.post(CHAT, &request).ok());
        check_valid(&held.text);
        assert_eq!((held.thought.as_str(), held.finish.as_str()), ("", "stop"));
    }
}

#[test]
fn every_choice_of_any_temperature_is_of_the_schema() {
    let server = Server::start();
    let [way, ..] = ways();
    for seed in 0..4 {
        let drawn = json!({"n": 3, "temperature": 1.8, "seed": seed, "reasoning_effort": NO_THOUGHT});
        let reply = server.post(CHAT, &with(chat("hello"), with(way.clone(), drawn))).ok();
        let choices = reply["choices"].as_array().unwrap();
        assert_eq!(choices.len(), 3);
        choices.iter().for_each(|choice| check_valid(&answer_of(choice).text));
    }
}

#[test]
fn a_completion_is_held_from_its_first_token_on() {
    let server = Server::start();
    for way in ways() {
        let request = json!({"model": "default", "prompt": ["1 + 1", "hello"], "max_tokens": 300, "temperature": 0});
        let reply = server.post(COMPLETIONS, &with(request, way)).ok();
        for choice in reply["choices"].as_array().unwrap() {
            check_valid(choice["text"].as_str().unwrap());
            assert_eq!(choice["finish_reason"], "stop");
        }
    }
}

#[test]
fn json_without_a_schema_is_an_object() {
    let server = Server::start();
    // The tiny model has no idea of JSON and may go on for long: with a bias for what closes it ends.
    let brief = json!({"response_format": {"type": "json_object"}, "reasoning_effort": NO_THOUGHT, "max_tokens": 600});
    let tokens = server
        .post("/tokenize", &json!({"prompt": "\"}", "add_special_tokens": false}))
        .ok();
    let mut bias = json!({});
    for token in tokens["tokens"].as_array().unwrap() {
        bias[token.to_string()] = json!(40);
    }
    let reply = server
        .post(CHAT, &with(chat("hello"), with(brief, json!({"logit_bias": bias}))))
        .ok();
    let held = answer(&reply);
    assert_eq!(held.finish, "stop", "{held:?}");
    assert!(
        serde_json::from_str::<Value>(&held.text).unwrap().is_object(),
        "{held:?}"
    );
}

#[test]
fn the_same_answer_whatever_the_company_under_a_schema_too() {
    let server = Server::start();
    let [way, ..] = ways();
    let ask = |seed: u64| {
        with(
            chat("hello"),
            with(way.clone(), json!({"temperature": 1.2, "seed": seed})),
        )
    };
    let alone: Vec<Answer> = (0..6).map(|seed| answer(&server.post(CHAT, &ask(seed)).ok())).collect();
    let together: Vec<Answer> = std::thread::scope(|scope| {
        let asking = |seed| {
            scope.spawn({
                let (server, request) = (&server, ask(seed));
                move || answer(&server.post(CHAT, &request).ok())
            })
        };
        let threads: Vec<_> = (0..6).map(asking).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(alone, together);
    alone.iter().for_each(|held| check_valid(&held.text));
}

#[test]
fn a_schema_that_cannot_be_held_to_is_refused_with_its_reason_and_soon() {
    let server = Server::start();
    let deep = (0..70).fold(json!({}), |inner, _| json!({"items": inner}));
    let options: Vec<Value> = (0..40)
        .map(|name| json!({"properties": {name.to_string(): {"type": "string"}}}))
        .collect();
    let begun = Instant::now();
    for (schema, said) in [
        (json!({"not": {}}), "not"),
        (json!({"type": "string", "pattern": "(a"}), "schema"),
        (json!({"type": "array", "uniqueItems": true}), "uniqueItems"),
        (json!({"$ref": "#/$defs/no"}), "#/$defs/no"),
        (json!({"$ref": "http://127.0.0.1:1/"}), "$ref"),
        (json!({"type": "strnig"}), "strnig"),
        (deep, "64 levels"),
        (json!({"description": "x".repeat(100_000)}), "65536 bytes"),
        (
            json!({"allOf": (0..8).map(|_| json!({"anyOf": options})).collect::<Vec<_>>()}),
            "schema",
        ),
        (json!(false), "false"),
    ] {
        let format =
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}});
        let reply = server.post(CHAT, &with(chat("hello"), format));
        assert_eq!(reply.status, 400, "{}", reply.text());
        let error = check_error(said, &reply.text());
        assert_eq!(error["param"], "response_format");
        assert!(error["message"].as_str().unwrap().contains(said), "{error}");
    }
    // Not a measure: a schema that is multiplied out would take hours.
    assert!(begun.elapsed() < Duration::from_secs(60));
    check_serves(&server);
}

#[test]
fn ollamas_format_is_kept_to_in_chat_and_generate() {
    let server = Server::start();
    for think in [true, false] {
        let request = json!({"model": "default", "messages": [{"role": "user", "content": "hello"}], "format": schema(),
                             "stream": false, "think": think, "options": {"temperature": 0}});
        let reply = server.post("/api/chat", &request).ok();
        check_valid(reply["message"]["content"].as_str().unwrap());
        assert_eq!(reply["done_reason"], "stop");
        let request =
            json!({"model": "default", "prompt": "hello", "format": schema(), "stream": false, "think": think});
        let reply = server.post("/api/generate", &request).ok();
        check_valid(reply["response"].as_str().unwrap());
    }
    for format in [json!("xml"), json!(["json"]), json!({"not": {}})] {
        let request = json!({"model": "default", "prompt": "hello", "format": format});
        let reply = server.post("/api/generate", &request);
        assert_eq!(reply.status, 400, "{}", reply.text());
        assert!(
            reply.json()["error"].as_str().unwrap().contains("format"),
            "{}",
            reply.text()
        );
    }
}
