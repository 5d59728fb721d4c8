//! What a file says about its model: keys and values, each key once, and getters that explain a missing or odd one.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use super::cursor::Cursor;
use super::error::{GgufError, Problem, Quoted};
use super::limits::KEY_BYTES_MAX;
use super::value::Value;

/// The metadata of one file. Every getter's error names the file, the key and the type found.
pub struct Metadata {
    file: String,
    values: BTreeMap<String, Value>,
}

impl Metadata {
    /// The value of `key`, of whatever type.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// All entries, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// A required integer that is not negative.
    pub fn unsigned(&self, key: &str) -> Result<u64, GgufError> {
        self.required(key, UNSIGNED, Value::as_unsigned)
    }

    /// A required finite float.
    pub fn float(&self, key: &str) -> Result<f32, GgufError> {
        self.required(key, FLOAT, Value::as_float)
    }

    /// A required boolean.
    pub fn flag(&self, key: &str) -> Result<bool, GgufError> {
        self.required(key, FLAG, Value::as_flag)
    }

    /// A required text.
    pub fn text(&self, key: &str) -> Result<&str, GgufError> {
        self.required(key, TEXT, Value::as_text)
    }

    /// A required array of texts.
    pub fn texts(&self, key: &str) -> Result<&[String], GgufError> {
        self.required(key, TEXTS, Value::as_texts)
    }

    /// A required array of integers, none negative.
    pub fn unsigneds(&self, key: &str) -> Result<Vec<u64>, GgufError> {
        self.required(key, UNSIGNEDS, Value::as_unsigneds)
    }

    /// An integer that is not negative, or `default` where the file says nothing.
    pub fn unsigned_or(&self, key: &str, default: u64) -> Result<u64, GgufError> {
        Ok(self.optional(key, UNSIGNED, Value::as_unsigned)?.unwrap_or(default))
    }

    /// A finite float, or `default` where the file says nothing.
    pub fn float_or(&self, key: &str, default: f32) -> Result<f32, GgufError> {
        Ok(self.optional(key, FLOAT, Value::as_float)?.unwrap_or(default))
    }

    /// A boolean, or `default` where the file says nothing.
    pub fn flag_or(&self, key: &str, default: bool) -> Result<bool, GgufError> {
        Ok(self.optional(key, FLAG, Value::as_flag)?.unwrap_or(default))
    }

    /// A text, if there is one.
    pub fn opt_text(&self, key: &str) -> Result<Option<&str>, GgufError> {
        self.optional(key, TEXT, Value::as_text)
    }

    /// An array of texts, if there is one.
    pub fn opt_texts(&self, key: &str) -> Result<Option<&[String]>, GgufError> {
        self.optional(key, TEXTS, Value::as_texts)
    }

    /// An array of integers, none negative, if there is one.
    pub fn opt_unsigneds(&self, key: &str) -> Result<Option<Vec<u64>>, GgufError> {
        self.optional(key, UNSIGNEDS, Value::as_unsigneds)
    }

    /// Reads `entries` entries, a count the caller has checked.
    pub(super) fn read(cursor: &mut Cursor<'_>, entries: u64, file: &str) -> Result<Metadata, Problem> {
        let mut values = BTreeMap::new();
        for _ in 0..entries {
            let key = cursor.name("a metadata key", "bytes in a metadata key", KEY_BYTES_MAX)?;
            let value = Value::read(cursor, &key)?;
            match values.entry(key) {
                Entry::Vacant(free) => free.insert(value),
                Entry::Occupied(taken) => {
                    return Err(Problem::DuplicateKey {
                        key: Quoted::new(taken.key()),
                    });
                }
            };
        }
        Ok(Metadata {
            file: file.to_owned(),
            values,
        })
    }

    /// `problem`, told of this file.
    pub(super) fn refuse(&self, problem: Problem) -> GgufError {
        GgufError::new(&self.file, problem)
    }

    fn required<'a, T>(
        &'a self,
        key: &str,
        wanted: &'static str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<T, GgufError> {
        self.optional(key, wanted, convert)?
            .ok_or_else(|| self.refuse(Problem::MissingKey { key: Quoted::new(key) }))
    }

    fn optional<'a, T>(
        &'a self,
        key: &str,
        wanted: &'static str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        let Some(value) = self.values.get(key) else {
            return Ok(None);
        };
        let wrong = || Problem::WrongType {
            key: Quoted::new(key),
            found: value.kind(),
            wanted,
        };
        convert(value).map(Some).ok_or_else(|| self.refuse(wrong()))
    }
}

/// How much there is, not what: the values may be megabytes.
impl fmt::Debug for Metadata {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Metadata")
            .field("entries", &self.values.len())
            .finish_non_exhaustive()
    }
}

const UNSIGNED: &str = "an integer that is not negative";
const FLOAT: &str = "a finite float";
const FLAG: &str = "a boolean";
const TEXT: &str = "a text";
const TEXTS: &str = "an array of texts";
const UNSIGNEDS: &str = "an array of integers that are not negative";
