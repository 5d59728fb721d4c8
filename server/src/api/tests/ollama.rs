//! Ollama's chat and generate, to the letter.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use chat::{Message, Role};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::kit::{Answer, Gate, Kit, begin, get, post, posting, send, until};
use crate::app::{App, ThinkShown};
use crate::roster::Opening;

const CHAT: &str = "/api/chat";
const GENERATE: &str = "/api/generate";

/// A chat of one message with the fields of `more`.
fn hi(more: Value) -> String {
    with(
        json!({"model": "test", "messages": [{"role": "user", "content": "hi"}]}),
        more,
    )
}

fn with(mut request: Value, more: Value) -> String {
    let Value::Object(more) = more else {
        panic!("not an object: {more}")
    };
    request.as_object_mut().unwrap().extend(more);
    request.to_string()
}

/// The lines of a stream; anything but lines of JSON is an error.
fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let lines = answer.body.strip_suffix('\n').unwrap().split('\n');
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A whole reply, its time of day taken out.
async fn whole(app: &Arc<App>, path: &str, body: &str) -> Value {
    let answer = post(app, path, body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
    settled(answer.json())
}

/// Takes out what differs from run to run, after a look at it.
fn settled(mut line: Value) -> Value {
    let object = line.as_object_mut().unwrap();
    let time = object.remove("created_at").unwrap();
    let time = time.as_str().unwrap();
    assert!(
        time.len() == 30 && time.ends_with('Z') && time.as_bytes()[10] == b'T',
        "{time}"
    );
    let durations = ["load_duration", "prompt_eval_duration", "eval_duration"];
    if let Some(total) = object.remove("total_duration") {
        let parts: Vec<u64> = durations
            .iter()
            .map(|name| object.remove(*name).map_or(0, |part| part.as_u64().unwrap()))
            .collect();
        assert!(
            parts.iter().sum::<u64>() <= total.as_u64().unwrap(),
            "{parts:?} of {total}"
        );
    }
    line
}

/// What a reply says in its message, line by line: `thinking` in brackets.
fn said(lines: &[Value]) -> Vec<String> {
    let text = |line: &Value| {
        let message = &line["message"];
        assert_eq!(message["role"], "assistant", "on every line: {line}");
        let content = message["content"].as_str().unwrap();
        match message.get("thinking") {
            Some(thinking) => {
                assert_eq!(content, "", "thought and text share a line: {line}");
                format!("({})", thinking.as_str().unwrap())
            }
            None => content.to_owned(),
        }
    };
    lines.iter().map(text).collect()
}

async fn error(app: &Arc<App>, path: &str, body: &str) -> (u16, String) {
    let answer = post(app, path, body).await;
    assert_eq!(
        answer.header("content-type"),
        "application/json; charset=utf-8",
        "{}",
        answer.body
    );
    let json = answer.json();
    assert_eq!(json.as_object().unwrap().len(), 1, "{json}");
    (answer.status.as_u16(), json["error"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_stream_of_a_chat_has_ollamas_shape_and_the_tags_inline_as_lines_of_their_own() {
    let app = Kit::default().start();
    let lines = lines(&post(&app, CHAT, &hi(json!({}))).await);
    let texts = ["<think>\n", "H", "m", ".", "\n</think>\n\n", "H", "i", " ", "你", ""];
    assert_eq!(said(&lines), texts);
    let (last, rest) = lines.split_last().unwrap();
    for (line, text) in rest.iter().zip(texts) {
        let message = json!({"role": "assistant", "content": text});
        assert_eq!(
            settled(line.clone()),
            json!({"model": "test", "message": message, "done": false})
        );
    }
    let expected = json!({
        "model": "test", "message": {"role": "assistant", "content": ""}, "done": true, "done_reason": "stop",
        "prompt_eval_count": 7, "eval_count": 13,
    });
    assert_eq!(settled(last.clone()), expected);
}

#[tokio::test]
async fn a_stream_of_a_generation_has_ollamas_shape_and_gives_its_tokens_to_go_on_from() {
    let app = Kit::default().start();
    let body = json!({"model": "test", "prompt": "hi", "think": true}).to_string();
    let lines = lines(&post(&app, GENERATE, &body).await);
    let (last, rest) = lines.split_last().unwrap();
    let thought = json!({"model": "test", "response": "", "thinking": "H", "done": false});
    assert_eq!(settled(rest[0].clone()), thought);
    assert_eq!(
        settled(rest[3].clone()),
        json!({"model": "test", "response": "H", "done": false})
    );
    let mut last = settled(last.clone());
    let context: Vec<u64> = serde_json::from_value(last["context"].take()).unwrap();
    assert_eq!(context[..7], [259, 257, 104, 105, 258, 260, 10]);
    assert_eq!(context.len(), 7 + 12);
    let expected = json!({
        "model": "test", "response": "", "done": true, "done_reason": "stop", "context": null,
        "prompt_eval_count": 7, "eval_count": 13,
    });
    assert_eq!(last, expected);

    let more = json!({"model": "test", "prompt": "and", "context": context, "stream": false}).to_string();
    let next = whole(&app, GENERATE, &more).await;
    // The turn before is ended, and the text begins only once.
    assert_eq!(next["prompt_eval_count"], 19 + 1 + 7);
    assert_eq!(
        next["context"].as_array().unwrap()[..20],
        [&context[..], &[256]].concat()[..]
    );
}

#[tokio::test]
async fn a_whole_reply_is_one_object() {
    let app = Kit::default().start();
    let chat = whole(&app, CHAT, &hi(json!({"stream": false, "think": "high"}))).await;
    let expected = json!({
        "model": "test", "message": {"role": "assistant", "content": "Hi 你", "thinking": "Hm."},
        "done": true, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 13,
    });
    assert_eq!(chat, expected);
    let body = json!({"prompt": "hi", "stream": false}).to_string();
    let generated = whole(&app, GENERATE, &body).await;
    assert_eq!(generated["model"], "tandem-test");
    assert_eq!(generated["response"], "<think>\nHm.\n</think>\n\nHi 你");
}

#[tokio::test]
async fn think_decides_where_the_thought_is_shown_and_the_setting_where_nobody_asks() {
    let app = Kit::default().start();
    let split = ["(H)", "(m)", "(.)", "H", "i", " ", "你", ""];
    for think in [json!(true), json!("low"), json!("max")] {
        assert_eq!(
            said(&lines(&post(&app, CHAT, &hi(json!({"think": think}))).await)),
            split
        );
    }
    let unthought = whole(&app, CHAT, &hi(json!({"think": false, "stream": false}))).await;
    // The empty thought is part of the prompt: "\n\n</think>\n\n" in place of "\n".
    assert_eq!(unthought["prompt_eval_count"], 7 + 4);
    let (status, message) = error(&app, CHAT, &hi(json!({"think": "deeply"}))).await;
    assert_eq!(status, 400);
    assert!(message.contains("think is the text \"deeply\": give true"), "{message}");
    let app = Kit {
        think: ThinkShown::Split,
        ..Kit::default()
    }
    .start();
    assert_eq!(said(&lines(&post(&app, CHAT, &hi(json!({}))).await)), split);
}

#[tokio::test]
async fn options_reach_the_engine() {
    let app = Kit::default().start();
    let cut = whole(&app, CHAT, &hi(json!({"stream": false, "options": {"num_predict": 2}}))).await;
    assert_eq!((&cut["done_reason"], &cut["eval_count"]), (&json!("length"), &json!(2)));
    assert_eq!(cut["message"]["content"], "<think>\nHm");
    let stopped = whole(
        &app,
        CHAT,
        &hi(json!({"stream": false, "think": true, "options": {"stop": ["i"]}})),
    )
    .await;
    assert_eq!(
        (&stopped["done_reason"], &stopped["message"]["content"]),
        (&json!("stop"), &json!("H"))
    );
    let (status, message) = error(&app, CHAT, &hi(json!({"options": {"seed": "x"}}))).await;
    assert_eq!(
        (status, message.as_str()),
        (400, "option \"seed\" must be of type integer")
    );
    let named = whole(
        &app,
        CHAT,
        &hi(json!({"stream": false, "logprobs": true, "top_logprobs": 1})),
    )
    .await;
    let logprobs = named["logprobs"].as_array().unwrap();
    assert_eq!((logprobs.len(), &logprobs[0]["token"]), (12, &json!("H")));
    assert_eq!(logprobs[0]["top_logprobs"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_request_without_a_prompt_loads_or_unloads() {
    let app = Kit::default().start();
    let message = json!({"role": "assistant", "content": ""});
    for (reason, keep_alive) in [
        ("load", json!("10m")),
        ("load", json!(-1)),
        ("unload", json!(0)),
        ("unload", json!("0s")),
    ] {
        for messages in [json!([]), json!(null)] {
            let body = json!({"model": "test", "messages": messages, "keep_alive": keep_alive}).to_string();
            let expected = json!({"model": "test", "message": message, "done": true, "done_reason": reason});
            assert_eq!(whole(&app, CHAT, &body).await, expected);
        }
        let body = json!({"model": "test", "keep_alive": keep_alive}).to_string();
        let expected = json!({"model": "test", "response": "", "done": true, "done_reason": reason});
        assert_eq!(whole(&app, GENERATE, &body).await, expected);
        let unknown = json!({"model": "llama9", "keep_alive": keep_alive}).to_string();
        assert_eq!(error(&app, GENERATE, &unknown).await.0, 404);
    }
}

#[tokio::test]
async fn errors_are_strings_with_the_right_status() {
    let app = Kit::default().start();
    for (path, body, status, words) in [
        (CHAT, String::new(), 400, "missing request body"),
        (CHAT, "{".to_owned(), 400, "not valid JSON"),
        (CHAT, "[]".to_owned(), 400, "a list of 0"),
        (
            CHAT,
            hi(json!({"model": "llama9"})),
            404,
            "model \"llama9\" not found, try pulling it first",
        ),
        (CHAT, hi(json!({"model": 7})), 400, "model is 7"),
        (CHAT, hi(json!({"messages": 7})), 400, "messages is 7"),
        (
            CHAT,
            hi(json!({"messages": [{"role": "pope"}]})),
            400,
            "messages[0].role",
        ),
        (
            CHAT,
            hi(json!({"messages": [{"role": "user", "images": ["aGk="]}]})),
            400,
            "messages[0].images",
        ),
        (CHAT, hi(json!({"keep_alive": "soon"})), 400, "keep_alive is"),
        (CHAT, hi(json!({"truncate": 1})), 400, "truncate is 1"),
        (GENERATE, json!({"prompt": 7}).to_string(), 400, "prompt is 7"),
        (
            GENERATE,
            json!({"prompt": "a", "images": ["aGk="]}).to_string(),
            400,
            "images is a list of 1",
        ),
        (
            GENERATE,
            json!({"prompt": "a", "suffix": "b"}).to_string(),
            400,
            "does not support insert",
        ),
        (
            GENERATE,
            json!({"prompt": "a", "template": "{{ .Prompt }}"}).to_string(),
            400,
            "template is",
        ),
        (
            GENERATE,
            json!({"prompt": "a", "context": [262]}).to_string(),
            400,
            "context[0] is 262",
        ),
        (
            GENERATE,
            json!({"prompt": "a", "context": [-1]}).to_string(),
            400,
            "context[0] is -1",
        ),
        (
            GENERATE,
            json!({"prompt": "a", "context": "x"}).to_string(),
            400,
            "context is",
        ),
        (
            GENERATE,
            json!({"prompt": "a", "context": vec![1; 256]}).to_string(),
            400,
            "has 256 tokens",
        ),
        (
            GENERATE,
            json!({"prompt": "a".repeat(300)}).to_string(),
            400,
            "maximum context length is 256",
        ),
        (
            GENERATE,
            json!({"prompt": "a", "raw": true, "system": "b"}).to_string(),
            400,
            "raw mode does not support template, system, or context",
        ),
        ("/api/nowhere", "{}".to_owned(), 404, "does not exist here"),
    ] {
        let (found, message) = error(&app, path, &body).await;
        assert!(
            found == status && message.contains(words),
            "{path} {body}: {found} {message}"
        );
    }
    let wrong = get(&app, CHAT).await;
    assert_eq!((wrong.status.as_u16(), wrong.header("allow")), (405, "POST"));
    assert!(wrong.json()["error"].is_string(), "{}", wrong.body);
}

#[tokio::test]
async fn any_content_type_or_none_is_taken() {
    let app = Kit::default().start();
    for content_type in [None, Some("application/x-www-form-urlencoded"), Some("text/plain")] {
        let mut request = Request::post(CHAT);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let answer = send(&app, request.body(Body::from(hi(json!({})))).unwrap()).await;
        assert_eq!(answer.status, 200, "{content_type:?}: {}", answer.body);
    }
    let foreign = Request::post(CHAT)
        .header("content-type", "text/plain")
        .header("sec-fetch-site", "cross-site");
    let answer = send(&app, foreign.body(Body::from(hi(json!({})))).unwrap()).await;
    assert_eq!(answer.status, 403, "{}", answer.body);
}

#[tokio::test]
async fn a_model_s_own_opening_stands_before_a_conversation_that_has_none() {
    let say = |role, content: &str| Message::new(role, content);
    let app = Kit {
        opening: Opening {
            system: Some("Be kind.".to_owned()),
            messages: vec![say(Role::User, "a"), say(Role::Assistant, "b")],
            go_template: Some("{{ .Prompt }}".to_owned()),
        },
        ..Kit::default()
    }
    .start();
    let tokens = async |path: &str, body: String| whole(&app, path, &body).await["prompt_eval_count"].as_u64().unwrap();
    // User, a, assistant, b and its end.
    let (bare, turns) = (7, 5);
    let system = [
        json!({"role": "System", "content": "Hm"}),
        json!({"role": "user", "content": "hi"}),
    ];
    assert_eq!(tokens(CHAT, hi(json!({"stream": false}))).await, bare + turns + 8);
    assert_eq!(
        tokens(CHAT, hi(json!({"stream": false, "messages": system}))).await,
        bare + turns + 2
    );
    let prompt = |more: Value| with(json!({"prompt": "hi", "stream": false}), more);
    assert_eq!(tokens(GENERATE, prompt(json!({}))).await, bare + turns + 8);
    assert_eq!(
        tokens(GENERATE, prompt(json!({"system": "Hm"}))).await,
        bare + turns + 2
    );
    assert_eq!(
        tokens(GENERATE, prompt(json!({"template": "{{ .Prompt }}"}))).await,
        bare + turns + 8
    );
    // What is gone on from has had its opening.
    assert_eq!(
        tokens(GENERATE, prompt(json!({"context": [259, 104, 256]}))).await,
        3 + bare - 1
    );
}

#[tokio::test]
async fn raw_takes_the_prompt_as_it_is_with_its_control_tokens() {
    let app = Kit::default().start();
    let prompt = "<｜User｜>hi<｜Assistant｜><think>\n";
    let body = json!({"prompt": prompt, "raw": true, "stream": false}).to_string();
    let reply = whole(&app, GENERATE, &body).await;
    assert_eq!((&reply["prompt_eval_count"], reply.get("context")), (&json!(7), None));
    assert_eq!(reply["response"], "Hm.</think>\n\nHi 你");
    // Anywhere else the same text is only text.
    let body = json!({"prompt": prompt, "stream": false}).to_string();
    assert_eq!(
        whole(&app, GENERATE, &body).await["prompt_eval_count"],
        5 + prompt.len()
    );
}

#[tokio::test]
async fn a_conversation_that_is_too_long_loses_its_oldest_turns_and_says_so() {
    let app = Kit::default().start();
    let turn = |role: &str, content: &str| json!({"role": role, "content": content.repeat(10)});
    let mut messages = vec![turn("system", "Be kind.")];
    for _ in 0..10 {
        messages.extend([turn("user", "a"), turn("assistant", "b")]);
    }
    messages.push(turn("user", "c"));
    let send = async |fields: Value| {
        let fields = with(json!({"messages": messages, "stream": false}), fields);
        let answer = post(&app, CHAT, &fields).await;
        let dropped = answer.header("x-tandem-dropped-messages").to_owned();
        (answer.status.as_u16(), dropped, answer.json())
    };
    // 1 + 80, then 11 for each user's turn and 12 for each answer, 11 and 3 at the end: 325 of 256.
    let without = |dropped: u64| 325 - 11 * dropped.div_ceil(2) - 12 * (dropped / 2);
    let room = |most: u64| (1..20).find(|dropped| without(*dropped) <= most).unwrap();
    for (fields, most) in [
        (json!({}), 256 - 64),
        (json!({"options": {"num_predict": 10}}), 256 - 10),
        (json!({"shift": false}), 255),
    ] {
        let (status, dropped, reply) = send(fields.clone()).await;
        assert_eq!(status, 200, "{reply}");
        assert_eq!(dropped, room(most).to_string(), "{fields}: {reply}");
        assert_eq!(reply["prompt_eval_count"], without(room(most)), "{fields}");
    }
    let (status, dropped, reply) = send(json!({"truncate": false})).await;
    assert_eq!((status, dropped.as_str()), (400, "missing"));
    assert!(
        reply["error"]
            .as_str()
            .unwrap()
            .contains("maximum context length is 256"),
        "{reply}"
    );
    messages = vec![turn("user", &"a".repeat(30))];
    let send = json!({"messages": messages, "stream": false}).to_string();
    assert_eq!(error(&app, CHAT, &send).await.0, 400, "the last message stays whole");
}

#[tokio::test]
async fn a_silent_stream_says_a_line_without_text_and_never_an_empty_one() {
    let gate = Arc::new(Gate::default());
    let app = Kit {
        gate: Some(gate.clone()),
        keep_alive: Duration::from_millis(1),
        ..Kit::default()
    }
    .start();
    let mut body = begin(&app, posting(CHAT, hi(json!({})))).await.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(first.ends_with(b"}\n"), "{first:?}");
    let line: Value = serde_json::from_slice(&first).unwrap();
    let message = json!({"role": "assistant", "content": ""});
    assert_eq!(
        settled(line),
        json!({"model": "test", "message": message, "done": false})
    );
    gate.let_steps(usize::MAX);
    let rest = String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap();
    assert!(!rest.contains("\n\n") && rest.ends_with("}\n"), "{rest}");
}

#[tokio::test]
async fn an_engine_that_breaks_ends_the_stream_in_a_line_with_an_error_and_no_done() {
    let app = Kit {
        good_steps: 3,
        ..Kit::default()
    }
    .start();
    let lines = lines(&post(&app, CHAT, &hi(json!({}))).await);
    let (last, rest) = lines.split_last().unwrap();
    assert!(last["error"].as_str().unwrap().contains("engine failed"), "{last}");
    assert!(!rest.is_empty() && rest.iter().all(|line| line["done"] == false));
}

#[tokio::test]
async fn an_overload_is_a_503_and_a_dropped_stream_gives_its_place_back() {
    let gate = Arc::new(Gate::default());
    let app = Kit {
        gate: Some(gate.clone()),
        slots: 1,
        queue_jobs_max: 1,
        ..Kit::default()
    }
    .start();
    let running = begin(&app, posting(CHAT, hi(json!({})))).await;
    let waiting = begin(&app, posting(CHAT, hi(json!({})))).await;
    let refused = post(&app, CHAT, &hi(json!({}))).await;
    let busy = "server busy, please try again.  maximum pending requests exceeded";
    assert_eq!((refused.status.as_u16(), refused.json()), (503, json!({"error": busy})));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    drop((running, waiting));
    gate.let_steps(usize::MAX);
    let load = || {
        let status = &app.roster.loaded()[0].engines.status()[0];
        status.running + status.waiting
    };
    until(|| load() == 0).await;
    assert_eq!(post(&app, CHAT, &hi(json!({}))).await.status, 200);
}

#[tokio::test]
async fn the_version_and_the_greeting_are_ollamas() {
    let app = Kit::default().start();
    let version = get(&app, "/api/version").await;
    assert_eq!(
        (version.status.as_u16(), version.json()),
        (200, json!({"version": "0.13.3"}))
    );
    for path in ["/", "/api/version"] {
        let head = send(&app, Request::head(path).body(Body::empty()).unwrap()).await;
        assert_eq!((head.status.as_u16(), head.body.as_str()), (200, ""), "{path}");
    }
}
