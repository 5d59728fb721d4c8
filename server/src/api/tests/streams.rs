//! Replies as server-sent events.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::response::Response;
use chat::Start;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::kit::{Gate, Kit, begin, hi, post, posting, settled, until};
use crate::api::Api;
use crate::api::body::parse;
use crate::api::check;
use crate::api::error::ApiError;
use crate::api::generation::{Generation, Step};
use crate::api::sse::{EventStream, Events, Narrator};
use crate::http::RequestId;

const PATH: &str = "/v1/chat/completions";

async fn events_of(kit: Kit, fields: &str) -> Vec<String> {
    let app = kit.start();
    let answer = post(&app, PATH, &hi(&format!("\"stream\":true{fields}"))).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.events()
}

fn delta(json: &str) -> Value {
    serde_json::from_str::<Value>(json).unwrap()["choices"][0]["delta"].take()
}

#[tokio::test]
async fn a_stream_has_openais_shape_to_the_letter() {
    let events = events_of(Kit::default(), ",\"stream_options\":{\"include_usage\":true}").await;
    let chunk = |delta: Value, finish: Value| {
        json!({
            "id": "chatcmpl", "object": "chat.completion.chunk", "created": 0, "model": "tandem-test",
            "system_fingerprint": "fp",
            "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}],
        })
    };
    let mut expected = vec![chunk(json!({"role": "assistant", "content": ""}), Value::Null)];
    expected.extend(["H", "m", "."].map(|text| chunk(json!({"reasoning_content": text}), Value::Null)));
    expected.extend(["H", "i", " ", "你"].map(|text| chunk(json!({"content": text}), Value::Null)));
    expected.push(chunk(json!({}), json!("stop")));
    let mut usage = chunk(json!({}), Value::Null);
    usage["choices"] = json!([]);
    usage["usage"] = json!({
        "prompt_tokens": 7, "completion_tokens": 13, "total_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 4},
    });
    expected.push(usage);
    let (done, chunks) = events.split_last().unwrap();
    assert_eq!(done, "[DONE]");
    let found: Vec<_> = chunks.iter().map(|chunk| settled(chunk)).collect();
    let expected: Vec<_> = expected.iter().map(Value::to_string).collect();
    assert_eq!(found.join("\n"), expected.join("\n"));
    let head =
        |chunk: &String| serde_json::from_str::<Value>(chunk).map(|json| (json["id"].clone(), json["created"].clone()));
    let first = head(&chunks[0]).unwrap();
    assert!(
        chunks.iter().all(|chunk| head(chunk).unwrap() == first),
        "one id and one time for the whole stream"
    );
    assert!(
        chunks[0].starts_with("{\"id\":\"chatcmpl-"),
        "the id comes first, for those who read along"
    );
}

#[tokio::test]
async fn usage_is_not_sent_unasked() {
    let events = events_of(Kit::default(), "").await;
    assert!(
        events
            .iter()
            .all(|event| !event.contains("usage") && !event.contains("\"choices\":[]"))
    );
}

#[tokio::test]
async fn a_stream_is_not_cached_not_buffered_and_names_its_engine() {
    let app = Kit::default().start();
    let answer = post(&app, PATH, &hi("\"stream\":true")).await;
    assert_eq!(answer.header("cache-control"), "no-cache");
    assert_eq!(answer.header("x-accel-buffering"), "no");
    assert_eq!(answer.header("x-tandem-engine"), "0");
    assert_eq!(answer.header("x-request-id").len(), 36);
    assert!(!answer.body.contains('\r'));
}

#[tokio::test]
async fn inline_tags_are_chunks_of_their_own() {
    let events = events_of(Kit::default(), ",\"reasoning_format\":\"none\"").await;
    let texts: Vec<_> = events[1..]
        .iter()
        .take_while(|event| event.contains("\"content\""))
        .map(|event| delta(event)["content"].take())
        .collect();
    assert_eq!(
        texts,
        ["<think>\n", "H", "m", ".", "\n</think>\n\n", "H", "i", " ", "你"]
    );
}

#[tokio::test]
async fn a_hidden_thought_sends_nothing_and_empty_deltas_never_come() {
    let events = events_of(Kit::default(), ",\"reasoning_format\":\"hidden\"").await;
    assert!(events.iter().all(|event| !event.contains("reasoning_content")));
    assert_eq!(events.len(), 1 + 4 + 1 + 1);
    assert_eq!(events.iter().filter(|event| event.contains("\"delta\":{}")).count(), 1);
}

#[tokio::test]
async fn line_separators_in_a_reply_are_escaped() {
    let events = events_of(
        Kit {
            reply: "a</think>x\u{2028}\u{2029}\u{85}y",
            ..Kit::default()
        },
        "",
    )
    .await;
    let whole = events.join("");
    assert!(!whole.contains(['\u{2028}', '\u{2029}', '\u{85}']));
    let text: String = events
        .iter()
        .filter_map(|event| serde_json::from_str::<Value>(event).ok())
        .filter_map(|json| json["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(text, "x\u{2028}\u{2029}\u{85}y");
}

#[tokio::test]
async fn choices_interleave_each_under_its_index() {
    let gate = Arc::new(Gate::default());
    let app = Kit {
        gate: Some(gate.clone()),
        ..Kit::default()
    }
    .start();
    // The engine has both before it takes a step.
    let response = begin(&app, posting(PATH, hi("\"stream\":true,\"n\":2"))).await;
    gate.let_steps(usize::MAX);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let chunks: Vec<Value> = std::str::from_utf8(&body)
        .unwrap()
        .split("\n\n")
        .filter_map(|event| serde_json::from_str(event.strip_prefix("data: ")?).ok())
        .collect();
    for index in 0..2 {
        let own: Vec<_> = chunks
            .iter()
            .map(|chunk| &chunk["choices"][0])
            .filter(|choice| choice["index"] == index)
            .collect();
        assert_eq!(own[0]["delta"]["role"], "assistant");
        let text: String = own
            .iter()
            .filter_map(|choice| choice["delta"]["content"].as_str())
            .collect();
        assert_eq!(text, "Hi 你");
        assert_eq!(own.last().unwrap()["finish_reason"], "stop");
        assert_eq!(
            own.iter().filter(|choice| !choice["finish_reason"].is_null()).count(),
            1
        );
    }
    let order: Vec<_> = chunks
        .iter()
        .map(|chunk| chunk["choices"][0]["index"].as_u64().unwrap())
        .collect();
    let changes = order.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(changes > 3, "choices came one after the other: {order:?}");
}

#[tokio::test]
async fn streamed_logprobs_join_to_the_whole_list() {
    let logprobs = |json: &Value| {
        json["choices"][0]["logprobs"]["content"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    let app = Kit::default().start();
    let whole = post(&app, PATH, &hi("\"logprobs\":true,\"top_logprobs\":3"))
        .await
        .json();
    let events = post(&app, PATH, &hi("\"logprobs\":true,\"top_logprobs\":3,\"stream\":true"))
        .await
        .events();
    let streamed: Vec<Value> = events
        .iter()
        .filter_map(|event| serde_json::from_str(event).ok())
        .flat_map(|chunk: Value| logprobs(&chunk))
        .collect();
    assert_eq!(streamed, logprobs(&whole));
    assert_eq!(streamed.len(), 12);
}

#[tokio::test]
async fn the_role_comes_at_once_and_signs_of_life_until_the_first_token() {
    let gate = Arc::new(Gate::default());
    let kit = Kit {
        gate: Some(gate.clone()),
        keep_alive: Duration::from_millis(1),
        ..Kit::default()
    };
    let app = kit.start();
    let mut body = begin(&app, posting(PATH, hi("\"stream\":true"))).await.into_body();
    let mut next = async || {
        let frame = body.frame().await?.unwrap().into_data().unwrap();
        Some(String::from_utf8(frame.into()).unwrap())
    };
    let first = next().await.unwrap();
    assert!(
        first.starts_with("data: {") && first.contains("\"role\":\"assistant\""),
        "{first}"
    );
    for _ in 0..3 {
        assert_eq!(next().await.unwrap(), ": keep-alive\n\n");
    }
    gate.let_steps(usize::MAX);
    let mut rest = Vec::new();
    while let Some(chunk) = next().await {
        assert!(
            chunk.ends_with("\n\n") && chunk.matches("\n\n").count() == 1,
            "one event in one write: {chunk:?}"
        );
        rest.push(chunk);
    }
    assert_eq!(rest.last().unwrap(), "data: [DONE]\n\n");
}

#[tokio::test]
async fn a_client_that_leaves_frees_the_engine() {
    let gate = Arc::new(Gate::default());
    let app = Kit {
        gate: Some(gate.clone()),
        ..Kit::default()
    }
    .start();
    let body = begin(&app, posting(PATH, hi("\"stream\":true,\"n\":3")))
        .await
        .into_body();
    drop(body);
    gate.let_steps(usize::MAX);
    until(|| app.roster.loaded()[0].engines.status()[0].requests_cancelled == 3).await;
    let page = app.metrics.render(&[app.roster.loaded()[0].scraped()]);
    assert!(
        page.contains("tandem_aborted_total{reason=\"client_gone\"} 1"),
        "{page}"
    );
}

#[tokio::test]
async fn a_failure_after_the_start_is_an_error_event_and_no_done() {
    let app = Kit {
        good_steps: 3,
        ..Kit::default()
    }
    .start();
    let events = post(&app, PATH, &hi("\"stream\":true")).await.events();
    let error: Value = serde_json::from_str(events.last().unwrap()).unwrap();
    assert_eq!(
        (&error["error"]["code"], &error["error"]["type"]),
        (&json!("engine_failed"), &json!("server_error"))
    );
    assert!(events[0].contains("\"role\""));
    assert!(!events.iter().any(|event| event == "[DONE]"));
    // LobeChat takes these words for the user's own doing.
    assert!(!events.last().unwrap().contains("abort") && !events.last().unwrap().contains("cancel"));
}

#[tokio::test]
async fn the_drains_deadline_ends_a_stream_with_an_error_event() {
    let gate = Arc::new(Gate::default());
    let app = Kit {
        gate: Some(gate.clone()),
        ..Kit::default()
    }
    .start();
    let mut body = begin(&app, posting(PATH, hi("\"stream\":true"))).await.into_body();
    app.drain.begin();
    let role = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(
        role.starts_with(b"data: {\"id\""),
        "a draining server lets its streams run"
    );
    app.drain.expire();
    let rest = String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap();
    assert!(
        rest.contains("server_shutting_down") && !rest.contains("[DONE]"),
        "{rest}"
    );
    gate.let_steps(usize::MAX);
}

/// A narrator that breaks at its first step.
struct Broken;

impl Narrator for Broken {
    async fn whole(self, _generation: Generation) -> Result<Response, ApiError> {
        panic!("on purpose")
    }

    fn begin(&mut self, events: &mut Events) -> Result<(), ApiError> {
        events.push(&"begun")
    }

    fn step(&mut self, _step: Step, _events: &mut Events) -> Result<(), ApiError> {
        panic!("on purpose")
    }

    fn usage(&mut self, _generation: &Generation, _events: &mut Events) -> Result<(), ApiError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_stream_that_panics_ends_in_an_error_event_and_frees_the_engine() {
    let app = Kit {
        reply: "abcdefghijklmnopqrstuvwxyz",
        ..Kit::default()
    }
    .start();
    let api = Api::new(app.clone());
    let model = app.roster.lease(app.roster.wanted(None).await.unwrap()).await.unwrap();
    let request = parse(br#"{"prompt":"a"}"#).unwrap();
    let options = check::completion_request(request, &api.rules(&model)).unwrap().options;
    let id = RequestId::of(&HeaderMap::new());
    let generation = api
        .submit(&model, vec![vec![1, 2, 3]], Start::Raw, &options, id)
        .await
        .unwrap()
        .generation;
    let keep_alive = Duration::from_secs(60);
    let response = EventStream {
        generation,
        narrator: Broken,
        with_usage: true,
        keep_alive,
    }
    .into_response();
    let body = String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap();
    let (begun, error) = body.split_once("\n\n").unwrap();
    assert_eq!(begun, "data: \"begun\"");
    assert!(error.contains("internal_error") && error.ends_with("}}\n\n"), "{error}");
    until(|| app.roster.loaded()[0].engines.status()[0].running == 0).await;
}
