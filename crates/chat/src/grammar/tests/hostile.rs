//! Schemas that nobody means well with, and what cannot be held to.

use serde_json::{Map, Value, json};

use super::{Dice, allowed, tokenizer, walk};
use crate::{ChatError, Grammar, Start};

fn refused(schema: &Value) -> String {
    match Grammar::json_schema(&tokenizer(), schema) {
        Err(error @ ChatError::BadSchema(_)) => error.to_string(),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("taken: {schema:.300}"),
    }
}

#[test]
fn what_cannot_be_held_to_is_refused_with_its_name() {
    for (schema, said) in [
        (json!({ "not": { "type": "string" } }), "not"),
        (json!({ "type": "array", "uniqueItems": true }), "uniqueItems"),
        (json!({ "if": {}, "then": {} }), "then"),
        // An answer with only `a` is both, also where each branch has no other properties.
        (
            json!({ "oneOf": [
                { "type": "object", "properties": { "a": { "type": "integer" } }, "required": ["a"] },
                { "type": "object", "properties": { "b": { "type": "integer" } } },
            ] }),
            "oneOf",
        ),
        (
            json!({ "oneOf": [{ "type": "number" }, { "type": "integer" }] }),
            "oneOf",
        ),
        (json!({ "type": "string", "format": "no-such" }), "no-such"),
        (json!({ "type": "strnig" }), "strnig"),
        (json!({ "type": 5 }), "type"),
        (json!({ "type": "string", "pattern": "(" }), ""),
        (json!({ "type": "string", "pattern": "(?=a)" }), ""),
        (json!({ "type": "string", "minLength": 3, "maxLength": 2 }), "minLength"),
        (json!({ "enum": [] }), ""),
        (json!({ "$ref": "#/nowhere" }), "#/nowhere"),
        (json!({ "$ref": "http://127.0.0.1/x" }), "http://127.0.0.1/x"),
        (
            json!({ "type": "object", "required": ["a"], "properties": { "a": false } }),
            "'a'",
        ),
        (json!({ "maximum": 90_071_992_547_409_939_u64 }), "2^53"),
        (json!(false), "false"),
        (json!("text"), "object"),
    ] {
        let error = refused(&schema);
        assert!(error.contains(said), "{error} should say {said}");
        assert!(
            !error.contains('\n') && error.len() < 500 && !error.contains("non-verbose"),
            "{error}"
        );
    }
}

/// Each within the memory of a small stack, which a thread of an engine or of the pool of blocking work has at least.
#[test]
fn hostile_schemas_end_soon_and_without_a_panic() {
    let deep = |levels: usize| (0..levels).fold(json!({}), |inner, _| json!({ "items": inner }));
    let chain = |links: usize| {
        let link = |index: usize| {
            (
                format!("d{index}"),
                json!({ "items": { "$ref": format!("#/$defs/d{}", index + 1) } }),
            )
        };
        let mut definitions: Map<String, Value> = (0..links).map(link).collect();
        definitions.insert(format!("d{links}"), json!({}));
        json!({ "$ref": "#/$defs/d0", "$defs": definitions })
    };
    let wide: Map<String, Value> = (0..3_000)
        .map(|index| (format!("p{index}"), json!({ "type": "string" })))
        .collect();
    let any_of = |count: usize| {
        let options: Vec<Value> = (0..count)
            .map(|index| json!({ "properties": { format!("a{index}"): { "type": "string" } } }))
            .collect();
        json!({ "anyOf": options })
    };
    let schemas = [
        deep(31),
        deep(32),
        deep(100),
        chain(80),
        chain(120),
        chain(1_000),
        json!({ "type": "object", "properties": wide }),
        json!({ "type": "object", "properties": { "a": { "$ref": "#" } }, "required": ["a"] }),
        json!({ "$ref": "#" }),
        json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } } }),
        json!({ "allOf": [{ "$ref": "#" }, { "$ref": "#" }] }),
        json!({ "anyOf": [{ "$ref": "#" }, { "$ref": "#" }] }),
        json!({ "allOf": [any_of(40), any_of(40), any_of(40)] }),
        json!({ "allOf": (0..10).map(|_| any_of(8)).collect::<Vec<_>>() }),
        json!({ "type": "string", "maxLength": 1_000_000_000_u64 }),
        json!({ "type": "string", "minLength": 1_000_000_000_u64 }),
        json!({ "type": "array", "minItems": 1_000_000_000_u64 }),
        json!({ "type": "array", "maxItems": 1_000_000_000_u64, "items": { "type": "string", "maxLength": 500_000 } }),
        json!({ "type": "object", "minProperties": 1_000_000_000_u64 }),
        json!({ "type": "string", "pattern": "(a|b|ab)*c(.{1,200}x){1,200}" }),
        json!({ "type": "string", "pattern": "((((a{1,100}){1,100}){1,100}){1,100}){1,100}" }),
        json!({ "type": "string", "pattern": "(.*a.{20}){3}(.*b.{20}){3}(.*c.{20})" }),
        json!({ "type": "string", "pattern": format!("{}{}", "(".repeat(250), ")".repeat(250)) }),
        json!({ "type": "string", "pattern": "\\p{L}{1,500}\\p{N}{1,500}" }),
        json!({ "type": "string", "pattern": "a".repeat(10_000) }),
        json!({ "enum": (0..5_000).map(|index| json!(index.to_string())).collect::<Vec<_>>() }),
        json!({ "const": "中".repeat(20_000) }),
        json!({ "const": deep(60) }),
        json!({ "type": "number", "minimum": 1e-300, "maximum": 1e300, "multipleOf": 1e-20 }),
        json!({ "type": "integer", "multipleOf": 7_919, "minimum": -1e15 }),
        json!({ "x-guidance": { "whitespace_pattern": "(a*)*" }, "type": "object" }),
        json!({ "type": format!("{}é", "x".repeat(97)) }),
        json!({ "patternProperties": { "^a": {}, "a$": {} } }),
    ];
    let walked = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        for (index, schema) in schemas.iter().enumerate() {
            let Ok(grammar) = Grammar::json_schema(&tokenizer(), schema) else {
                continue;
            };
            let mut state = grammar.begin(Start::Answer);
            let mut dice = Dice::new(index as u64 + 1);
            for _ in 0..200 {
                let Ok(crate::Permit::Only { .. }) = state.allow() else {
                    break;
                };
                let Some((tokens, _)) = allowed(&tokenizer(), &mut state) else {
                    break;
                };
                if tokens.is_empty() || state.accept(dice.pick(&tokens)).is_err() {
                    break;
                }
            }
        }
    });
    walked.unwrap().join().unwrap();
}

#[test]
fn the_deepest_schemas_within_bounds_are_taken() {
    let properties = (0..31).fold(
        json!({ "type": "null" }),
        |inner, _| json!({ "properties": { "a": inner } }),
    );
    assert!(Grammar::json_schema(&tokenizer(), &properties).is_ok());
    assert!(refused(&json!({ "properties": { "a": properties } })).contains("64 levels"));
    let text = json!({ "description": "x".repeat(70_000) });
    assert!(refused(&text).contains("65536 bytes"));
}

#[test]
fn a_clients_own_settings_of_the_parser_are_not_taken() {
    let schema =
        json!({ "type": "array", "maxItems": 0, "x-guidance": { "item_separator": "no", "whitespace_pattern": "z+" } });
    let grammar = Grammar::json_schema(&tokenizer(), &schema).unwrap();
    for seed in 1..20 {
        let said = walk(
            &tokenizer(),
            &mut grammar.begin(Start::Answer),
            &mut Dice::new(seed),
            50,
        )
        .unwrap();
        let text = tokenizer().decode(&said).unwrap();
        assert_eq!(text.replace([' ', '\n', '\t', '\r'], ""), "[]", "{text:?}");
    }
}
