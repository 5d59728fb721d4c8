//! Parameters and whole models as the texts that Ollama's clients show and parse, which are Go's way of writing values.

use std::fmt::Write as _;

use library::store::StoredModel;
use serde_json::{Map, Value};

/// Columns that a parameter's name is given.
const NAME_COLUMNS: usize = 30;
/// The first power of ten that Go writes with an exponent.
const EXPONENT_FROM: i32 = 6;
/// The last one below one that it writes without.
const EXPONENT_BELOW: i32 = -4;

/// `stop                           "<end>"`, one value to a line.
pub(crate) fn parameters(parameters: &Map<String, Value>) -> String {
    let lines = rows(parameters).map(|(name, value)| format!("{name:<NAME_COLUMNS$} {}", syntax(value)));
    lines.collect::<Vec<_>>().join("\n")
}

/// A Modelfile that makes the same model again.
pub(crate) fn modelfile(name: &str, stored: Option<&StoredModel>) -> String {
    // The name, not the file's place on the disk: it is what a client can use.
    let mut file = format!("# The model {name} as a Modelfile.\nFROM {name}\n");
    let Some(stored) = stored else { return file };
    let mut line = |command: &str, value: &str| {
        let _ = writeln!(file, "{command} {}", quoted(value));
    };
    if let Some((_, template)) = &stored.template {
        line("TEMPLATE", template);
    }
    if let Some(system) = &stored.system {
        line("SYSTEM", system);
    }
    for (name, value) in rows(&stored.parameters) {
        line(&format!("PARAMETER {name}"), &plain(value));
    }
    for license in &stored.licenses {
        line("LICENSE", license);
    }
    for message in &stored.messages {
        line(&format!("MESSAGE {}", message.role), &message.content);
    }
    file
}

/// Names and values; a list has one row for each of its values.
fn rows(parameters: &Map<String, Value>) -> impl Iterator<Item = (&str, &Value)> {
    parameters.iter().flat_map(|(name, value)| {
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        values.iter().map(move |value| (name.as_str(), value))
    })
}

/// A Modelfile's value, in quotes where it must be.
fn quoted(value: &str) -> String {
    let is_plain = !value.contains('\n') && !value.starts_with(' ') && !value.ends_with(' ');
    match (is_plain, value.contains('"')) {
        (true, _) => value.to_owned(),
        (false, true) => format!("\"\"\"{value}\"\"\""),
        (false, false) => format!("\"{value}\""),
    }
}

/// As Go prints a value.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => syntax(other),
    }
}

/// As Go would have a value in its source.
fn syntax(value: &Value) -> String {
    match value {
        Value::String(text) => literal(text),
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), float),
        other => other.to_string(),
    }
}

/// The shortest digits that read back the same, with an exponent where the number is large or small.
fn float(number: f64) -> String {
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    match exponent.parse::<i32>() {
        Ok(exponent) if (EXPONENT_BELOW..EXPONENT_FROM).contains(&exponent) => number.to_string(),
        Ok(exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
        Err(_) => scientific,
    }
}

/// A text in double quotes.
fn literal(text: &str) -> String {
    let mut literal = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => literal.push_str("\\\""),
            '\\' => literal.push_str("\\\\"),
            '\u{7}' => literal.push_str("\\a"),
            '\u{8}' => literal.push_str("\\b"),
            '\u{c}' => literal.push_str("\\f"),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            '\u{b}' => literal.push_str("\\v"),
            c if c.is_ascii_control() => {
                let _ = write!(literal, "\\x{:02x}", u32::from(c));
            }
            c if c.is_control() || (c.is_whitespace() && c != ' ') => {
                let _ = write!(literal, "\\u{:04x}", u32::from(c));
            }
            c => literal.push(c),
        }
    }
    literal.push('"');
    literal
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_are_lines_of_a_name_and_a_value_as_go_writes_them() {
        let check = |value: Value, expected: &str| {
            let given = Map::from_iter([("x".to_owned(), value)]);
            let expected: Vec<String> = expected.lines().map(|line| format!("{:<30} {line}", "x")).collect();
            assert_eq!(parameters(&given), expected.join("\n"));
        };
        check(json!("<｜User｜>"), "\"<｜User｜>\"");
        check(json!("a\"b\\c\n\u{1b}\u{a0}"), r#""a\"b\\c\n\x1b\u00a0""#);
        check(json!(["a", "b"]), "\"a\"\n\"b\"");
        check(json!(0.6), "0.6");
        check(json!(40), "40");
        check(json!(1.0), "1");
        check(json!(-1), "-1");
        check(json!(131_072), "131072");
        check(json!(1_000_000), "1e+06");
        check(json!(2_097_152), "2.097152e+06");
        check(json!(0.0001), "0.0001");
        check(json!(0.00001), "1e-05");
        check(json!(true), "true");
        check(json!([]), "");
    }

    #[test]
    fn a_modelfiles_value_has_quotes_only_where_it_needs_them() {
        for (value, expected) in [
            ("plain text", "plain text"),
            ("two\nlines", "\"two\nlines\""),
            (" ahead", "\" ahead\""),
            ("say \"x\"\nthen", "\"\"\"say \"x\"\nthen\"\"\""),
            ("say \"x\"", "say \"x\""),
        ] {
            assert_eq!(quoted(value), expected);
        }
    }
}
