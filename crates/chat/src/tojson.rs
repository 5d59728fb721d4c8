//! A template's values as JSON, the way Python's `json.dumps` writes it, which models were trained on.
//!
//! A template can build values that are small in memory and endless when walked, or nested without measure. So what one
//! render may write in all is bounded, and so is the depth.

use std::sync::atomic::{AtomicUsize, Ordering};

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind};

const DEPTH_MAX: usize = 100;
/// Python allows more; nobody reads it.
const INDENT_MAX: usize = 8;

/// Writes `value`, taking what it writes off `bytes_left`.
pub(crate) fn to_json(value: &Value, options: &Kwargs, bytes_left: &AtomicUsize) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    // Where Python asks whether to escape beyond ASCII and which separators to use, what templates say is the default.
    for known in ["ensure_ascii", "separators", "sort_keys"] {
        let _: Option<Value> = options.get(known)?;
    }
    options.assert_all_used()?;
    let mut writer = Writer {
        out: String::new(),
        indent: indent.map(|indent| indent.min(INDENT_MAX)),
        bytes_left,
    };
    writer.value(value, 0)?;
    Ok(writer.out)
}

struct Writer<'b> {
    out: String,
    indent: Option<usize>,
    bytes_left: &'b AtomicUsize,
}

impl Writer<'_> {
    fn push(&mut self, text: &str) -> Result<(), Error> {
        let take = |left: usize| left.checked_sub(text.len());
        if self
            .bytes_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_err()
        {
            return Err(refused("it writes more JSON than these messages need"));
        }
        self.out.push_str(text);
        Ok(())
    }

    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > DEPTH_MAX {
            return Err(refused("a value to write as JSON is nested too deeply"));
        }
        match value.kind() {
            ValueKind::None => self.push("null"),
            ValueKind::Bool => self.push(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.push(&value.to_string()),
            ValueKind::String => self.text(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                let mut first = true;
                self.push("[")?;
                for item in value.try_iter()? {
                    self.next(&mut first, depth)?;
                    self.value(&item, depth + 1)?;
                }
                self.end(first, depth, "]")
            }
            ValueKind::Map => {
                let mut first = true;
                self.push("{")?;
                for key in value.try_iter()? {
                    self.next(&mut first, depth)?;
                    self.text(key.as_str().ok_or_else(|| refused("a key of a map is not a text"))?)?;
                    self.push(": ")?;
                    self.value(&value.get_item(&key)?, depth + 1)?;
                }
                self.end(first, depth, "}")
            }
            _ => Err(refused("only texts, numbers, lists and maps can be written as JSON")),
        }
    }

    fn text(&mut self, text: &str) -> Result<(), Error> {
        let quoted = serde_json::Value::from(text).to_string();
        self.push(&quoted)
    }

    /// What stands before an item.
    fn next(&mut self, first: &mut bool, depth: usize) -> Result<(), Error> {
        let begins = std::mem::take(first);
        match self.indent {
            Some(_) => {
                self.push(if begins { "\n" } else { ",\n" })?;
                self.margin(depth + 1)
            }
            None if begins => Ok(()),
            None => self.push(", "),
        }
    }

    /// What stands after the last item.
    fn end(&mut self, empty: bool, depth: usize, bracket: &str) -> Result<(), Error> {
        if self.indent.is_some() && !empty {
            self.push("\n")?;
            self.margin(depth)?;
        }
        self.push(bracket)
    }

    fn margin(&mut self, depth: usize) -> Result<(), Error> {
        self.push(&" ".repeat(depth * self.indent.unwrap_or_default()))
    }
}

fn refused(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}
