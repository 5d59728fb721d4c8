//! The program's reason to exist: start it, ask it for a program, get a thought and an answer, whole or piece by piece.

use serde_json::{Value, json};

use crate::support::*;

/// What the README tells a new user to send, byte for byte.
const CURL_BODY: &str = r#"{
      "model": "deepseek-r1:32b",
      "messages": [{"role": "user", "content": "你是一个python编程专家，请帮我写一个计算加法的程序"}]}"#;

fn check_add_program(answer: &Answer) {
    assert!(!answer.thought.trim().is_empty(), "no thought: {answer:?}");
    assert!(
        !answer.text.contains("<think>") && !answer.text.contains("</think>"),
        "{answer:?}"
    );
    assert_eq!(answer.finish, "stop", "{answer:?}");
    let (_, program) = answer
        .text
        .split_once("```python")
        .unwrap_or_else(|| panic!("no program: {answer:?}"));
    let (program, _) = program
        .split_once("```")
        .unwrap_or_else(|| panic!("the program does not end: {answer:?}"));
    assert!(
        program.contains("def ") && program.contains("return a + b"),
        "{program}"
    );
}

#[test]
fn the_bare_command_and_the_readmes_request_give_a_thought_and_a_working_program() {
    let mut bare = command();
    bare.env("TANDEM_LISTEN", "127.0.0.1:0");
    let server = Server::spawn(bare);
    let reply = server.connect().post(CHAT, CURL_BODY.as_bytes()).ok();
    check_add_program(&answer(&reply));
}

#[test]
fn a_stream_gives_the_same_reply_piece_by_piece() {
    let server = Server::start();
    let whole = answer(&server.post(CHAT, &chat(ADD_PROGRAM)).ok());
    check_add_program(&whole);

    let request = with(chat(ADD_PROGRAM), json!({"stream": true}));
    let mut events = server.stream(CHAT, &request);
    assert_eq!(events.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(events.header("cache-control"), Some("no-cache"));
    assert_eq!(events.header("x-accel-buffering"), Some("no"));
    assert_eq!(joined(&mut events), whole);

    let pieces = server.stream(CHAT, &request).count();
    assert!(pieces > 20, "the reply came in {pieces} events");
}

#[test]
fn a_stream_is_made_of_the_chunks_that_clients_expect() {
    let server = Server::start();
    let request = with(
        chat(ADD_PROGRAM),
        json!({"stream": true, "stream_options": {"include_usage": true}}),
    );
    let mut data: Vec<String> = server.stream(CHAT, &request).collect();
    assert_eq!(data.pop().as_deref(), Some("[DONE]"));
    let chunks: Vec<Value> = data.iter().map(|data| serde_json::from_str(data).unwrap()).collect();

    for chunk in &chunks {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        for field in ["id", "created", "model"] {
            assert_eq!(chunk[field], chunks[0][field], "{field} changes in the stream");
        }
    }
    let (usage, chunks) = chunks.split_last().unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert!(usage["usage"]["completion_tokens"].as_u64() > Some(20), "{usage}");

    let (last, chunks) = chunks.split_last().unwrap();
    assert_eq!(last["choices"][0]["finish_reason"], "stop");
    assert_eq!(last["choices"][0]["delta"].get("reasoning_content"), None);

    let (first, chunks) = chunks.split_first().unwrap();
    assert_eq!(
        first["choices"][0]["delta"],
        json!({"role": "assistant", "content": ""})
    );

    let mut answered = false;
    for chunk in chunks {
        assert_eq!(chunk["choices"][0]["finish_reason"], Value::Null);
        let delta = chunk["choices"][0]["delta"].as_object().unwrap();
        assert_eq!(delta.len(), 1, "a delta says one thing: {chunk}");
        let (field, text) = delta.iter().next().unwrap();
        assert!(text.as_str().is_some_and(|text| !text.is_empty()), "{chunk}");
        answered |= field == "content";
        assert_eq!(
            field,
            if answered { "content" } else { "reasoning_content" },
            "the thought comes first: {chunk}"
        );
    }
}
