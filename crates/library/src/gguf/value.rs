//! One metadata value: plain, or an array held in its own width.

use super::cursor::Cursor;
use super::error::{Problem, Quoted};
use super::limits::{ARRAY_ELEMENTS_MAX, TEXT_BYTES_MAX};

/// A metadata value. Integers and floats of any width are held in the widest.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// u8, u16, u32 or u64.
    Unsigned(u64),
    /// i8, i16, i32 or i64.
    Signed(i64),
    /// f32 or f64.
    Float(f64),
    /// A boolean.
    Flag(bool),
    /// A text.
    Text(String),
    /// Many values of one type.
    Array(Array),
}

/// The elements of an array, as wide in memory as in the file.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are the element types")]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Flags(Vec<bool>),
    Texts(Vec<String>),
}

impl Value {
    /// An integer that is not negative.
    pub fn as_unsigned(&self) -> Option<u64> {
        match self {
            Value::Unsigned(value) => Some(*value),
            Value::Signed(value) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// A finite float that f32 can hold.
    pub fn as_float(&self) -> Option<f32> {
        let Value::Float(value) = self else {
            return None;
        };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "rounds; what does not fit becomes infinite and is refused"
        )]
        let value = *value as f32;
        value.is_finite().then_some(value)
    }

    /// A boolean.
    pub fn as_flag(&self) -> Option<bool> {
        if let Value::Flag(value) = self {
            Some(*value)
        } else {
            None
        }
    }

    /// A text.
    pub fn as_text(&self) -> Option<&str> {
        if let Value::Text(value) = self {
            Some(value)
        } else {
            None
        }
    }

    /// An array of texts.
    pub fn as_texts(&self) -> Option<&[String]> {
        if let Value::Array(Array::Texts(values)) = self {
            Some(values)
        } else {
            None
        }
    }

    /// An array of integers, none negative.
    pub fn as_unsigneds(&self) -> Option<Vec<u64>> {
        let Value::Array(array) = self else {
            return None;
        };
        array.unsigneds()
    }

    /// What kind of value this is, for messages: never the value itself, which may be megabytes.
    pub fn kind(&self) -> String {
        match self {
            Value::Unsigned(_) => "an unsigned integer".into(),
            Value::Signed(value) if *value < 0 => "a negative integer".into(),
            Value::Signed(_) => "a signed integer".into(),
            Value::Float(value) if value.is_finite() => "a float".into(),
            Value::Float(_) => "a float that is not finite".into(),
            Value::Flag(_) => "a boolean".into(),
            Value::Text(_) => "a text".into(),
            Value::Array(array) => format!("an array of {} {}", array.len(), array.element()),
        }
    }

    /// Reads the value of `key`: its type, then what the type says.
    pub(super) fn read(cursor: &mut Cursor<'_>, key: &str) -> Result<Value, Problem> {
        const WHAT: &str = "a metadata value";
        Ok(match cursor.u32("the type of a metadata value")? {
            U8 => Value::Unsigned(u8::from_le_bytes(cursor.array(WHAT)?).into()),
            I8 => Value::Signed(i8::from_le_bytes(cursor.array(WHAT)?).into()),
            U16 => Value::Unsigned(u16::from_le_bytes(cursor.array(WHAT)?).into()),
            I16 => Value::Signed(i16::from_le_bytes(cursor.array(WHAT)?).into()),
            U32 => Value::Unsigned(cursor.u32(WHAT)?.into()),
            I32 => Value::Signed(i32::from_le_bytes(cursor.array(WHAT)?).into()),
            F32 => Value::Float(f32::from_le_bytes(cursor.array(WHAT)?).into()),
            BOOL => Value::Flag(flag(cursor, key)?),
            TEXT => Value::Text(text(cursor)?),
            ARRAY => Value::Array(Array::read(cursor, key)?),
            U64 => Value::Unsigned(cursor.u64(WHAT)?),
            I64 => Value::Signed(i64::from_le_bytes(cursor.array(WHAT)?)),
            F64 => Value::Float(f64::from_le_bytes(cursor.array(WHAT)?)),
            code => {
                return Err(Problem::ValueType {
                    key: Quoted::new(key),
                    code,
                });
            }
        })
    }
}

const U8: u32 = 0;
const I8: u32 = 1;
const U16: u32 = 2;
const I16: u32 = 3;
const U32: u32 = 4;
const I32: u32 = 5;
const F32: u32 = 6;
const BOOL: u32 = 7;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;
const U64: u32 = 10;
const I64: u32 = 11;
const F64: u32 = 12;

impl Array {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        match self {
            Array::U8(values) => values.len(),
            Array::I8(values) => values.len(),
            Array::U16(values) => values.len(),
            Array::I16(values) => values.len(),
            Array::U32(values) => values.len(),
            Array::I32(values) => values.len(),
            Array::U64(values) => values.len(),
            Array::I64(values) => values.len(),
            Array::F32(values) => values.len(),
            Array::F64(values) => values.len(),
            Array::Flags(values) => values.len(),
            Array::Texts(values) => values.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn element(&self) -> &'static str {
        match self {
            Array::U8(_) | Array::U16(_) | Array::U32(_) | Array::U64(_) => "unsigned integers",
            Array::I8(_) | Array::I16(_) | Array::I32(_) | Array::I64(_) => "signed integers",
            Array::F32(_) | Array::F64(_) => "floats",
            Array::Flags(_) => "booleans",
            Array::Texts(_) => "texts",
        }
    }

    fn unsigneds(&self) -> Option<Vec<u64>> {
        fn widened<T: Copy + TryInto<u64>>(values: &[T]) -> Option<Vec<u64>> {
            values.iter().map(|value| (*value).try_into().ok()).collect()
        }
        match self {
            Array::U8(values) => widened(values),
            Array::I8(values) => widened(values),
            Array::U16(values) => widened(values),
            Array::I16(values) => widened(values),
            Array::U32(values) => widened(values),
            Array::I32(values) => widened(values),
            Array::U64(values) => widened(values),
            Array::I64(values) => widened(values),
            Array::F32(_) | Array::F64(_) | Array::Flags(_) | Array::Texts(_) => None,
        }
    }

    fn read(cursor: &mut Cursor<'_>, key: &str) -> Result<Array, Problem> {
        const WHAT: &str = "an element of a metadata array";
        let code = cursor.u32("the element type of a metadata array")?;
        let elements = cursor.u64("the length of a metadata array")?;
        let element_bytes = match code {
            U8 | I8 | BOOL => 1,
            U16 | I16 => 2,
            U32 | I32 | F32 => 4,
            U64 | I64 | F64 => 8,
            TEXT => 8, // The length of an empty one.
            ARRAY => {
                return Err(Problem::NestedArray { key: Quoted::new(key) });
            }
            code => {
                return Err(Problem::ValueType {
                    key: Quoted::new(key),
                    code,
                });
            }
        };
        cursor.limit("elements in a metadata array", elements, ARRAY_ELEMENTS_MAX)?;
        cursor.require("a metadata array", elements.saturating_mul(element_bytes))?;
        Ok(match code {
            U8 => Array::U8(list(elements, || Ok(u8::from_le_bytes(cursor.array(WHAT)?)))?),
            I8 => Array::I8(list(elements, || Ok(i8::from_le_bytes(cursor.array(WHAT)?)))?),
            U16 => Array::U16(list(elements, || Ok(u16::from_le_bytes(cursor.array(WHAT)?)))?),
            I16 => Array::I16(list(elements, || Ok(i16::from_le_bytes(cursor.array(WHAT)?)))?),
            U32 => Array::U32(list(elements, || cursor.u32(WHAT))?),
            I32 => Array::I32(list(elements, || Ok(i32::from_le_bytes(cursor.array(WHAT)?)))?),
            U64 => Array::U64(list(elements, || cursor.u64(WHAT))?),
            I64 => Array::I64(list(elements, || Ok(i64::from_le_bytes(cursor.array(WHAT)?)))?),
            F32 => Array::F32(list(elements, || Ok(f32::from_le_bytes(cursor.array(WHAT)?)))?),
            F64 => Array::F64(list(elements, || Ok(f64::from_le_bytes(cursor.array(WHAT)?)))?),
            BOOL => Array::Flags(list(elements, || flag(cursor, key))?),
            _ => Array::Texts(list(elements, || text(cursor))?),
        })
    }
}

/// Reads `elements` values, a count the caller has checked.
fn list<T>(elements: u64, mut read: impl FnMut() -> Result<T, Problem>) -> Result<Vec<T>, Problem> {
    let mut values = Vec::with_capacity(usize::try_from(elements).unwrap_or(0));
    for _ in 0..elements {
        values.push(read()?);
    }
    Ok(values)
}

fn flag(cursor: &mut Cursor<'_>, key: &str) -> Result<bool, Problem> {
    match cursor.array("a boolean")? {
        [0] => Ok(false),
        [1] => Ok(true),
        [byte] => Err(Problem::Boolean {
            key: Quoted::new(key),
            byte,
        }),
    }
}

fn text(cursor: &mut Cursor<'_>) -> Result<String, Problem> {
    cursor.text("a metadata text", "bytes in a metadata text", TEXT_BYTES_MAX)
}
