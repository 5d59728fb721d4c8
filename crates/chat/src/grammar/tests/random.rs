//! Random schemas, random answers, and a validator that knows nothing of the grammar.

use serde_json::{Map, Value, json};

use super::{Dice, tokenizer, walk};
use crate::{Grammar, Start};

const SCHEMAS: u64 = 1_000;
const TOKENS_MAX: usize = 1_500;

#[test]
fn what_a_thousand_schemas_let_through_is_valid_by_another_implementation() {
    let tokenizer = tokenizer();
    let (mut answered, mut bytes) = (0, 0);
    for seed in 0..SCHEMAS {
        let mut dice = Dice::new(seed + 1);
        let schema = root(&mut dice);
        let grammar =
            Grammar::json_schema(&tokenizer, &schema).unwrap_or_else(|error| panic!("seed {seed}: {error}: {schema}"));
        let validator = jsonschema::validator_for(&schema).unwrap();
        for _ in 0..2 {
            let mut state = grammar.begin(Start::Answer);
            let Some(said) = walk(&tokenizer, &mut state, &mut dice, TOKENS_MAX) else {
                continue;
            };
            let text = tokenizer.decode(&said).unwrap();
            let value: Value =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("seed {seed}: {error}: {text}\n{schema}"));
            if let Err(error) = validator.validate(&value) {
                panic!("seed {seed}: {error}\n{text}\n{schema}");
            }
            answered += 1;
            bytes += text.len();
        }
    }
    assert!(answered >= SCHEMAS * 9 / 5, "only {answered} answers ended");
    assert!(
        bytes > 30 * usize::try_from(answered).unwrap(),
        "{bytes} bytes are too few to mean anything"
    );
}

/// A schema with definitions, one of which may hold itself.
fn root(dice: &mut Dice) -> Value {
    let mut schema = match any(dice, 3) {
        Value::Object(schema) => schema,
        _ => Map::new(),
    };
    schema.insert("$defs".into(), json!({ "leaf": leaf(dice), "node": {
        "type": "object",
        "properties": { "value": any(dice, 0), "next": { "anyOf": [{ "$ref": "#/$defs/node" }, { "type": "null" }] } },
        "required": if dice.one_in(2) { json!(["value"]) } else { json!(["value", "next"]) },
        "additionalProperties": false
    }}));
    Value::Object(schema)
}

fn any(dice: &mut Dice, depth: usize) -> Value {
    if depth == 0 {
        return leaf(dice);
    }
    match dice.below(8) {
        0 => leaf(dice),
        1 => array(dice, depth),
        2 => json!({ "anyOf": [any(dice, depth - 1), any(dice, depth - 1), leaf(dice)] }),
        3 => json!({ "$ref": dice.pick(&["#/$defs/leaf", "#/$defs/node"]) }),
        4 => tuple(dice, depth),
        _ => object(dice, depth),
    }
}

fn leaf(dice: &mut Dice) -> Value {
    match dice.below(9) {
        0 => json!({ "type": "boolean" }),
        1 => json!({ "type": "null" }),
        2 => integer(dice),
        3 => number(dice),
        4 => json!({ "enum": ["red", "a \"b\"\n", 7, -3.5, null, true, ["x", 1], { "k": "v" }] }),
        5 => json!({ "const": dice.pick(&[json!("é中"), json!(12), json!({ "a": [1, {}] }), json!(false)]) }),
        6 => json!({ "type": ["string", "integer", "null"], "maxLength": 9 }),
        7 => {
            let pattern = dice.pick(&[
                "^[a-z]{2,5}$",
                "^(foo|bar)+$",
                "[0-9]{3}-[0-9]{4}",
                "^x",
                "^\\d+$",
                "^[^\"]{1,4}$",
            ]);
            json!({ "type": "string", "pattern": pattern })
        }
        _ => {
            let (least, more) = (dice.below(5), dice.below(8));
            json!({ "type": "string", "minLength": least, "maxLength": least + more })
        }
    }
}

fn integer(dice: &mut Dice) -> Value {
    let least = i64::try_from(dice.below(2_000)).unwrap() - 1_000;
    let most = least + i64::try_from(dice.below(500)).unwrap();
    match dice.below(5) {
        0 => json!({ "type": "integer" }),
        1 => json!({ "type": "integer", "minimum": least }),
        2 => json!({ "type": "integer", "exclusiveMaximum": most }),
        3 => json!({ "type": "integer", "multipleOf": 5, "minimum": 0, "maximum": 9_000 }),
        _ => json!({ "type": "integer", "minimum": least, "maximum": most }),
    }
}

fn number(dice: &mut Dice) -> Value {
    let least = f64::from(i32::try_from(dice.below(400)).unwrap() - 200) / 4.0;
    let most = least + 0.25 + f64::from(i32::try_from(dice.below(400)).unwrap()) / 4.0;
    match dice.below(4) {
        0 => json!({ "type": "number" }),
        1 => json!({ "type": "number", "minimum": least }),
        2 => json!({ "type": "number", "exclusiveMinimum": least, "exclusiveMaximum": most }),
        _ => json!({ "type": "number", "minimum": least, "maximum": most }),
    }
}

fn array(dice: &mut Dice, depth: usize) -> Value {
    let (least, more) = (dice.below(3), dice.below(4));
    let mut schema = json!({ "type": "array", "items": any(dice, depth - 1), "minItems": least });
    if dice.one_in(2) {
        schema["maxItems"] = json!(least + more);
    }
    schema
}

fn tuple(dice: &mut Dice, depth: usize) -> Value {
    let first = [any(dice, depth - 1), leaf(dice)];
    json!({ "type": "array", "prefixItems": first, "items": dice.pick(&[json!(false), json!({ "type": "integer" })]),
            "minItems": dice.below(3), "maxItems": 4 })
}

fn object(dice: &mut Dice, depth: usize) -> Value {
    let names = ["name", "age", "a \"quoted\" one", "tags", "中", "$ref"];
    let count = 1 + dice.below(names.len() - 1);
    let properties: Map<String, Value> = names[..count]
        .iter()
        .map(|name| ((*name).to_owned(), any(dice, depth - 1)))
        .collect();
    let required: Vec<&str> = names[..count].iter().copied().filter(|_| dice.below(3) > 0).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "required": required });
    match dice.below(4) {
        0 => schema["additionalProperties"] = leaf(dice),
        1 => {}
        _ => schema["additionalProperties"] = json!(false),
    }
    schema
}
