//! One JSON value of any type, held flat: what a list or an object contains is counted, not kept.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess};

use super::field::{Field, Shape};

/// What a client gave for one field, before anyone has decided whether it is right.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Given {
    /// The field is not there.
    #[default]
    Absent,
    /// `null`, which means the same as not there wherever a field is optional.
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// A number without a fraction.
    Whole(i128),
    /// Any other number.
    Real(f64),
    /// A string.
    Text(String),
    /// An array of so many items.
    List(usize),
    /// An object of so many keys.
    Keys(usize),
}

impl Given {
    /// Whether the client left the field out, or said `null`.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Given::Absent | Given::Null)
    }

    /// Whether the value asks for nothing: absent, `false`, or empty.
    pub(crate) fn is_neutral(&self) -> bool {
        match self {
            Given::Absent | Given::Null | Given::Flag(false) | Given::List(0) | Given::Keys(0) => true,
            Given::Text(text) => text.is_empty(),
            _ => false,
        }
    }
}

/// The value as an error message names it, never longer than a short line.
impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Given::Absent => write!(f, "missing"),
            Given::Null => write!(f, "null"),
            Given::Flag(flag) => write!(f, "{flag}"),
            Given::Whole(number) => write!(f, "{number}"),
            Given::Real(number) => write!(f, "{number:?}"),
            Given::Text(text) => write!(f, "the text {}", shown(text)),
            Given::List(items) => write!(f, "a list of {items}"),
            Given::Keys(keys) => write!(f, "an object of {keys} keys"),
        }
    }
}

/// A client's text for an error message: quoted, escaped, cut after 40 characters.
pub(crate) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    match text.char_indices().nth(CHARS_MAX) {
        Some((cut, _)) => format!("{:?} (cut)", text.get(..cut).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Field::<Unshaped>::deserialize(deserializer)? {
            Field::Value(never) => match never {},
            Field::Other(given) => Ok(given),
        }
    }
}

/// The shape that no value has.
enum Unshaped {}

impl Shape<'_> for Unshaped {}

/// Counts what is left of a list.
pub(crate) fn count_items<'de, A: SeqAccess<'de>>(mut list: A) -> Result<usize, A::Error> {
    let mut count = 0;
    while list.next_element::<IgnoredAny>()?.is_some() {
        count += 1;
    }
    Ok(count)
}

/// Counts what is left of an object.
pub(crate) fn count_keys<'de, A: MapAccess<'de>>(mut entries: A) -> Result<usize, A::Error> {
    let mut count = 0;
    while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(json: &str) -> Given {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn every_kind_of_value_is_taken_and_named() {
        for (json, value, name) in [
            ("null", Given::Null, "null"),
            ("true", Given::Flag(true), "true"),
            ("-1", Given::Whole(-1), "-1"),
            (
                "18446744073709551615",
                Given::Whole(u64::MAX.into()),
                "18446744073709551615",
            ),
            ("1.5", Given::Real(1.5), "1.5"),
            ("1e308", Given::Real(1e308), "1e308"),
            ("\"5\"", Given::Text("5".into()), "the text \"5\""),
            ("[1,[2,3]]", Given::List(2), "a list of 2"),
            ("{\"a\":{\"b\":1}}", Given::Keys(1), "an object of 1 keys"),
        ] {
            assert_eq!(given(json), value);
            assert_eq!(given(json).to_string(), name);
        }
    }

    #[test]
    fn a_long_text_is_cut_and_escaped_where_it_is_shown() {
        let name = Given::Text("\u{202e}\n".repeat(10_000)).to_string();
        assert!(name.len() < 500, "{} bytes", name.len());
        assert!(name.is_ascii() && name.ends_with("(cut)"));
    }

    #[test]
    fn deep_nesting_is_an_error_or_skipped_but_never_a_crash() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let _ = serde_json::from_str::<Given>(&deep);
        let _ = serde_json::from_str::<Given>(&"[".repeat(100_000));
    }
}
