//! `/v1/responses` as LobeHub and other newer clients call it.

use serde_json::{Value, json};

use super::support::{ADD_PROGRAM, CHAT, Server, answer, chat, check_error, with};

const RESPONSES: &str = "/v1/responses";

/// What LobeHub 2 sends for its provider `openai`.
const LOBEHUB: &str = r#"{"stream":true,"temperature":1,"top_p":1,"model":"default","input":[{"role":"developer","content":"s"},{"role":"user","content":"hi"}],"store":false}"#;

/// The texts of a response's thought and answer.
fn texts(response: &Value) -> (String, String) {
    let (mut thought, mut text) = (String::new(), String::new());
    for item in response["output"].as_array().expect("a list of items") {
        let (into, part) = match item["type"].as_str() {
            Some("reasoning") => (&mut thought, &item["summary"][0]),
            Some("message") => (&mut text, &item["content"][0]),
            _ => panic!("an unknown item: {item}"),
        };
        into.push_str(part["text"].as_str().expect("a text"));
    }
    (thought, text)
}

#[test]
fn lobehubs_request_shows_its_thought_its_answer_and_its_tokens() {
    let server = Server::start();
    let mut connection = server.connect();
    connection.send_post(RESPONSES, LOBEHUB.as_bytes());
    let mut events = connection.events();
    // As LobeHub renders it: text of items that were added before, by the id of the item.
    let (mut thought, mut text, mut usage) = (String::new(), String::new(), Value::Null);
    let mut items = Vec::new();
    let mut number = 0;
    while let Some((name, event)) = events.named() {
        assert_eq!(event["type"], name);
        assert_eq!(event["sequence_number"], number, "{event}");
        number += 1;
        if let Some(id) = event.get("item_id") {
            assert_eq!(items.last(), Some(id), "{event}");
        }
        let delta = || event["delta"].as_str().expect("a text");
        match name.as_str() {
            "response.output_item.added" => items.push(event["item"]["id"].clone()),
            "response.reasoning_summary_text.delta" => thought.push_str(delta()),
            "response.output_text.delta" => text.push_str(delta()),
            "response.completed" => {
                assert_eq!(texts(&event["response"]), (thought.clone(), text.clone()));
                usage = event["response"]["usage"].clone();
            }
            _ => assert_eq!(usage, Value::Null, "an event after the last: {event}"),
        }
    }
    assert!(!thought.is_empty() && !text.is_empty(), "{thought:?} {text:?}");
    let tokens = |name: &str| usage[name].as_u64().unwrap_or_else(|| panic!("no {name}: {usage}"));
    assert!(tokens("input_tokens") > 0);
    assert_eq!(tokens("input_tokens") + tokens("output_tokens"), tokens("total_tokens"));
    assert!(
        usage["output_tokens_details"]["reasoning_tokens"].as_u64() > Some(0),
        "{usage}"
    );
    assert!(usage["input_tokens_details"]["cached_tokens"].is_u64(), "{usage}");
}

#[test]
fn a_response_says_what_a_chat_completion_says() {
    let server = Server::start();
    let completion = answer(&server.post(CHAT, &chat(ADD_PROGRAM)).ok());
    for path in [RESPONSES, "/responses"] {
        let response = server.post(path, &json!({"input": ADD_PROGRAM, "temperature": 0})).ok();
        assert_eq!(response["status"], "completed");
        assert_eq!(texts(&response), (completion.thought.clone(), completion.text.clone()));
    }
    let silent = json!({"input": "hello", "temperature": 0, "reasoning": {"effort": "none"}});
    let (thought, text) = texts(&server.post(RESPONSES, &silent).ok());
    assert!(thought.is_empty() && !text.is_empty(), "{thought:?} {text:?}");
}

#[test]
fn a_conversation_goes_on_with_the_items_of_its_response() {
    let server = Server::start();
    let question = json!({"role": "user", "content": "hello"});
    let first = server
        .post(RESPONSES, &json!({"input": [question], "temperature": 0}))
        .ok();
    let mut input = vec![question.clone()];
    input.extend(first["output"].as_array().unwrap().iter().cloned());
    input.push(question);
    let second = server.post(RESPONSES, &json!({"input": input, "temperature": 0})).ok();
    assert_eq!(second["status"], "completed");
    let tokens = |response: &Value| response["usage"]["input_tokens"].as_u64();
    assert!(tokens(&second) > tokens(&first));
}

#[test]
fn what_the_server_would_have_to_keep_or_cannot_do_is_refused_with_words() {
    let server = Server::start();
    let hello = json!({"input": "hello"});
    for (more, param, words) in [
        (
            json!({"previous_response_id": "resp_1"}),
            "previous_response_id",
            "whole conversation",
        ),
        (json!({"conversation": "conv_1"}), "conversation", "whole conversation"),
        (json!({"tools": [{"type": "web_search"}]}), "tools", "leave it out"),
        (
            json!({"text": {"format": {"type": "json_object"}}}),
            "text.format",
            "text",
        ),
        (
            json!({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}),
            "input[0].content[0]",
            "text only",
        ),
    ] {
        let reply = server.post(RESPONSES, &with(hello.clone(), more));
        assert_eq!(reply.status, 400);
        let error = check_error(param, &reply.text());
        assert_eq!(error["param"], param, "{error}");
        assert!(error["message"].as_str().unwrap().contains(words), "{error}");
    }
    let kept = server.get("/v1/responses/resp_1");
    assert_eq!(kept.status, 404);
    check_error("a kept response", &kept.text());
}
