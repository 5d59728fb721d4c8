//! Thinking, what is not supported, messages and prompts.

use chat::{Role, Thinking};

use serde_json::json;

use super::*;

#[test]
fn any_way_of_saying_do_not_think_is_understood() {
    let thinking = |fields: &str| chat_of(fields).unwrap().thinking;
    for off in [
        "\"reasoning_effort\":\"none\"",
        "\"chat_template_kwargs\":{\"enable_thinking\":false}",
        "\"chat_template_kwargs\":{\"thinking\":false,\"other\":1}",
        "\"thinking\":{\"type\":\"disabled\"}",
        "\"thinking\":false",
    ] {
        assert_eq!(thinking(off), Thinking::Skipped, "{off}");
    }
    for on in [
        "\"reasoning_effort\":\"high\"",
        "\"reasoning_effort\":\"whatever comes\"",
        "\"chat_template_kwargs\":{\"enable_thinking\":true}",
        "\"chat_template_kwargs\":{}",
        "\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":1000}",
        "\"thinking\":{\"type\":\"auto\"}",
    ] {
        assert_eq!(thinking(on), Thinking::Forced, "{on}");
    }
    refused("\"reasoning_effort\":1", "reasoning_effort", &["a text"]);
    refused(
        "\"chat_template_kwargs\":{\"enable_thinking\":0}",
        "chat_template_kwargs.enable_thinking",
        &["0"],
    );
    refused("\"chat_template_kwargs\":7", "chat_template_kwargs", &["7"]);
}

#[test]
fn the_thought_is_shown_as_asked() {
    let showing = |fields: &str| chat_of(fields).unwrap().showing;
    for split in ["deepseek", "parsed", "auto"] {
        assert_eq!(showing(&format!("\"reasoning_format\":\"{split}\"")), Showing::Split);
    }
    for inline in [
        "\"reasoning_format\":\"none\"",
        "\"reasoning_format\":\"raw\"",
        "\"separate_reasoning\":false",
    ] {
        assert_eq!(showing(inline), Showing::Inline);
    }
    for hidden in ["\"reasoning_format\":\"hidden\"", "\"include_reasoning\":false"] {
        assert_eq!(showing(hidden), Showing::Hidden);
    }
    refused(
        "\"reasoning_format\":\"xml\"",
        "reasoning_format",
        &["\"xml\"", "deepseek"],
    );
    refused(
        "\"separate_reasoning\":\"no\"",
        "separate_reasoning",
        &["true or false"],
    );
}

#[test]
fn what_would_change_the_answer_is_refused_and_says_what_to_do() {
    refused("\"response_format\":{}", "response_format", &["missing"]);
    refused(
        "\"response_format\":\"json\"",
        "response_format",
        &["the text \"json\""],
    );
    refused(
        "\"tools\":[{\"type\":\"function\"}]",
        "tools",
        &["a list of 1", "\"tool_choice\": \"none\""],
    );
    refused("\"tools\":[{}],\"tool_choice\":\"auto\"", "tools", &["LobeChat"]);
    refused(
        "\"functions\":[{}]",
        "functions",
        &["use tools", "\"function_call\": \"none\""],
    );
    refused("\"modalities\":[\"text\",\"audio\"]", "modalities", &["text only"]);
    refused("\"audio\":{\"voice\":\"x\"}", "audio", &["text only"]);
    refused("\"best_of\":2", "best_of", &["best_of is 2"]);
    refused("\"n\":2,\"best_of\":3", "best_of", &["best_of is 3"]);
    refused("\"prompt_logprobs\":0", "prompt_logprobs", &["logprobs"]);
    refused("\"chat_template\":\"{{x}}\"", "chat_template", &["the model's own"]);
    refused("\"guided_regex\":\"a\"", "guided_regex", &["response_format"]);
    refused("\"stop_token_ids\":[1]", "stop_token_ids", &["stop"]);
    refused("\"min_tokens\":5", "min_tokens", &["ignore_eos"]);
    completion_refused("\"prompt\":\"a\",\"echo\":true", "echo", &["true"]);
    completion_refused("\"prompt\":\"a\",\"suffix\":\"b\"", "suffix", &["\"b\""]);
}

#[test]
fn unsupported_fields_that_ask_for_nothing_pass() {
    for fields in [
        "\"response_format\":{\"type\":\"text\"}",
        "\"tools\":[]",
        "\"tools\":[{}],\"tool_choice\":\"none\"",
        "\"functions\":[{}],\"function_call\":\"none\"",
        "\"modalities\":[\"text\"]",
        "\"n\":2,\"best_of\":2",
        "\"best_of\":1",
        "\"echo\":false,\"suffix\":\"\",\"min_tokens\":0",
        "\"user\":\"u1\",\"verbosity\":\"low\",\"prompt_cache_key\":\"k\",\"safety_identifier\":\"s\",\"store\":false",
    ] {
        chat_of(fields).unwrap_or_else(|error| panic!("{fields}: {error}"));
    }
}

#[test]
fn the_form_of_the_answer_is_read_from_every_field_that_asks_for_it() {
    let form = |fields: &str| chat_of(fields).map(|request| request.options.form);
    let schema = |param| Form::JsonSchema {
        param,
        schema: json!({"type": "object"}),
    };
    for (fields, expected) in [
        ("", Form::Free),
        (
            r#""response_format":{"type":"json_object"}"#,
            Form::JsonObject {
                param: "response_format",
            },
        ),
        (
            r#""response_format":{"type":"json_schema","json_schema":{"name":"x","strict":true,"schema":{"type":"object"}}}"#,
            schema("response_format"),
        ),
        (
            r#""response_format":{"type":"json_object","schema":{"type":"object"}}"#,
            schema("response_format"),
        ),
        (r#""guided_json":{"type":"object"}"#, schema("guided_json")),
        (r#""guided_json":"{\"type\":\"object\"}""#, schema("guided_json")),
        (
            r#""structured_outputs":{"json":{"type":"object"}}"#,
            schema("structured_outputs"),
        ),
    ] {
        assert_eq!(form(fields).unwrap(), expected, "{fields}");
    }
    refused(
        r#""response_format":{"type":"json_schema","json_schema":{"name":"x"}}"#,
        "response_format",
        &["schema is missing"],
    );
    refused(
        r#""response_format":{"type":"xml"}"#,
        "response_format",
        &["\"xml\"", "json_schema"],
    );
    refused(r#""guided_json":"{""#, "guided_json", &["not JSON"]);
    refused(
        r#""structured_outputs":{"regex":"a"}"#,
        "structured_outputs",
        &["regex"],
    );
    refused(
        r#""guided_json":{},"response_format":{"type":"json_object"}"#,
        "guided_json",
        &["two fields"],
    );
    let huge = format!(r#""guided_json":{{"enum":[{}]}}"#, vec!["1"; 40_000].join(","));
    refused(&huge, "guided_json", &["32768 values"]);
}

fn tools_of(fields: &str) -> Result<Tools, ApiError> {
    with_tools(fields).map(|request| request.options.tools)
}

#[test]
fn tools_are_read_for_a_model_that_knows_them() {
    let tool =
        |name: &str| format!(r#"{{"function":{{"name":"{name}","description":"d","strict":true}},"type":"function"}}"#);
    let two = format!(r#""tools":[{},{}]"#, tool("f"), tool("g-2"));
    let tools = tools_of(&two).unwrap();
    assert_eq!((tools.offered.len(), tools.forced.len()), (2, 0));
    assert!(
        tools.offered[0]
            .to_string()
            .starts_with(r#"{"type":"function","function":{"name":"f","#)
    );
    let forced = |choice: &str| {
        let tools = tools_of(&format!(r#"{two},"tool_choice":{choice}"#)).unwrap();
        let names: Vec<String> = tools.forced.into_iter().map(|function| function.name).collect();
        (tools.offered.len(), names)
    };
    assert_eq!(forced("\"none\""), (0, vec![]));
    assert_eq!(forced("\"auto\""), (2, vec![]));
    assert_eq!(forced("\"required\""), (2, vec!["f".to_owned(), "g-2".to_owned()]));
    let named = r#"{"type":"function","function":{"name":"g-2"}}"#;
    assert_eq!(forced(named), (2, vec!["g-2".to_owned()]));
    for (fields, param, words) in [
        (
            format!(r#""tools":[{},{}]"#, tool("f"), tool("f")),
            "tools[1].function.name",
            "earlier",
        ),
        (
            format!(r#""tools":[{}]"#, tool("a b")),
            "tools[0].function.name",
            "letters",
        ),
        (
            format!(r#""tools":[{}]"#, tool(&"x".repeat(65))),
            "tools[0].function.name",
            "64",
        ),
        (
            format!(r#""tools":[{}]"#, vec![tool("f"); 129].join(",")),
            "tools",
            "128",
        ),
        (
            r#""tools":[{"type":"web_search"}]"#.to_owned(),
            "tools[0]",
            "only \"function\"",
        ),
        (r#""tools":[{"type":"function"}]"#.to_owned(), "tools[0]", "no function"),
        (r#""tools":7"#.to_owned(), "tools", "a list of tools"),
        (r#""tool_choice":"required""#.to_owned(), "tool_choice", "no tools"),
        (format!(r#"{two},"tool_choice":"always""#), "tool_choice", "required"),
        (
            format!(r#"{two},"tool_choice":{{"function":{{"name":"h"}}}}"#),
            "tool_choice",
            "\"h\"",
        ),
        (
            format!(r#"{two},"response_format":{{"type":"json_object"}}"#),
            "response_format",
            "call of a tool",
        ),
    ] {
        check_refusal(&fields, with_tools(&fields).map(drop), param, &[words]);
    }
    completion_refused(&format!(r#""prompt":"a",{two}"#), "tools", &["/v1/chat/completions"]);
}

#[test]
fn calls_are_one_at_a_time_only_where_the_request_says_so() {
    let ends_at_call = |flag: &str| {
        let fields = format!(r#""tools":[{{"type":"function","function":{{"name":"f"}}}}]{flag}"#);
        tools_of(&fields).unwrap().ends_at_call
    };
    assert!(ends_at_call(r#","parallel_tool_calls":false"#));
    for often in ["", r#","parallel_tool_calls":true"#, r#","parallel_tool_calls":null"#] {
        assert!(!ends_at_call(often), "{often}");
    }
    for value in ["0", "\"false\"", "[]", "{}"] {
        for beside in ["", r#","tools":[{}],"tool_choice":"none""#] {
            let fields = format!(r#""parallel_tool_calls":{value}{beside}"#);
            refused(&fields, "parallel_tool_calls", &["true or false"]);
        }
    }
}

#[test]
fn calls_of_earlier_turns_are_read() {
    let list = r#"[{"role":"assistant","content":null,"tool_calls":[
        {"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a\": 1}"}},
        {"function":{"name":"g","arguments":{"b":2}}},{"function":{"name":"h","arguments":"no json"}}]},
        {"role":"tool","tool_call_id":"call_1","content":"3"}]"#;
    let calls = messages_of(list).unwrap().remove(0).tool_calls;
    let found: Vec<(String, serde_json::Value)> = calls.into_iter().map(|call| (call.name, call.arguments)).collect();
    let expected = [("f", json!({"a": 1})), ("g", json!({"b": 2})), ("h", json!("no json"))];
    assert_eq!(found, expected.map(|(name, arguments)| (name.to_owned(), arguments)));
    let nameless = r#"[{"role":"assistant","tool_calls":[{"function":{}}]}]"#;
    assert!(messages_of(nameless).unwrap_err().to_string().contains("function.name"));
}

fn messages_of(list: &str) -> Result<Vec<chat::Message>, ApiError> {
    with_rules(chat_request, &format!("{{\"messages\":{list}}}"))?.map(|request| request.messages)
}

#[test]
fn every_role_and_form_of_content_is_read() {
    let messages = messages_of(
        r#"[{"role":"developer","content":"a"},{"role":"user","content":[{"type":"text","text":"b"},{"type":"text","text":"c"}]},
            {"role":"assistant","content":null,"tool_calls":[],"reasoning_content":"x","reasoning":"y"},{"role":"tool","content":"d"}]"#,
    );
    let found: Vec<_> = messages
        .unwrap()
        .into_iter()
        .map(|message| (message.role, message.content))
        .collect();
    let expected = [
        (Role::System, "a"),
        (Role::User, "b\nc"),
        (Role::Assistant, ""),
        (Role::Tool, "d"),
    ];
    assert_eq!(found, expected.map(|(role, content)| (role, content.to_owned())));
}

#[test]
fn messages_that_cannot_be_read_are_refused_by_their_place() {
    let check =
        |list: &str, param: &str, words: &[&str]| check_refusal(list, messages_of(list).map(drop), param, words);
    check("[]", "messages", &["a list of 0", "1 to 4"]);
    check("null", "messages", &["null"]);
    check("\"hi\"", "messages", &["the text \"hi\""]);
    check("[1]", "messages[0]", &["messages[0] is 1"]);
    check(
        r#"[{"role":"user","content":"a"},{"content":"a"}]"#,
        "messages[1].role",
        &["missing", "developer"],
    );
    check(
        r#"[{"role":"robot","content":"a"}]"#,
        "messages[0].role",
        &["\"robot\""],
    );
    check(r#"[{"role":"user"}]"#, "messages[0].content", &["missing"]);
    check(r#"[{"role":"user","content":null}]"#, "messages[0].content", &["null"]);
    check(r#"[{"role":"user","content":7}]"#, "messages[0].content", &["7"]);
    let image = r#"[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{}}]}]"#;
    check(image, "messages[0].content[1]", &["image_url", "text only"]);
    check(
        r#"[{"role":"user","content":[{"type":"text"}]}]"#,
        "messages[0].content[0]",
        &["without text"],
    );
    let message = r#"{"role":"user","content":"a"}"#;
    assert_eq!(messages_of(&format!("[{}]", [message; 4].join(","))).unwrap().len(), 4);
    check(
        &format!("[{}]", [message; 5].join(",")),
        "messages",
        &["a list of 5", "1 to 4"],
    );
    check(
        &format!("[{}]", vec!["{}"; 300_000].join(",")),
        "messages",
        &["a list of 300000"],
    );
    assert!(
        matches!(with_rules(chat_request, "{}").unwrap(), Err(ApiError::Field { param, .. }) if param == "messages")
    );
}

#[test]
fn prompts_come_in_four_forms() {
    let prompts = |json: &str| completion_of(&format!("\"prompt\":{json}")).unwrap().prompts;
    let text = |text: &str| PromptSource::Text(text.into());
    assert_eq!(prompts("\"a\""), [text("a")]);
    assert_eq!(prompts("[\"a\",\"b\"]"), [text("a"), text("b")]);
    assert_eq!(prompts("[1,999]"), [PromptSource::Ids(vec![1, 999])]);
    assert_eq!(
        prompts("[[1],[2,3]]"),
        [PromptSource::Ids(vec![1]), PromptSource::Ids(vec![2, 3])]
    );
    let refused = |json: &str, param: &str, words: &[&str]| {
        completion_refused(&format!("\"prompt\":{json}"), param, words);
    };
    refused("null", "prompt", &["null"]);
    refused("[]", "prompt", &["a list of 0", "1 to 8"]);
    refused("{}", "prompt", &["an object"]);
    refused("[[]]", "prompt[0]", &["empty list"]);
    refused("[1000]", "prompt[0]", &["1000", "0 to 999"]);
    refused("[[1],[5,1000]]", "prompt[1][1]", &["1000"]);
    refused("[1,\"a\"]", "prompt[1]", &["the text \"a\""]);
    refused("[-1]", "prompt[0]", &["-1"]);
    refused("[1.5]", "prompt[0]", &["1.5"]);
    refused(
        &format!("[{}]", ["\"a\""; 9].join(",")),
        "prompt",
        &["a list of 9", "1 to 8"],
    );
    refused(
        &format!("[{}]", vec!["\"\""; 250_000].join(",")),
        "prompt",
        &["a list of 250000"],
    );
    completion_refused("\"messages\":[]", "messages", &["/v1/chat/completions"]);
    completion_refused("", "prompt", &["missing"]);
}
