//! Objects without further properties, where a schema does not say whether there may be any.
//!
//! JSON Schema allows them then, but who lists properties means these: with more, a model may go on inventing keys until
//! its tokens end. Closing an object only narrows what may come, so the answer is valid by the schema as it was written.

use serde_json::{Map, Value, json};

type Schema = Map<String, Value>;

/// Under these stands a schema, or a list of them.
const PLAIN: [&str; 7] = [
    "items",
    "additionalItems",
    "prefixItems",
    "additionalProperties",
    "anyOf",
    "oneOf",
    "allOf",
];
/// A schema for each name.
const NAMED: [&str; 4] = ["properties", "patternProperties", "$defs", "definitions"];
/// Elsewhere there may be more of the same object's properties.
const ELSEWHERE: [&str; 4] = ["$ref", "anyOf", "oneOf", "allOf"];
/// What says already which properties there may be, or asks for more than are listed.
const SAID: [&str; 5] = [
    "additionalProperties",
    "unevaluatedProperties",
    "patternProperties",
    "propertyNames",
    "minProperties",
];

/// The schema with every object closed that lists its properties; none where somewhere in it an object's properties are
/// put together from several places, as a closed one would forbid what the others ask for.
pub(super) fn closed(mut schema: Schema) -> Schema {
    if !schema_parts(&schema).any(combines) {
        visit(&mut schema, &mut |part| {
            if is_closable(part) {
                part.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
        });
    }
    schema
}

/// Whether only one of several may hold somewhere: closed ones exclude each other that overlap as they were written, so
/// these must be good before they are closed.
pub(super) fn has_one_of(schema: &Schema) -> bool {
    schema_parts(schema).any(|part| part.contains_key("oneOf"))
}

/// Takes out what asks for nothing, which generators write all the same and the parser does not know.
pub(super) fn drop_idle(schema: &mut Schema) {
    visit(schema, &mut |part| {
        part.retain(|keyword, value| match keyword.as_str() {
            "propertyNames" => !(*value == json!(true) || *value == json!({}) || *value == json!({"type": "string"})),
            "uniqueItems" => *value != json!(false),
            _ => true,
        });
    });
}

/// All objects in the schema, whatever they are: a reference may lead to any of them.
fn schema_parts(schema: &Schema) -> impl Iterator<Item = &Schema> {
    let mut left: Vec<&Value> = Vec::new();
    let mut next = Some(schema);
    std::iter::from_fn(move || {
        let part = next.take().or_else(|| {
            loop {
                match left.pop()? {
                    Value::Object(part) => return Some(part),
                    Value::Array(list) => left.extend(list),
                    _ => {}
                }
            }
        })?;
        left.extend(part.values());
        Some(part)
    })
}

/// Shows `look` the schema and all in it.
fn visit(schema: &mut Schema, look: &mut impl FnMut(&mut Schema)) {
    look(schema);
    for (keyword, value) in schema {
        match value {
            Value::Object(named) if NAMED.contains(&keyword.as_str()) => {
                let parts = named.values_mut().filter_map(Value::as_object_mut);
                parts.for_each(|part| visit(part, look));
            }
            Value::Object(part) if PLAIN.contains(&keyword.as_str()) => visit(part, look),
            Value::Array(list) if PLAIN.contains(&keyword.as_str()) => {
                let parts = list.iter_mut().filter_map(Value::as_object_mut);
                parts.for_each(|part| visit(part, look));
            }
            _ => {}
        }
    }
}

/// Whether the properties of one object are in several places.
fn combines(schema: &Schema) -> bool {
    let lists_own = schema.contains_key("properties") || schema.contains_key("required");
    let elsewhere = ELSEWHERE
        .iter()
        .filter(|keyword| schema.contains_key(**keyword))
        .count();
    let all = schema.get("allOf").and_then(Value::as_array).map_or(0, Vec::len);
    all > 1 || elsewhere + usize::from(lists_own) > 1
}

/// Whether it lists all properties that it asks for, and does not say whether there may be others.
fn is_closable(schema: &Schema) -> bool {
    let Some(Value::Object(properties)) = schema.get("properties") else {
        return false;
    };
    let required = schema.get("required").and_then(Value::as_array).map(Vec::as_slice);
    let is_listed = |name: &Value| name.as_str().is_some_and(|name| properties.contains_key(name));
    required.unwrap_or_default().iter().all(is_listed) && !SAID.iter().any(|keyword| schema.contains_key(*keyword))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schema: Value, expected: &Value) {
        let Value::Object(schema) = schema else {
            panic!("an object")
        };
        assert_eq!(Value::Object(closed(schema)), *expected);
    }

    #[test]
    fn objects_that_list_their_properties_have_no_others() {
        check(
            json!({"properties": {"a": {"items": {"properties": {"properties": {"type": "integer"}}}}},
                "$defs": {"b": {"properties": {}}}, "required": ["a"]}),
            &json!({"properties": {"a": {"items": {"properties": {"properties": {"type": "integer"}},
                "additionalProperties": false}}}, "$defs": {"b": {"properties": {}, "additionalProperties": false}},
                "required": ["a"], "additionalProperties": false}),
        );
        check(
            json!({"anyOf": [{"properties": {"a": {}}}, {"$ref": "#/$defs/b"}], "description": "one or the other"}),
            &json!({"anyOf": [{"properties": {"a": {}}, "additionalProperties": false}, {"$ref": "#/$defs/b"}],
                "description": "one or the other"}),
        );
    }

    #[test]
    fn what_asks_for_nothing_is_taken_out() {
        let Value::Object(mut schema) = json!({"additionalProperties": {"uniqueItems": false, "items": {}},
            "propertyNames": {"type": "string"}, "properties": {"uniqueItems": {"uniqueItems": true}}})
        else {
            panic!("an object")
        };
        drop_idle(&mut schema);
        let expected = json!({"additionalProperties": {"items": {}},
            "properties": {"uniqueItems": {"uniqueItems": true}}});
        assert_eq!(Value::Object(schema), expected);
    }

    #[test]
    fn what_was_said_stands_and_what_is_combined_is_left_alone() {
        for same in [
            json!({"type": "object"}),
            json!({"properties": {"a": {}}, "additionalProperties": true}),
            json!({"properties": {"a": {}}, "patternProperties": {"^x": {}}}),
            json!({"properties": {"a": {}}, "minProperties": 2}),
            json!({"properties": {"a": {}}, "required": ["a", "b"]}),
            json!({"properties": {"a": {}}, "required": ["a", 7]}),
            json!({"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]}),
            json!({"properties": {"a": {}}, "anyOf": [{"properties": {"b": {}}}, {}]}),
            json!({"$defs": {"base": {"properties": {"a": {}}}},
                "properties": {"x": {"$ref": "#/$defs/base", "properties": {"b": {}}}}}),
            json!({"additionalProperties": {"allOf": [{"$ref": "#/$defs/base"}, {"properties": {"b": {}}}]},
                "$defs": {"base": {"properties": {"a": {}}}}}),
            json!({"const": {"properties": {"a": {}}}, "enum": [{"properties": {}}]}),
            json!({"properties": 7, "items": [7, "x"], "allOf": 3}),
        ] {
            check(same.clone(), &same);
        }
    }
}
