//! `/v1/responses`, whole, streamed and refused.

use std::sync::Arc;

use serde_json::{Value, json};

use super::kit::{Gate, Kit, begin, post, posting, until};
use crate::app::App;

const PATH: &str = "/v1/responses";

/// A whole response, with what differs from run to run replaced.
async fn response_to(app: &Arc<App>, body: &str) -> Value {
    let answer = post(app, PATH, body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    settled(answer.json())
}

/// Ids become what they begin with, and the time 0.
fn settled(mut value: Value) -> Value {
    match &mut value {
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                *value = match (key.as_str(), value.take()) {
                    ("id" | "item_id", Value::String(id)) => {
                        let (kind, unique) = id.split_once('_').unwrap();
                        assert_eq!(unique.len(), 32, "{id}");
                        kind.into()
                    }
                    ("created_at", _) => 0.into(),
                    (_, value) => settled(value),
                };
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = settled(item.take())),
        _ => {}
    }
    value
}

/// The events of a stream; each has its type as its name, and the next number.
async fn events_of(app: &Arc<App>, body: &str) -> Vec<Value> {
    let answer = post(app, PATH, body).await;
    assert_eq!(
        answer.header("content-type"),
        "text/event-stream; charset=utf-8",
        "{}",
        answer.body
    );
    let blocks = answer
        .body
        .strip_suffix("\n\n")
        .unwrap()
        .split("\n\n")
        .filter(|block| !block.starts_with(':'));
    let read = |(number, block): (usize, &str)| {
        let (name, data) = block.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        let mut event: Value = serde_json::from_str(data).unwrap();
        assert_eq!(event["type"], name);
        assert_eq!(event["sequence_number"], number);
        event.as_object_mut().unwrap().remove("sequence_number");
        settled(event)
    };
    blocks.enumerate().map(read).collect()
}

#[tokio::test]
async fn a_whole_response_has_openais_shape_to_the_letter() {
    let app = Kit::default().start();
    let body = r#"{"model":"test","input":"hi","top_p":0.5,"max_output_tokens":50,"reasoning":{"effort":"low"}}"#;
    let expected = json!({
        "id": "resp", "object": "response", "created_at": 0, "status": "completed", "background": false, "error": null,
        "incomplete_details": null, "instructions": null, "max_output_tokens": 50, "metadata": {}, "model": "test",
        "output": [
            {"type": "reasoning", "id": "rs", "status": "completed", "summary": [{"type": "summary_text", "text": "Hm."}]},
            {"type": "message", "id": "msg", "status": "completed", "role": "assistant", "content": [
                {"type": "output_text", "text": "Hi 你", "annotations": [], "logprobs": []},
            ]},
        ],
        "parallel_tool_calls": true, "previous_response_id": null, "reasoning": {"effort": "low", "summary": null},
        "store": false, "temperature": 0.6f32, "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [],
        "top_p": 0.5, "truncation": "disabled",
        "usage": {
            "input_tokens": 7, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 13, "output_tokens_details": {"reasoning_tokens": 4}, "total_tokens": 20,
        },
    });
    let found = response_to(&app, body).await;
    assert_eq!(
        found.to_string(),
        expected.to_string().replace("0.6000000238418579", "0.6")
    );
}

#[tokio::test]
async fn a_stream_tells_the_same_item_by_item() {
    let app = Kit::default().start();
    let whole = response_to(&app, r#"{"input":"hi"}"#).await;
    let events = events_of(&app, r#"{"input":"hi","stream":true}"#).await;
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let mut once = types.clone();
    once.dedup();
    assert_eq!(
        once,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.reasoning_summary_part.added",
            "response.reasoning_summary_text.delta",
            "response.reasoning_summary_text.done",
            "response.reasoning_summary_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    assert!(types.len() > once.len(), "all text came at once");
    let of = |name: &str| events.iter().filter(|event| event["type"] == name).collect::<Vec<_>>();
    let joined = |name: &str| {
        of(name)
            .iter()
            .map(|event| event["delta"].as_str().unwrap())
            .collect::<String>()
    };
    assert_eq!(joined("response.reasoning_summary_text.delta"), "Hm.");
    assert_eq!(joined("response.output_text.delta"), "Hi 你");
    assert_eq!(
        *of("response.output_text.delta")[0],
        json!({
            "type": "response.output_text.delta", "output_index": 1, "item_id": "msg", "content_index": 0,
            "delta": "H", "logprobs": [],
        })
    );
    assert_eq!(
        *of("response.reasoning_summary_text.done")[0],
        json!({
            "type": "response.reasoning_summary_text.done", "output_index": 0, "item_id": "rs", "summary_index": 0,
            "text": "Hm.",
        })
    );
    let items: Vec<_> = of("response.output_item.done")
        .iter()
        .map(|event| event["item"].clone())
        .collect();
    assert_eq!(items, *whole["output"].as_array().unwrap());
    assert_eq!(of("response.output_item.added")[1]["item"]["content"], json!([]));
    assert_eq!(of("response.created")[0]["response"]["status"], "in_progress");
    let mut last = of("response.completed")[0]["response"].clone();
    // The prompt was there already.
    last["usage"]["input_tokens_details"] = whole["usage"]["input_tokens_details"].clone();
    assert_eq!(last, whole);
}

#[tokio::test]
async fn what_is_cut_by_its_length_says_so() {
    let app = Kit::default().start();
    let whole = response_to(&app, r#"{"input":"hi","max_output_tokens":2}"#).await;
    assert_eq!(whole["status"], "incomplete");
    assert_eq!(whole["incomplete_details"], json!({"reason": "max_output_tokens"}));
    assert_eq!(whole["output"].as_array().unwrap().len(), 1);
    assert_eq!(whole["output"][0]["status"], "incomplete");
    assert_eq!(whole["output"][0]["summary"][0]["text"], "Hm");
    let events = events_of(&app, r#"{"input":"hi","max_output_tokens":8,"stream":true}"#).await;
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.incomplete");
    assert_eq!(last["response"]["output"][1]["content"][0]["text"], "Hi");
    assert_eq!(last["response"]["usage"]["output_tokens"], 8);
}

#[tokio::test]
async fn a_stream_that_breaks_ends_in_a_response_that_failed() {
    let kit = Kit {
        good_steps: 3,
        ..Kit::default()
    };
    let events = events_of(&kit.start(), r#"{"input":"hi","stream":true}"#).await;
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.failed");
    assert_eq!(last["response"]["status"], "failed");
    assert_eq!(last["response"]["error"]["code"], "server_error");
    assert!(!events.iter().any(|event| event["type"] == "response.completed"));
}

#[tokio::test]
async fn a_stream_begins_at_once_and_gives_signs_of_life() {
    let gate = Arc::new(Gate::default());
    let kit = Kit {
        gate: Some(gate.clone()),
        keep_alive: std::time::Duration::from_millis(1),
        ..Kit::default()
    };
    let app = kit.start();
    let response = begin(&app, posting(PATH, r#"{"input":"hi","stream":true}"#)).await;
    let mut body = response.into_body().into_data_stream();
    let mut chunks = Vec::new();
    while chunks.len() < 4 {
        let chunk = futures_util::StreamExt::next(&mut body).await.unwrap().unwrap();
        chunks.push(String::from_utf8(chunk.to_vec()).unwrap());
    }
    assert!(chunks[0].starts_with("event: response.created\n"), "{chunks:?}");
    assert!(chunks[1].starts_with("event: response.in_progress\n"), "{chunks:?}");
    assert_eq!(chunks[2..], [": keep-alive\n\n", ": keep-alive\n\n"]);
    gate.let_steps(usize::MAX);
    drop(body);
    until(|| {
        app.roster.loaded()[0]
            .engines
            .status()
            .iter()
            .all(|engine| engine.running == 0)
    })
    .await;
}

#[tokio::test]
async fn every_form_of_input_makes_the_same_conversation() {
    let app = Kit::default().start();
    let tokens = async |body: Value| response_to(&app, &body.to_string()).await["usage"]["input_tokens"].clone();
    let plain = tokens(json!({"input": "hi"})).await;
    for input in [
        json!([{"role": "user", "content": "hi"}]),
        json!([{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}]),
        json!([{"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "so"}], "content": [{}]},
               {"role": "user", "content": "hi"}]),
    ] {
        assert_eq!(tokens(json!({"input": input})).await, plain, "{input}");
    }
    let with_system = tokens(json!({"input": "hi", "instructions": "s"})).await;
    for role in ["developer", "system"] {
        let input = json!([{"role": role, "content": "s"}, {"role": "user", "content": "hi"}]);
        assert_eq!(tokens(json!({"input": input})).await, with_system);
    }
    assert_ne!(with_system, plain);
    let earlier = json!([
        {"role": "user", "content": "hi"},
        {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
         "content": [{"type": "output_text", "text": "Hi", "annotations": []}]},
        {"role": "user", "content": "hi"},
    ]);
    assert!(tokens(json!({"input": earlier})).await.as_u64() > plain.as_u64());
}

#[tokio::test]
async fn no_effort_is_no_thought() {
    let kit = Kit {
        reply: "Hi",
        ..Kit::default()
    };
    let whole = response_to(&kit.start(), r#"{"input":"hi","reasoning":{"effort":"none"}}"#).await;
    assert_eq!(whole["output"].as_array().unwrap().len(), 1);
    assert_eq!(whole["output"][0]["content"][0]["text"], "Hi");
}

#[tokio::test]
async fn a_response_repeats_the_form_that_it_has() {
    let app = Kit {
        reply: "Hm.</think>{\"n\":1}",
        ..Kit::default()
    }
    .start();
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    for format in [
        json!({"type": "json_object"}),
        json!({"type": "json_schema", "name": "n", "schema": schema}),
        json!({"type": "json_schema", "name": "n", "description": "d", "schema": schema, "strict": true}),
    ] {
        let body = |stream: bool| json!({"input": "hi", "text": {"format": format}, "stream": stream}).to_string();
        let whole = response_to(&app, &body(false)).await;
        assert_eq!(whole["text"], json!({"format": format}));
        assert_eq!(whole["output"][1]["content"][0]["text"], "{\"n\":1}");
        let events = events_of(&app, &body(true)).await;
        for event in [&events[0], events.last().unwrap()] {
            assert_eq!(event["response"]["text"]["format"], format, "{event}");
        }
    }
}

#[tokio::test]
async fn a_response_repeats_its_tools_and_how_they_may_be_called() {
    let app = Kit::calling_twice().start();
    let tools = json!([
        {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": true},
    ]);
    for (flag, calls) in [(json!(false), 1), (json!(true), 2), (Value::Null, 2)] {
        let body = json!({
            "input": "hi", "max_output_tokens": 500, "tools": tools, "tool_choice": "auto", "parallel_tool_calls": flag,
        });
        let whole = response_to(&app, &body.to_string()).await;
        assert_eq!((&whole["tools"], &whole["tool_choice"]), (&tools, &json!("auto")));
        assert_eq!(whole["parallel_tool_calls"], calls == 2, "{whole}");
        assert_eq!(whole["status"], "completed");
        let output = whole["output"].as_array().unwrap();
        let called = output.iter().filter(|item| item["type"] == "function_call").count();
        assert_eq!(called, calls, "{flag}: {whole}");
    }
    let off = json!({"input": "hi", "max_output_tokens": 5, "tools": tools, "tool_choice": "none"});
    let whole = response_to(&app, &off.to_string()).await;
    assert_eq!((&whole["tools"], &whole["tool_choice"]), (&tools, &json!("none")));
}

#[tokio::test]
async fn what_changes_nothing_is_accepted() {
    let app = Kit::default().start();
    let body = json!({
        "input": "hi", "store": true, "metadata": {"a": "b"}, "user": "u", "safety_identifier": "s",
        "prompt_cache_key": "k", "truncation": "auto", "service_tier": "auto", "parallel_tool_calls": false,
        "include": ["reasoning.encrypted_content"], "text": {"format": {"type": "text"}, "verbosity": "low"},
        "reasoning": {"effort": "high", "summary": "auto"}, "tools": [], "tool_choice": "auto", "top_logprobs": 0,
        "previous_response_id": null, "conversation": null, "background": false, "stream_options": null,
    });
    assert_eq!(response_to(&app, &body.to_string()).await["status"], "completed");
    let off = r#"{"input":"hi","tools":[{"type":"function","name":"f"}],"tool_choice":"none"}"#;
    assert_eq!(response_to(&app, off).await["status"], "completed");
}

#[tokio::test]
async fn what_is_wrong_is_refused_by_its_name() {
    let app = Kit::default().start();
    let image = json!([{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]);
    for (body, param) in [
        (json!({}), "input"),
        (json!({"input": []}), "input"),
        (json!({"input": 7}), "input"),
        (json!({"input": {"role": "user"}}), "input"),
        (json!({"input": [{"type": "reasoning"}]}), "input"),
        (json!({"input": ["hi"]}), "input[0]"),
        (json!({"input": [{"role": "robot", "content": "a"}]}), "input[0].role"),
        (json!({"input": [{"content": "a"}]}), "input[0].role"),
        (json!({"input": [{"role": "user"}]}), "input[0].content"),
        (json!({"input": [{"type": 7}]}), "input[0].type"),
        (json!({"input": image}), "input[0].content[0]"),
        (
            json!({"input": [{"role": "user", "content": "a"}, {"type": "function_call", "name": "f"}]}),
            "input[1]",
        ),
        (
            json!({"input": [{"type": "function_call_output", "output": "1"}]}),
            "input[0]",
        ),
        (json!({"input": [{"type": "item_reference", "id": "x"}]}), "input[0]"),
        (json!({"input": [{"type": "computer_call"}]}), "input[0]"),
        (json!({"input": "a", "instructions": 7}), "instructions"),
        (json!({"input": "a", "model": 7}), "model"),
        (json!({"input": "a", "stream": "yes"}), "stream"),
        (json!({"input": "a", "temperature": 3}), "temperature"),
        (json!({"input": "a", "top_p": 0}), "top_p"),
        (json!({"input": "a", "max_output_tokens": 0}), "max_output_tokens"),
        (json!({"input": "a", "reasoning": "low"}), "reasoning"),
        (json!({"input": "a", "reasoning": {"effort": 1}}), "reasoning.effort"),
        (
            json!({"input": "a", "reasoning": {"summary": "a".repeat(33)}}),
            "reasoning.summary",
        ),
        (json!({"input": "a", "text": []}), "text"),
        (
            json!({"input": "a", "text": {"format": {"type": "xml"}}}),
            "text.format",
        ),
        (json!({"input": "a", "text": {"format": "text"}}), "text.format"),
        (
            json!({"input": "a", "text": {"format": {"type": "json_object", "name": 7}}}),
            "text.format.name",
        ),
        (
            json!({"input": "a", "parallel_tool_calls": "no"}),
            "parallel_tool_calls",
        ),
        (
            json!({"input": "a", "tools": [{"type": "function", "name": "f"}]}),
            "tools",
        ),
        (
            json!({"input": "a", "previous_response_id": "resp_1"}),
            "previous_response_id",
        ),
        (json!({"input": "a", "conversation": {"id": "conv_1"}}), "conversation"),
        (json!({"input": "a", "background": true}), "background"),
        (json!({"input": "a", "prompt": {"id": "pmpt_1"}}), "prompt"),
        (json!({"input": "a", "top_logprobs": 5}), "top_logprobs"),
        (
            json!({"input": "a", "include": ["message.output_text.logprobs"]}),
            "include",
        ),
        (json!({"input": "a", "include": 7}), "include"),
    ] {
        let answer = post(&app, PATH, &body.to_string()).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.body);
        answer.error_code();
        assert_eq!(answer.json()["error"]["param"], param, "{body}: {}", answer.body);
    }
    let long = json!({"input": "a".repeat(1000)}).to_string();
    assert_eq!(post(&app, PATH, &long).await.error_code(), "context_length_exceeded");
    let unknown = post(&app, "/responses", r#"{"input":"a","model":"gpt-5"}"#).await;
    assert_eq!(
        (unknown.status.as_u16(), unknown.error_code().as_str()),
        (404, "model_not_found")
    );
}
