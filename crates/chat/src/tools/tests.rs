//! Calls told from text however it is cut, and calls that are forced.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::grammar::tests::{Dice, tokenizer, walk};
use crate::testing::{chatml, special};
use crate::{ReplyDecoder, Start};

fn read(format: ToolFormat, pieces: &[&str]) -> (String, Vec<ToolCall>) {
    let mut parser = ToolCallParser::new(format);
    let mut out: Vec<ToolPiece> = pieces.iter().flat_map(|piece| parser.push(piece)).collect();
    out.extend(parser.finish());
    let (mut text, mut calls) = (String::new(), Vec::new());
    for piece in out {
        match piece {
            ToolPiece::Text(more) => text += &more,
            ToolPiece::Call(call) => calls.push(call),
        }
    }
    (text, calls)
}

fn call(name: &str, arguments: Value) -> ToolCall {
    ToolCall {
        name: name.into(),
        arguments,
    }
}

#[test]
fn hermes_calls_are_found_and_the_rest_is_text() {
    let check = |text: &str, expected: &str, calls: &[ToolCall]| {
        assert_eq!(
            read(ToolFormat::Hermes, &[text]),
            (expected.to_owned(), calls.to_vec()),
            "{text:?}"
        );
    };
    let sum = call("sum", json!({ "a": 1 }));
    let said = "<tool_call>\n{\"name\": \"sum\", \"arguments\": {\"a\": 1}}\n</tool_call>";
    check(said, "", &[sum.clone()]);
    check(
        &format!("I add.\n\n{said}\n{said}\n"),
        "I add.",
        &[sum.clone(), sum.clone()],
    );
    check(&format!("{said} and on"), "and on", &[sum.clone()]);
    check("<tool_call>{\"name\": \"sum\", \"arguments\": {\"a\": 1}}", "", &[sum]);
    check(
        "<tool_call>{\"name\": \"now\"}</tool_call>",
        "",
        &[call("now", json!({}))],
    );
    for text in [
        "plain \n",
        "a <tool_call>not json</tool_call> b",
        "<tool_call>{\"name\": 5}</tool_call>",
        "<tool_call>{\"name\": \"x\", \"arguments\": [1]}</tool_call>\n",
        "cut off <tool_call>\n{\"name\": \"x",
        "</tool_call> <tool_ <<tool_call",
        "  ",
    ] {
        check(text, text, &[]);
    }
}

#[test]
fn deepseek_calls_are_found_and_the_rest_is_text() {
    let one = |name: &str| format!("{CALL_BEGIN}function{SEPARATOR}{name}\n```json\n{{\"a\": \"中\"}}\n```{CALL_END}");
    let text = format!("So:\n{CALLS_BEGIN}{}\n{}{CALLS_END}", one("f"), one("g"));
    let arguments = json!({ "a": "中" });
    let calls = vec![call("f", arguments.clone()), call("g", arguments)];
    assert_eq!(read(ToolFormat::DeepSeek, &[&text]), ("So:".to_owned(), calls));
    let broken = format!("{CALLS_BEGIN}{CALL_BEGIN}f{CALL_END}{CALLS_END}");
    assert_eq!(read(ToolFormat::DeepSeek, &[&broken]), (broken.clone(), Vec::new()));
}

proptest! {
    #[test]
    fn any_cut_gives_what_the_whole_gives(
        parts in prop::collection::vec(prop::sample::select(vec![
            "<tool_call>", "</tool_call>", "{\"name\": \"f\", \"arguments\": {}}", "<tool_", "call>", " ", "\n", "中", "x", "<",
        ]), 0..14),
        cuts in prop::collection::vec(0_usize..200, 0..8),
    ) {
        let text = parts.concat();
        let mut at: Vec<usize> = cuts.into_iter().map(|cut| text.floor_char_boundary(cut)).collect();
        at.extend([0, text.len()]);
        at.sort_unstable();
        let pieces: Vec<&str> = at.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        let (found, calls) = read(ToolFormat::Hermes, &pieces);
        prop_assert_eq!((found.clone(), calls.clone()), read(ToolFormat::Hermes, &[&text]));
        prop_assert!(!calls.is_empty() || found == text);
    }
}

#[test]
fn text_is_not_held_back_longer_than_it_could_be_a_call() {
    let mut parser = ToolCallParser::new(ToolFormat::Hermes);
    assert_eq!(parser.push("hello <to"), [ToolPiece::Text("hello".into())]);
    assert_eq!(parser.push("ol"), []);
    assert_eq!(parser.push("s"), [ToolPiece::Text(" <tools".into())]);
}

#[test]
fn a_forced_call_is_one_of_the_functions_with_arguments_of_its_schema() {
    let functions = [
        ToolFunction {
            name: "get".into(),
            parameters: json!({ "type": "object", "properties": { "n": { "type": "integer", "minimum": 3, "maximum": 5 } },
                                "required": ["n"], "additionalProperties": false }),
        },
        ToolFunction {
            name: "put".into(),
            parameters: json!({ "type": "object", "maxProperties": 0 }),
        },
        ToolFunction {
            name: "get_all".into(),
            parameters: json!({ "type": "object", "maxProperties": 0 }),
        },
    ];
    for (format, tokenizer) in [
        (ToolFormat::Hermes, tokenizer()),
        (ToolFormat::Hermes, chatml(false)),
        (ToolFormat::DeepSeek, chatml(true)),
    ] {
        let grammar = Grammar::tool_call(&tokenizer, format, &functions).unwrap();
        let mut names = Vec::new();
        for seed in 1..40 {
            let said = walk(&tokenizer, &mut grammar.begin(Start::Answer), &mut Dice::new(seed), 400).unwrap();
            let mut decoder = ReplyDecoder::new(&tokenizer, Start::Answer, &[]).showing_tools(format);
            let mut text = String::new();
            let pieces = said.iter().flat_map(|token| decoder.push(*token)).collect::<Vec<_>>();
            for piece in pieces.into_iter().chain(decoder.finish()) {
                if let crate::Piece::Answer(more) = piece {
                    text += &more;
                }
            }
            let (rest, calls) = read(format, &[&text]);
            assert_eq!((rest.as_str(), calls.len()), ("", 1), "{text}");
            match calls[0].name.as_str() {
                "get" => assert!((3..=5).contains(&calls[0].arguments["n"].as_i64().unwrap()), "{text}"),
                other => assert!(
                    ["put", "get_all"].contains(&other) && calls[0].arguments == json!({}),
                    "{text}"
                ),
            }
            names.push(calls[0].name.clone());
        }
        assert!(names.iter().any(|name| name == "get") && names.iter().any(|name| name == "put"));
        let (before, _) = format.around("get_all");
        let mut state = grammar.begin(Start::Answer);
        for token in tokens(&tokenizer, format, &before).unwrap() {
            state.accept(token).unwrap();
        }
    }
}

#[test]
fn a_tag_that_is_a_token_is_forced_as_that_token() {
    let tokenizer = tokenizer();
    let ids = tokens(&tokenizer, ToolFormat::Hermes, "<tool_call>\nx</tool_call>").unwrap();
    assert_eq!(ids[..2], [special(&tokenizer, "<tool_call>"), u32::from(b'\n')]);
    assert_eq!(tokenizer.decode(&ids).unwrap(), "<tool_call>\nx</tool_call>");
}

#[test]
fn parameters_that_cannot_be_held_to_name_their_function() {
    let function = ToolFunction {
        name: "f".into(),
        parameters: json!({ "not": {} }),
    };
    let error = Grammar::tool_call(&tokenizer(), ToolFormat::Hermes, &[function])
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("`f`") && error.contains("not"), "{error}");
}
