//! Tools: offered to a model whose template knows them, refused where it does not, calls told from text.

use serde_json::{Value, json};

use crate::support::*;

fn tool(name: &str, parameters: Value) -> Value {
    json!({"type": "function", "function": {"name": name, "description": "Does it.", "parameters": parameters}})
}

fn adding() -> Value {
    let number = json!({"type": "integer", "minimum": 1, "maximum": 9});
    let parameters = json!({"type": "object", "properties": {"a": number, "b": number}, "required": ["a", "b"],
                            "additionalProperties": false});
    tool("add", parameters)
}

fn check_adding(call: &Value) {
    assert_eq!(call["type"], "function", "{call}");
    assert_eq!(call["function"]["name"], "add", "{call}");
    let id = call["id"].as_str().unwrap().strip_prefix("call_").unwrap();
    assert!(
        id.len() == 8
            && id
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()),
        "{call}"
    );
    let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
    for name in ["a", "b"] {
        assert!((1..=9).contains(&arguments[name].as_i64().unwrap()), "{call}");
    }
}

#[test]
fn a_model_whose_template_knows_no_tools_is_not_given_any() {
    let server = Server::start();
    let request = with(chat("hello"), json!({"tools": [adding()]}));
    let reply = server.post(CHAT, &request);
    assert_eq!(reply.status, 400, "{}", reply.text());
    let error = check_error("tools", &reply.text());
    assert_eq!(error["param"], "tools");
    assert!(
        error["message"].as_str().unwrap().contains("does not support tools"),
        "{error}"
    );
    for off in [
        json!({"tools": []}),
        json!({"tools": [adding()], "tool_choice": "none"}),
    ] {
        assert_eq!(
            answer(&server.post(CHAT, &with(chat("hello"), off)).ok()),
            answer(&server.post(CHAT, &chat("hello")).ok())
        );
    }
    let request = json!({"model": "default", "messages": [{"role": "user", "content": "hi"}], "tools": [adding()]});
    let reply = server.post("/api/chat", &request);
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("does not support tools"), "{}", reply.text());
}

#[test]
fn tools_are_in_the_prompt_of_a_model_that_knows_them() {
    let model = ToolModel::new();
    let server = model.serve();
    let tokens = |request: Value| {
        server.post(CHAT, &request).ok()["usage"]["prompt_tokens"]
            .as_u64()
            .unwrap()
    };
    let brief = with(chat("hello"), json!({"max_tokens": 1}));
    let without = tokens(brief.clone());
    let with_one = tokens(with(brief.clone(), json!({"tools": [adding()]})));
    assert!(with_one > without + 20, "{with_one} after {without}");
    assert_eq!(
        tokens(with(brief, json!({"tools": [adding()], "tool_choice": "none"}))),
        without
    );
    let called = json!({"role": "assistant", "content": null, "tool_calls":
        [{"id": "call_12345678", "type": "function", "function": {"name": "add", "arguments": "{\"a\": 1, \"b\": 2}"}}]});
    let result = json!({"role": "tool", "tool_call_id": "call_12345678", "content": "3"});
    let messages = json!({"messages": [{"role": "user", "content": "1 + 2"}, called, result], "max_tokens": 1});
    assert!(tokens(with(chat(""), messages)) > without + 20);
}

#[test]
fn a_required_call_is_made_whole_and_streamed() {
    let model = ToolModel::new();
    let server = model.serve();
    let request = with(chat("1 + 2"), json!({"tools": [adding()], "tool_choice": "required"}));
    let reply = server.post(CHAT, &request).ok();
    let choice = &reply["choices"][0];
    assert_eq!(
        (&choice["finish_reason"], &choice["message"]["content"]),
        (&json!("tool_calls"), &json!(""))
    );
    let calls = choice["message"]["tool_calls"].as_array().unwrap();
    assert_eq!(calls.len(), 1, "{reply}");
    check_adding(&calls[0]);
    assert!(calls[0].get("index").is_none(), "{reply}");

    let (mut streamed, mut finish, mut text) = (Vec::new(), String::new(), String::new());
    for data in server.stream(CHAT, &with(request, json!({"stream": true}))) {
        if data == "[DONE]" {
            continue;
        }
        let chunk: Value = serde_json::from_str(&data).unwrap();
        let choice = &chunk["choices"][0];
        text += choice["delta"]["content"].as_str().unwrap_or_default();
        streamed.extend(choice["delta"]["tool_calls"].as_array().cloned().unwrap_or_default());
        finish += choice["finish_reason"].as_str().unwrap_or_default();
    }
    assert_eq!((finish.as_str(), text.as_str(), streamed.len()), ("tool_calls", "", 1));
    assert_eq!(streamed[0]["index"], 0);
    assert_eq!(streamed[0]["function"], calls[0]["function"]);
    check_adding(&streamed[0]);
}

#[test]
fn a_named_function_is_the_one_that_is_called_by_every_choice() {
    let model = ToolModel::new();
    let server = model.serve();
    let other = tool("subtract", json!({"type": "object", "maxProperties": 0}));
    let named = json!({"tools": [other, adding()], "tool_choice": {"type": "function", "function": {"name": "add"}},
                       "n": 2, "temperature": 1.5, "seed": 3});
    let reply = server.post(CHAT, &with(chat("hello"), named)).ok();
    for choice in reply["choices"].as_array().unwrap() {
        check_adding(&choice["message"]["tool_calls"][0]);
    }
}

#[test]
fn tools_that_need_not_be_called_leave_an_answer_as_it_is() {
    let model = ToolModel::new();
    let server = model.serve();
    let request = with(chat("hello"), json!({"tools": [adding()], "max_tokens": 20}));
    let whole = answer(&server.post(CHAT, &request).ok());
    let streamed = joined(&mut server.stream(CHAT, &with(request, json!({"stream": true}))));
    assert_eq!(whole, streamed);
}

#[test]
fn tools_that_cannot_be_held_to_are_refused() {
    let model = ToolModel::new();
    let server = model.serve();
    let odd = tool("odd", json!({"not": {}}));
    let request = with(chat("hello"), json!({"tools": [odd], "tool_choice": "required"}));
    let reply = server.post(CHAT, &request);
    assert_eq!(reply.status, 400, "{}", reply.text());
    let error = check_error("tools", &reply.text());
    assert!(error["message"].as_str().unwrap().contains("`odd`"), "{error}");
}
