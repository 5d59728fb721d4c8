//! Requests and replies that many topics use.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Events, Server};

pub(crate) const CHAT: &str = "/v1/chat/completions";
pub(crate) const COMPLETIONS: &str = "/v1/completions";

/// The question that Tandem was made for: "You are a Python expert, please write me a program that adds."
pub(crate) const ADD_PROGRAM: &str = "你是一个python编程专家，请帮我写一个计算加法的程序";

/// A greedy chat request of one user message.
pub(crate) fn chat(text: &str) -> Value {
    json!({"model": "default", "temperature": 0, "messages": [{"role": "user", "content": text}]})
}

/// A completion that ends only by its `tokens`, whatever the model says.
pub(crate) fn endless(tokens: usize) -> Value {
    json!({"model": "default", "prompt": "1 + 1", "max_tokens": tokens, "temperature": 0, "ignore_eos": true})
}

/// `request` with the fields of `more` in place of its own.
pub(crate) fn with(mut request: Value, more: Value) -> Value {
    let Value::Object(more) = more else {
        panic!("not an object: {more}")
    };
    request.as_object_mut().expect("an object").extend(more);
    request
}

/// A thought and the answer after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) thought: String,
    pub(crate) text: String,
    pub(crate) finish: String,
}

/// The first choice of a whole chat reply.
pub(crate) fn answer(reply: &Value) -> Answer {
    answer_of(&reply["choices"][0])
}

/// One choice of a whole chat reply.
pub(crate) fn answer_of(choice: &Value) -> Answer {
    Answer {
        thought: choice["message"]["reasoning_content"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        text: choice["message"]["content"]
            .as_str()
            .unwrap_or_else(|| panic!("no content: {choice}"))
            .to_owned(),
        finish: choice["finish_reason"]
            .as_str()
            .unwrap_or_else(|| panic!("no finish reason: {choice}"))
            .to_owned(),
    }
}

/// A whole stream of one choice joined; checks what holds for every stream on the way.
pub(crate) fn joined(events: &mut Events) -> Answer {
    let mut joined = Answer {
        thought: String::new(),
        text: String::new(),
        finish: String::new(),
    };
    let mut done = false;
    for data in events {
        assert!(!done, "an event after [DONE]: {data}");
        if data == "[DONE]" {
            done = true;
            continue;
        }
        let chunk: Value = serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error} in {data}"));
        assert!(chunk.get("error").is_none(), "{chunk}");
        let Some(choice) = chunk["choices"].get(0) else {
            continue;
        };
        let delta = &choice["delta"];
        let text = |field: &str| {
            delta
                .get(field)
                .map(|text| text.as_str().expect("never null").to_owned())
        };
        joined.thought.push_str(&text("reasoning_content").unwrap_or_default());
        joined.text.push_str(&text("content").unwrap_or_default());
        if let Some(finish) = choice["finish_reason"].as_str() {
            assert_eq!(joined.finish, "", "two finish reasons");
            finish.clone_into(&mut joined.finish);
        }
    }
    assert!(done, "the stream ends without [DONE]");
    joined
}

/// How many tokens the server's model can hold in one conversation.
pub(crate) fn context_tokens(server: &Server) -> usize {
    let models = server.get("/v1/models").ok();
    let tokens = models["data"][0]["max_model_len"].as_u64();
    usize::try_from(tokens.unwrap_or_else(|| panic!("no max_model_len: {models}"))).unwrap()
}

/// The value of a metric: of its only series that has `labels` in it.
pub(crate) fn metric(server: &Server, name: &str, labels: &str) -> f64 {
    metric_on(&server.get("/metrics").text(), name, labels)
}

fn metric_on(page: &str, name: &str, labels: &str) -> f64 {
    let is_named = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let series: Vec<&str> = page
        .lines()
        .filter(is_named)
        .filter(|line| line.contains(labels))
        .collect();
    let [series] = series[..] else {
        panic!("{} series of {name}{{{labels}}}, not one, in\n{page}", series.len())
    };
    series.rsplit(' ').next().unwrap().parse().expect("a number")
}

/// Asks again and again until `condition` holds; the bound is on the questions, not on the clock.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..20_000 {
        if condition() {
            return;
        }
    }
    panic!("still not so after 20,000 looks: {what}");
}

/// The requests that the engines work on and those that wait for one.
pub(crate) fn running_and_waiting(server: &Server) -> (f64, f64) {
    let page = server.get("/metrics").text();
    (
        metric_on(&page, "vllm:num_requests_running", ""),
        metric_on(&page, "vllm:num_requests_waiting", ""),
    )
}

/// Waits until no engine has anything to do.
pub(crate) fn wait_until_idle(server: &Server) {
    wait_until("every engine is idle", || running_and_waiting(server) == (0.0, 0.0));
}

/// Checks that the server still does its job: a thought, an answer, and an end of its own accord.
pub(crate) fn check_serves(server: &Server) {
    let answer = answer(&server.post(CHAT, &chat("hello")).ok());
    assert!(
        !answer.thought.is_empty() && !answer.text.is_empty() && answer.finish == "stop",
        "{answer:?}"
    );
}

/// Checks that an error has OpenAI's shape, is short and says nothing about the inside of the program.
pub(crate) fn check_error(case: &str, body: &str) -> Value {
    let mut report = format!("{case}: ");
    let _ = write!(report, "{}", body.chars().take(2_000).collect::<String>());
    assert!(body.len() <= 1024, "{} bytes of error: {report}", body.len());
    let parsed: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {report}"));
    let error = &parsed["error"];
    let message = error["message"]
        .as_str()
        .unwrap_or_else(|| panic!("no message: {report}"));
    assert!(!message.is_empty() && error["type"].is_string(), "{report}");
    for field in ["param", "code"] {
        assert!(
            error
                .get(field)
                .is_some_and(|value| value.is_string() || value.is_null()),
            "no {field}: {report}"
        );
    }
    for secret in [
        "panicked",
        ".rs",
        "/root",
        "/home",
        "/src",
        "/usr",
        "/tmp",
        "0x",
        "unwrap",
        "RUST_BACKTRACE",
    ] {
        assert!(!message.contains(secret), "{secret:?} in {report}");
    }
    error.clone()
}
