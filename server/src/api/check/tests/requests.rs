//! Thinking, what is not supported, messages and prompts.

use chat::{Role, Thinking};

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
    refused(
        "\"response_format\":{\"type\":\"json_object\"}",
        "response_format",
        &["json_object", "in the prompt"],
    );
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
    refused("\"functions\":[{}]", "functions", &["\"function_call\": \"none\""]);
    refused("\"modalities\":[\"text\",\"audio\"]", "modalities", &["text only"]);
    refused("\"audio\":{\"voice\":\"x\"}", "audio", &["text only"]);
    refused("\"best_of\":2", "best_of", &["best_of is 2"]);
    refused("\"n\":2,\"best_of\":3", "best_of", &["best_of is 3"]);
    refused("\"prompt_logprobs\":0", "prompt_logprobs", &["logprobs"]);
    refused("\"chat_template\":\"{{x}}\"", "chat_template", &["the model's own"]);
    refused("\"guided_json\":{\"a\":1}", "guided_json", &["in the prompt"]);
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
