//! Refuses schemas that would cost too much before anything is made of them.
//!
//! The compiler walks a schema and what it refers to recursively, on the caller's stack, and multiplies it out where
//! schemas are combined. The bounds here keep its stack small; its own fuel bounds its time.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::ChatError;

/// Length of the schema as compact JSON.
const SCHEMA_BYTES_MAX: usize = 64 * 1024;
/// Lists and objects within each other.
const DEPTH_MAX: usize = 64;
/// The depths of everything referred to, together: how deep the compiler can get.
const REFERRED_DEPTH_MAX: usize = 512;
/// Length of one regular expression.
const PATTERN_BYTES_MAX: usize = 512;
/// Any larger whole number is not exact as a floating-point number, which the compiler makes of it.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// What was found in a schema on the way.
#[derive(Default)]
struct Found<'s> {
    deepest: usize,
    bytes: usize,
    references: BTreeMap<&'s str, usize>,
}

/// Whether the schema is within bounds.
pub(super) fn check(schema: &Value) -> Result<(), ChatError> {
    let mut found = Found::default();
    walk(schema, &mut found)?;
    let mut depth = found.deepest;
    for reference in found.references.keys() {
        let target = reference.strip_prefix('#').and_then(|path| {
            if path.is_empty() {
                Some(schema)
            } else {
                schema.pointer(path)
            }
        });
        let Some(target) = target else {
            return Err(bad(format!(
                "`$ref` is {:?}, only places in the schema that exist, such as `#/$defs/name`, can be referred to",
                shortened(reference)
            )));
        };
        let mut within = Found::default();
        walk(target, &mut within)?;
        depth += within.deepest;
    }
    if depth > REFERRED_DEPTH_MAX {
        return Err(bad(format!(
            "it and what it refers to are {depth} levels deep, at most {REFERRED_DEPTH_MAX} are allowed: make it flatter"
        )));
    }
    Ok(())
}

fn bad(reason: String) -> ChatError {
    ChatError::BadSchema(reason)
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Looks at every value of the schema, without recursion.
fn walk<'s>(schema: &'s Value, found: &mut Found<'s>) -> Result<(), ChatError> {
    let mut left = vec![(schema, 1)];
    while let Some((value, depth)) = left.pop() {
        found.deepest = found.deepest.max(depth);
        found.bytes += 2;
        if depth > DEPTH_MAX {
            return Err(bad(format!("it is more than {DEPTH_MAX} levels deep: make it flatter")));
        }
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    found.bytes += name.len() + 4;
                    field(name, value, found)?;
                    left.push((value, depth + 1));
                }
            }
            Value::Array(items) => left.extend(items.iter().map(|item| (item, depth + 1))),
            Value::String(text) => found.bytes += text.len(),
            Value::Number(number) => {
                let is_exact = number.is_f64() || number.as_f64().is_some_and(|whole| whole.abs() <= WHOLE_MAX);
                if !is_exact {
                    return Err(bad(format!(
                        "the number {number} is too large, whole numbers go up to 2^53"
                    )));
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
        if found.bytes > SCHEMA_BYTES_MAX {
            return Err(bad(format!(
                "it has more than {SCHEMA_BYTES_MAX} bytes: make it smaller"
            )));
        }
    }
    Ok(())
}

/// Looks at one field, which may be a keyword or a property that is called like one.
fn field<'s>(name: &str, value: &'s Value, found: &mut Found<'s>) -> Result<(), ChatError> {
    match (name, value) {
        ("$ref", Value::String(reference)) => {
            *found.references.entry(reference).or_default() += 1;
        }
        ("pattern", Value::String(pattern)) => check_pattern(pattern)?,
        ("patternProperties", Value::Object(patterns)) => {
            patterns.keys().try_for_each(|pattern| check_pattern(pattern))?;
        }
        _ => {}
    }
    Ok(())
}

fn check_pattern(pattern: &str) -> Result<(), ChatError> {
    if pattern.len() > PATTERN_BYTES_MAX {
        let bytes = pattern.len();
        return Err(bad(format!(
            "a pattern has {bytes} bytes, at most {PATTERN_BYTES_MAX} are allowed"
        )));
    }
    Ok(())
}
