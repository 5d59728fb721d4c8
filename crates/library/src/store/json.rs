//! JSON byte for byte as Ollama writes it, so that equal content has an equal digest in both.

use serde::Serialize;

use super::error::StoreError;

/// Without spaces, and with the few characters escaped that Go escapes inside texts.
pub(super) fn compact(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let text = serde_json::to_string(value).map_err(|error| StoreError::Source { cause: error.into() })?;
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // Outside of texts JSON has none of them.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => escaped.push(c),
        }
    }
    Ok(escaped.into_bytes())
}

/// The same with the line feed that ends a file of its own.
pub(super) fn line(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let mut text = compact(value)?;
    text.push(b'\n');
    Ok(text)
}
