//! `/v1/completions`: text or token ids in, raw text out, with what measuring programs ask of it.

use serde_json::{Value, json};

use crate::support::*;

fn text(reply: &Value) -> &str {
    reply["choices"][0]["text"]
        .as_str()
        .unwrap_or_else(|| panic!("no text: {reply}"))
}

fn tokenized(server: &Server, text: &str) -> Value {
    server
        .post("/tokenize", &json!({"prompt": text, "add_special_tokens": true}))
        .ok()["tokens"]
        .clone()
}

#[test]
fn a_prompt_may_be_text_or_its_token_ids() {
    let server = Server::start();
    let request = |prompt: Value| with(endless(12), json!({"prompt": prompt}));
    let by_text = server.post(COMPLETIONS, &request(json!("1 + 1"))).ok();
    let by_ids = server.post(COMPLETIONS, &request(tokenized(&server, "1 + 1"))).ok();
    assert_eq!(by_text["object"], "text_completion");
    assert!(by_text["id"].as_str().unwrap().starts_with("cmpl-"), "{by_text}");
    assert_eq!(text(&by_text), text(&by_ids));
    assert_eq!(by_text["usage"], by_ids["usage"]);
    assert_eq!(by_text["usage"]["completion_tokens"], 12);
    assert_eq!(by_text["choices"][0]["finish_reason"], "length");
}

#[test]
fn several_prompts_give_several_choices_in_order() {
    let server = Server::start();
    let alone: Vec<String> = ["1 + 1", "hello", "def add"]
        .map(|prompt| {
            text(
                &server
                    .post(COMPLETIONS, &with(endless(8), json!({"prompt": prompt})))
                    .ok(),
            )
            .to_owned()
        })
        .into();
    let prompts = json!(["1 + 1", "hello", "def add"]);
    let ids: Vec<Value> = ["1 + 1", "hello", "def add"]
        .iter()
        .map(|prompt| tokenized(&server, prompt))
        .collect();
    for prompts in [prompts, json!(ids)] {
        let reply = server
            .post(COMPLETIONS, &with(endless(8), json!({"prompt": prompts})))
            .ok();
        let choices = reply["choices"].as_array().unwrap();
        for (index, (choice, alone)) in choices.iter().zip(&alone).enumerate() {
            assert_eq!(
                (&choice["index"], choice["text"].as_str()),
                (&json!(index), Some(alone.as_str()))
            );
        }
        assert_eq!(choices.len(), 3);
    }
}

#[test]
fn a_stream_joins_to_the_whole_text() {
    let server = Server::start();
    let whole = server.post(COMPLETIONS, &endless(40)).ok();
    let mut joined = String::new();
    let mut finish = Value::Null;
    let mut data: Vec<String> = server
        .stream(COMPLETIONS, &with(endless(40), json!({"stream": true})))
        .collect();
    assert_eq!(data.pop().as_deref(), Some("[DONE]"));
    for data in data {
        let chunk: Value = serde_json::from_str(&data).unwrap();
        assert_eq!(chunk["object"], "text_completion");
        joined.push_str(chunk["choices"][0]["text"].as_str().unwrap());
        finish = chunk["choices"][0]["finish_reason"].clone();
    }
    assert_eq!(joined, text(&whole));
    assert_eq!(finish, "length");
}

#[test]
fn a_measuring_client_sees_an_event_for_every_token() {
    let server = Server::start();
    let ids: Vec<u32> = (0..64).map(|index| 300 + index * 7 % 200).collect();
    let request = with(endless(64), json!({"prompt": ids, "stream": true}));
    let events = server.stream(COMPLETIONS, &request).filter(|data| data != "[DONE]");
    let tokens = events.map(|data| serde_json::from_str::<Value>(&data).unwrap());
    let tokens = tokens.filter(|event| {
        event["choices"]
            .get(0)
            .is_some_and(|choice| choice["finish_reason"].is_null())
    });
    assert_eq!(tokens.count(), 64);
}

#[test]
fn logprobs_come_with_the_tokens_as_text_or_as_ids() {
    let server = Server::start();
    let request = with(endless(6), json!({"logprobs": 20}));
    let reply = server.post(COMPLETIONS, &request).ok();
    let logprobs = &reply["choices"][0]["logprobs"];
    for field in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(logprobs[field].as_array().map(Vec::len), Some(6), "{field}: {logprobs}");
    }
    let tokens: Vec<&str> = logprobs["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| token.as_str().unwrap())
        .collect();
    for (index, top) in logprobs["top_logprobs"].as_array().unwrap().iter().enumerate() {
        let best = top
            .as_object()
            .unwrap()
            .values()
            .map(|value| value.as_f64().unwrap())
            .fold(f64::MIN, f64::max);
        assert!(
            (logprobs["token_logprobs"][index].as_f64().unwrap() - best).abs() < 1e-6,
            "{logprobs}"
        );
    }

    let by_id = server
        .post(COMPLETIONS, &with(request, json!({"return_tokens_as_token_ids": true})))
        .ok();
    let logprobs = &by_id["choices"][0]["logprobs"];
    for (token, name) in logprobs["tokens"].as_array().unwrap().iter().zip(&tokens) {
        let id: u32 = token
            .as_str()
            .and_then(|id| id.strip_prefix("token_id:")?.parse().ok())
            .expect("token_id:N");
        let text = server.post("/detokenize", &json!({"tokens": [id]})).ok();
        if !name.contains('\u{fffd}') && !name.starts_with("bytes:") {
            assert_eq!(text["prompt"], **name);
        }
    }
    assert_eq!(
        logprobs["top_logprobs"][0].as_object().unwrap().len(),
        20,
        "every id is its own key"
    );
}

#[test]
fn stop_strings_work_in_raw_text() {
    let server = Server::start();
    let whole = server.post(COMPLETIONS, &endless(40)).ok();
    let whole = text(&whole);
    let middle: String = whole.chars().skip(10).take(3).collect();
    let stopped = server
        .post(COMPLETIONS, &with(endless(40), json!({"stop": middle})))
        .ok();
    assert_eq!(text(&stopped), whole.split_once(&middle).unwrap().0);
    assert_eq!(stopped["choices"][0]["finish_reason"], "stop");
}

#[test]
fn a_think_tag_is_plain_text_here() {
    let server = Server::start();
    // The prompt of a chat ends in an opening think tag; completions know nothing of it and show what comes.
    let reply = server
        .post(COMPLETIONS, &with(endless(60), json!({"prompt": "hello"})))
        .ok();
    assert!(reply["choices"][0].get("reasoning_content").is_none() && reply["choices"][0].get("message").is_none());
}

#[test]
fn prompts_that_cannot_be_are_refused() {
    let server = Server::start();
    for prompt in [
        json!(null),
        json!({}),
        json!(7),
        json!([]),
        json!([[]]),
        json!([u32::MAX]),
        json!([-1]),
        json!([1.5]),
        json!([1, "two"]),
        json!(["one", 2]),
        json!([[1], "two"]),
        json!([[[1]]]),
    ] {
        let reply = server.post(COMPLETIONS, &with(endless(1), json!({"prompt": prompt})));
        assert_eq!(reply.status, 400, "{prompt}: {}", reply.text());
        let error = check_error(&prompt.to_string(), &reply.text());
        assert!(
            error["param"].as_str().is_some_and(|param| param.starts_with("prompt")),
            "{error}"
        );
    }
}
