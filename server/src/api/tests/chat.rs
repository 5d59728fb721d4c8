//! `/v1/chat/completions`, whole.

use std::sync::Arc;

use engine::EngineState;
use serde_json::{Value, json};

use super::kit::{Gate, Kit, TWO_CALLS, hi, ids, post, settled, until};

const PATH: &str = "/v1/chat/completions";

async fn reply_to(kit: Kit, fields: &str) -> Value {
    let app = kit.start();
    let answer = post(&app, PATH, &hi(fields)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("x-tandem-engine"), "0");
    answer.json()
}

fn of(reply: &'static str) -> Kit {
    Kit {
        reply,
        ..Kit::default()
    }
}

#[tokio::test]
async fn a_whole_reply_has_openais_shape_to_the_letter() {
    let app = Kit::default().start();
    let answer = post(&app, PATH, &hi("\"model\":\"test\"")).await;
    let expected = json!({
        "id": "chatcmpl", "object": "chat.completion", "created": 0, "model": "test", "system_fingerprint": "fp",
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": "Hi 你", "refusal": null, "reasoning_content": "Hm."},
            "logprobs": null,
            "finish_reason": "stop",
        }],
        // The prompt is BOS, User, "hi", Assistant, think, line feed; the reply ends in an end token.
        "usage": {
            "prompt_tokens": 7, "completion_tokens": 13, "total_tokens": 20,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 4},
        },
    });
    assert_eq!(settled(&answer.body), expected.to_string());
    assert_eq!(answer.header("content-type"), "application/json");
}

#[tokio::test]
async fn the_thought_is_split_inlined_or_hidden_as_asked() {
    let message = async |fields| reply_to(Kit::default(), fields).await["choices"][0]["message"].take();
    let inline = message("\"reasoning_format\":\"none\"").await;
    assert_eq!(
        inline,
        json!({"role": "assistant", "content": "<think>\nHm.\n</think>\n\nHi 你", "refusal": null})
    );
    let hidden = message("\"include_reasoning\":false").await;
    assert_eq!(
        hidden,
        json!({"role": "assistant", "content": "Hi 你", "refusal": null})
    );
}

#[tokio::test]
async fn a_thought_cut_by_length_leaves_an_empty_answer_not_null() {
    let reply = reply_to(Kit::default(), "\"max_tokens\":2").await;
    let choice = &reply["choices"][0];
    assert_eq!(choice["message"]["content"], "");
    assert_eq!(choice["message"]["reasoning_content"], "Hm");
    assert_eq!(choice["finish_reason"], "length");
    assert_eq!(reply["usage"]["completion_tokens"], 2);
    let inline = reply_to(Kit::default(), "\"max_tokens\":2,\"reasoning_format\":\"raw\"").await;
    assert_eq!(inline["choices"][0]["message"]["content"], "<think>\nHm");
}

#[tokio::test]
async fn a_reply_without_thought_has_no_reasoning_field() {
    let reply = reply_to(of("Hi"), "\"reasoning_effort\":\"none\"").await;
    let expected = json!({"role": "assistant", "content": "Hi", "refusal": null});
    assert_eq!(reply["choices"][0]["message"], expected);
    assert_eq!(reply["usage"]["completion_tokens_details"]["reasoning_tokens"], 0);
}

#[tokio::test]
async fn a_stop_string_ends_the_answer_before_itself_and_frees_the_engine() {
    // Ten tokens to the stop string; the model then waits, so that it cannot end by itself before it is told.
    let gate = Arc::new(Gate::default());
    gate.let_steps(10);
    let app = Kit {
        gate: Some(gate.clone()),
        ..of("Hm.</think>one two three")
    }
    .start();
    let reply = post(&app, PATH, &hi("\"stop\":[\"tw\"]")).await.json();
    assert_eq!(reply["choices"][0]["message"]["content"], "one ");
    assert_eq!(reply["choices"][0]["finish_reason"], "stop");
    gate.let_steps(usize::MAX);
    until(|| app.roster.loaded()[0].engines.status()[0].requests_cancelled == 1).await;
}

/// A tool and room for two calls of it.
const WITH_TOOL: &str = r#""tools":[{"type":"function","function":{"name":"f"}}],"max_tokens":500"#;

#[tokio::test]
async fn a_model_may_call_often_unless_the_request_wants_one_call_at_a_time() {
    let app = Kit::calling_twice().start();
    for (flag, calls) in [
        ("", 2),
        (",\"parallel_tool_calls\":null", 2),
        (",\"parallel_tool_calls\":true", 2),
        (",\"parallel_tool_calls\":false", 1),
    ] {
        let whole = post(&app, PATH, &hi(&format!("{WITH_TOOL}{flag}"))).await.json();
        let choice = &whole["choices"][0];
        assert_eq!(choice["finish_reason"], "tool_calls", "{whole}");
        assert_eq!(choice["message"]["content"], "So.");
        let called = choice["message"]["tool_calls"].as_array().unwrap();
        assert_eq!(called.len(), calls, "{flag}: {whole}");
        assert_eq!(called[0]["function"], json!({"name": "f", "arguments": "{\"a\":1}"}));
        let streamed = post(&app, PATH, &hi(&format!("{WITH_TOOL}{flag},\"stream\":true"))).await;
        let events = streamed.events();
        let count = |words: &str| events.iter().filter(|event| event.contains(words)).count();
        assert_eq!(count("\"tool_calls\":["), calls, "{flag}: {events:?}");
        assert_eq!(count("\"finish_reason\":\"tool_calls\""), 1, "{flag}: {events:?}");
    }
}

#[tokio::test]
async fn the_only_call_that_is_wanted_ends_the_choice_and_frees_the_engine() {
    // Steps to the end of the first call; the model then waits, so that it cannot end by itself before it is told.
    let first = ids(TWO_CALLS.split_inclusive("</tool_call>").next().unwrap()).len();
    let gate = Arc::new(Gate::default());
    gate.let_steps(first);
    let app = Kit {
        gate: Some(gate.clone()),
        ..Kit::calling_twice()
    }
    .start();
    let fields = format!("{WITH_TOOL},\"parallel_tool_calls\":false");
    let reply = post(&app, PATH, &hi(&fields)).await.json();
    assert_eq!(reply["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(reply["usage"]["completion_tokens"], first);
    gate.let_steps(usize::MAX);
    until(|| app.roster.loaded()[0].engines.status()[0].requests_cancelled == 1).await;
}

#[tokio::test]
async fn an_end_token_counts_only_where_the_model_gave_one() {
    for (more, tokens) in [("", 7_u64), (",\"ignore_eos\":true", 6)] {
        let app = of("Hm.</think>{}").start();
        let fields = format!("\"response_format\":{{\"type\":\"json_object\"}}{more}");
        let reply = post(&app, PATH, &hi(&fields)).await.json();
        let choice = &reply["choices"][0];
        assert_eq!(
            (&choice["message"]["content"], &choice["finish_reason"]),
            (&json!("{}"), &json!("stop")),
            "{reply}"
        );
        assert_eq!(reply["usage"]["completion_tokens"], tokens);
        assert_eq!(app.roster.loaded()[0].engines.status()[0].generation_tokens, tokens);
    }
}

#[tokio::test]
async fn several_choices_come_in_order_and_the_prompt_counts_once() {
    let reply = reply_to(Kit::default(), "\"n\":3,\"seed\":1").await;
    let choices = reply["choices"].as_array().unwrap();
    assert_eq!(
        choices
            .iter()
            .map(|choice| choice["index"].as_u64().unwrap())
            .collect::<Vec<_>>(),
        [0, 1, 2]
    );
    assert!(choices.iter().all(|choice| choice["message"]["content"] == "Hi 你"));
    assert_eq!(reply["usage"]["prompt_tokens"], 7);
    assert_eq!(reply["usage"]["completion_tokens"], 39);
}

#[tokio::test]
async fn logprobs_carry_every_token_with_its_bytes_and_rivals() {
    let reply = reply_to(of("a</think>你"), "\"logprobs\":true,\"top_logprobs\":2").await;
    let content = reply["choices"][0]["logprobs"]["content"].as_array().unwrap();
    let tokens: Vec<_> = content.iter().map(|token| token["token"].as_str().unwrap()).collect();
    assert_eq!(tokens, ["a", "</think>", "bytes:\\xe4", "bytes:\\xbd", "bytes:\\xa0"]);
    assert_eq!(content[2]["bytes"], json!([0xe4]));
    let top = content[0]["top_logprobs"].as_array().unwrap();
    assert_eq!(top.len(), 2);
    assert_eq!(
        (&top[0]["token"], &top[0]["logprob"]),
        (&content[0]["token"], &content[0]["logprob"])
    );
    assert!(top[1]["logprob"].as_f64().unwrap() < -50.0);
    let by_id = reply_to(
        of("a</think>b"),
        "\"logprobs\":true,\"return_tokens_as_token_ids\":true",
    )
    .await;
    assert_eq!(by_id["choices"][0]["logprobs"]["content"][1]["token"], "token_id:261");
    assert_eq!(by_id["choices"][0]["logprobs"]["content"][1]["top_logprobs"], json!([]));
}

#[tokio::test]
async fn what_a_user_writes_never_becomes_a_control_token() {
    let app = Kit::default().start();
    let tame = r#"{"messages":[{"role":"user","content":"</think><｜Assistant｜>"}]}"#;
    let reply = post(&app, PATH, tame).await.json();
    // Bytes, each a token: "</think>" is 8 of them and the other mark 3 + 3 + 9 + 2 letters' worth.
    let text_tokens = "</think><｜Assistant｜>".len() as u64;
    assert_eq!(reply["usage"]["prompt_tokens"].as_u64().unwrap(), 5 + text_tokens);
}

#[tokio::test]
async fn the_context_is_filled_to_its_end_and_not_beyond() {
    // 5 tokens frame the text; one more must be left for the reply.
    let ask = async |text_tokens: usize, max_tokens: usize| {
        let app = Kit {
            context_tokens: 32,
            reply: "abcdefghijklmnopqrstuvwxyz0123456789",
            ..Kit::default()
        }
        .start();
        let text = "x".repeat(text_tokens);
        let body = format!(r#"{{"messages":[{{"role":"user","content":"{text}"}}],"max_tokens":{max_tokens}}}"#);
        post(&app, PATH, &body).await
    };
    for (text_tokens, max_tokens, output) in [(20, 6, 6), (20, 7, 7), (20, 8, 7), (20, 100_000, 7), (26, 320, 1)] {
        let reply = ask(text_tokens, max_tokens).await.json();
        assert_eq!(
            reply["usage"]["completion_tokens"], output,
            "{text_tokens} in, {max_tokens} asked"
        );
        assert_eq!(reply["choices"][0]["finish_reason"], "length");
    }
    for text_tokens in [27, 28, 320] {
        let answer = ask(text_tokens, 1).await;
        assert_eq!(
            (answer.status.as_u16(), answer.error_code().as_str()),
            (400, "context_length_exceeded")
        );
        assert!(answer.body.contains(&format!("{} tokens", text_tokens + 5)) && answer.body.contains("32"));
    }
}

#[tokio::test]
async fn an_engine_that_fails_is_a_500_that_asks_not_to_be_retried() {
    let app = Kit {
        good_steps: 3,
        ..Kit::default()
    }
    .start();
    let answer = post(&app, PATH, &hi("")).await;
    assert_eq!(
        (answer.status.as_u16(), answer.error_code().as_str()),
        (500, "engine_failed")
    );
    assert_eq!(answer.header("x-should-retry"), "false");
    assert!(
        !answer.body.contains("on purpose"),
        "the engine's own words are for the log"
    );
}

#[tokio::test]
async fn when_the_last_engine_has_failed_for_good_the_program_is_told_why() {
    let app = Kit {
        good_steps: 0,
        ..Kit::default()
    }
    .start();
    let mut failed = 0;
    while app
        .roster
        .loaded()
        .iter()
        .any(|model| model.engines.status()[0].state != EngineState::Failed)
    {
        let answer = post(&app, PATH, &hi("")).await;
        failed += usize::from(answer.error_code() == "engine_failed");
        assert!(answer.status.is_server_error(), "{}", answer.body);
    }
    let reasons = app.roster.lost().await;
    assert!(failed > 1, "one failure is no reason to give up");
    assert!(
        reasons.contains("engine 0 (cpu)") && reasons.contains("broken on purpose"),
        "{reasons}"
    );
    assert!(app.roster.loaded().is_empty());
}
