//! JSON as it leaves: one line, with the characters escaped that some clients take for the end of one.

use std::io;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use crate::api::error::ApiError;

/// Serialises to one line of JSON without raw U+2028, U+2029 or U+0085, on which line-splitting clients break (Python's
/// `str.splitlines`, so `httpx.iter_lines` and `ollama-python`).
///
/// # Errors
/// `Internal` if a `Serialize` implementation fails; those of this program's replies do not.
pub(crate) fn to_line(value: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    let mut line = Vec::with_capacity(256);
    value
        .serialize(&mut Serializer::with_formatter(&mut line, OneLine))
        .map_err(|error| {
            tracing::error!(%error, "could not write a reply as JSON");
            ApiError::Internal
        })?;
    Ok(line)
}

/// An object as a whole response.
///
/// # Errors
/// As [`to_line`].
pub(crate) fn json_response(object: &impl Serialize) -> Result<Response, ApiError> {
    let content_type = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(([content_type], Body::from(to_line(object)?)).into_response())
}

struct OneLine;

impl Formatter for OneLine {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut written = 0;
        for (at, found) in fragment.match_indices(['\u{85}', '\u{2028}', '\u{2029}']) {
            writer.write_all(&fragment.as_bytes()[written..at])?;
            let code = found.chars().next().map_or(0, u32::from);
            write!(writer, "\\u{code:04x}")?;
            written = at + found.len();
        }
        writer.write_all(&fragment.as_bytes()[written..])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn line_separators_are_escaped_and_nothing_else_changes() {
        let line = to_line(&"a\u{2028}b\u{2029}\u{85}你\n").unwrap();
        assert_eq!(String::from_utf8(line).unwrap(), r#""a\u2028b\u2029\u0085你\n""#);
    }

    proptest! {
        #[test]
        fn any_text_reads_back_the_same_and_stays_one_line(text in "\\PC*|[\u{0}-\u{ff}]*|[\u{2020}-\u{2030}]*") {
            let line = String::from_utf8(to_line(&text).unwrap()).unwrap();
            let is_one = !line.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']);
            prop_assert!(is_one, "{:?}", line);
            prop_assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        }
    }
}
