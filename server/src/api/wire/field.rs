//! A field that should have one shape and may have any: the only visitor of the wire types.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};

use super::Given;
use super::given::{count_items, count_keys};

/// What a client gave for a field whose right value is a `T`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Field<T> {
    /// The right shape; what is in it is still to be checked.
    Value(T),
    /// Any other, `Given::Absent` among it.
    Other(Given),
}

impl<T> Default for Field<T> {
    fn default() -> Self {
        Field::Other(Given::Absent)
    }
}

/// How to read a `T` from the JSON types that can be one. The rest stays a [`Given`].
pub(crate) trait Shape<'de>: Sized {
    /// From an array.
    fn from_list<A: SeqAccess<'de>>(list: A) -> Result<Field<Self>, A::Error> {
        count_items(list).map(|items| Field::Other(Given::List(items)))
    }

    /// From an object.
    fn from_keys<A: MapAccess<'de>>(entries: A) -> Result<Field<Self>, A::Error> {
        count_keys(entries).map(|keys| Field::Other(Given::Keys(keys)))
    }

    /// From a string.
    fn from_text(text: String) -> Field<Self> {
        Field::Other(Given::Text(text))
    }
}

impl<'de, T: Shape<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor(PhantomData))
    }
}

struct FieldVisitor<T>(PhantomData<T>);

impl<'de, T: Shape<'de>> Visitor<'de> for FieldVisitor<T> {
    type Value = Field<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Field<T>, E> {
        Ok(Field::Other(Given::Null))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Field<T>, E> {
        Ok(Field::Other(Given::Flag(flag)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Field<T>, E> {
        Ok(Field::Other(Given::Whole(number.into())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Field<T>, E> {
        Ok(Field::Other(Given::Whole(number.into())))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Field<T>, E> {
        Ok(Field::Other(Given::Real(number)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Field<T>, E> {
        Ok(T::from_text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Field<T>, A::Error> {
        T::from_list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Field<T>, A::Error> {
        T::from_keys(entries)
    }
}

/// An object with the fields of `T`. A list is not one: serde's derived structs would take it field by field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Shape<'de> for Object<T> {
    fn from_keys<A: MapAccess<'de>>(entries: A) -> Result<Field<Self>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(entries)).map(|object| Field::Value(Object(object)))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Point {
        x: Given,
    }

    #[test]
    fn an_object_is_read_and_every_other_type_is_kept_as_given() {
        let read = |json: &str| serde_json::from_str::<Field<Object<Point>>>(json).unwrap();
        assert_eq!(
            read(r#"{"x":1,"y":[2]}"#),
            Field::Value(Object(Point { x: Given::Whole(1) }))
        );
        assert_eq!(read("[1]"), Field::Other(Given::List(1)));
        assert_eq!(read("null"), Field::Other(Given::Null));
        assert_eq!(read("\"x\""), Field::Other(Given::Text("x".into())));
    }

    #[test]
    fn a_key_given_twice_is_an_error_that_names_it() {
        let error = serde_json::from_str::<Field<Object<Point>>>(r#"{"x":1,"x":2}"#).unwrap_err();
        assert!(error.to_string().contains("duplicate field `x`"), "{error}");
    }
}
