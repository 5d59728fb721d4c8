//! `/v1/completions`, whole and streamed.

use serde_json::{Value, json};

use super::kit::{Answer, BOS, Kit, post, settled};

const PATH: &str = "/v1/completions";

async fn ask(reply: &'static str, fields: &str) -> Answer {
    let app = Kit {
        reply,
        ..Kit::default()
    }
    .start();
    let answer = post(&app, PATH, &format!("{{{fields}}}")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("x-tandem-engine"), "0");
    answer
}

#[tokio::test]
async fn a_whole_completion_has_openais_shape_to_the_letter() {
    let answer = ask("ab</think> 你", "\"prompt\":\"go: \",\"model\":\"default\"").await;
    let expected = json!({
        "id": "cmpl", "object": "text_completion", "created": 0, "model": "default", "system_fingerprint": "fp",
        "choices": [{"index": 0, "text": "ab</think> 你", "logprobs": null, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": 5, "completion_tokens": 8, "total_tokens": 13,
            "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0},
        },
    });
    assert_eq!(settled(&answer.body), expected.to_string());
}

#[tokio::test]
async fn a_stream_has_one_event_per_token_even_for_part_of_a_character() {
    let usage = "\"stream\":true,\"stream_options\":{\"include_usage\":true}";
    let check = async |fields: &str, tokens: usize, expected: &[(&str, Value)]| {
        let events = ask("a你", &format!("\"prompt\":\"go: \",{usage}{fields}"))
            .await
            .events();
        let chunks: Vec<Value> = events
            .iter()
            .filter_map(|event| serde_json::from_str(event).ok())
            .collect();
        let (counted, chunks) = chunks.split_last().unwrap();
        let choices: Vec<_> = chunks.iter().map(|chunk| &chunk["choices"][0]).collect();
        let found: Vec<_> = choices
            .iter()
            .map(|choice| (choice["text"].as_str().unwrap(), choice["finish_reason"].clone()))
            .collect();
        assert_eq!(found, expected);
        assert_eq!(counted["choices"], json!([]));
        assert_eq!(counted["usage"]["completion_tokens"], tokens);
        assert_eq!(events.last().unwrap(), "[DONE]");
    };
    let none = || Value::Null;
    let whole = |end: &str| {
        let tokens = ["a", "", "", "你"].map(|text| (text, none()));
        [&tokens[..], &[("", json!(end))]].concat()
    };
    // The end token is generated too: the last event is its own.
    check("", 5, &whole("stop")).await;
    check(",\"max_tokens\":4", 4, &whole("length")).await;
    let cut = [("a", none()), ("", none()), ("\u{fffd}", json!("length"))];
    check(",\"max_tokens\":2", 2, &cut).await;
    // A stop string is complete within a token: that token is told first.
    check(",\"stop\":\"a\"", 1, &[("", none()), ("", json!("stop"))]).await;
}

#[tokio::test]
async fn end_tokens_can_be_ignored() {
    let reply = ask("ab", "\"prompt\":\"go: \",\"ignore_eos\":true,\"max_tokens\":9")
        .await
        .json();
    assert_eq!(reply["usage"]["completion_tokens"], 9);
    assert_eq!(reply["choices"][0]["finish_reason"], "length");
}

#[tokio::test]
async fn logprobs_are_four_lists_of_one_length() {
    let reply = ask("a你b", "\"prompt\":\"go: \",\"logprobs\":1").await.json();
    let logprobs = &reply["choices"][0]["logprobs"];
    assert_eq!(
        logprobs["tokens"],
        json!(["a", "bytes:\\xe4", "bytes:\\xbd", "bytes:\\xa0", "b"])
    );
    assert_eq!(logprobs["text_offset"], json!([0, 1, 2, 2, 2]));
    assert_eq!(logprobs["token_logprobs"].as_array().unwrap().len(), 5);
    let top = logprobs["top_logprobs"].as_array().unwrap();
    assert_eq!(top.len(), 5);
    assert_eq!(top[0]["a"], logprobs["token_logprobs"][0]);
    let by_id = ask(
        "ab",
        "\"prompt\":\"go: \",\"logprobs\":2,\"return_tokens_as_token_ids\":true",
    )
    .await
    .json();
    let logprobs = &by_id["choices"][0]["logprobs"];
    assert_eq!(logprobs["tokens"], json!(["token_id:97", "token_id:98"]));
    assert_eq!(logprobs["top_logprobs"][0].as_object().unwrap().len(), 2);
}

#[tokio::test]
async fn streamed_logprobs_join_to_the_whole_lists() {
    let fields = "\"prompt\":\"go: \",\"logprobs\":3";
    let whole = ask("a你b", fields).await.json()["choices"][0]["logprobs"].take();
    let events = ask("a你b", &format!("{fields},\"stream\":true")).await.events();
    let chunks: Vec<Value> = events
        .iter()
        .filter_map(|event| serde_json::from_str(event).ok())
        .collect();
    for list in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        let joined: Vec<Value> = chunks
            .iter()
            .flat_map(|chunk| chunk["choices"][0]["logprobs"][list].as_array().unwrap().clone())
            .collect();
        assert_eq!(Value::from(joined), whole[list], "{list}");
    }
}

#[tokio::test]
async fn token_ids_are_taken_as_they_are() {
    let ids = format!("\"prompt\":[{BOS},103,111,58,32]");
    let (by_ids, by_text) = (
        ask("ab", &ids).await.json(),
        ask("ab", "\"prompt\":\"go: \"").await.json(),
    );
    assert_eq!(by_ids["choices"], by_text["choices"]);
    assert_eq!(by_ids["usage"], by_text["usage"]);
}

#[tokio::test]
async fn several_prompts_make_choices_prompt_by_prompt() {
    let reply = ask("ab", "\"prompt\":[\"x: \",\"yy: \"],\"n\":2,\"max_tokens\":1")
        .await
        .json();
    let choices = reply["choices"].as_array().unwrap();
    assert_eq!(
        choices
            .iter()
            .map(|choice| choice["index"].as_u64().unwrap())
            .collect::<Vec<_>>(),
        [0, 1, 2, 3]
    );
    assert!(
        choices
            .iter()
            .all(|choice| choice["text"] == "a" && choice["finish_reason"] == "length")
    );
    assert_eq!(reply["usage"]["prompt_tokens"], 4 + 5);
    assert_eq!(reply["usage"]["completion_tokens"], 4);
}

#[tokio::test]
async fn a_stop_string_counts_anywhere_in_raw_text() {
    let reply = ask("ab</think>cd", "\"prompt\":\"go: \",\"stop\":\"</thi\"")
        .await
        .json();
    assert_eq!(reply["choices"][0]["text"], "ab");
    assert_eq!(reply["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn the_second_time_a_long_prompt_is_taken_from_the_cache() {
    let app = Kit {
        reply: "ab",
        ..Kit::default()
    }
    .start();
    let body = format!("{{\"prompt\":\"{}: \"}}", "x".repeat(60));
    let cached = |answer: Answer| {
        answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(cached(post(&app, PATH, &body).await), 0);
    assert_eq!(cached(post(&app, PATH, &body).await), 48);
}
