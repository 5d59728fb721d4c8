//! JSON of any shape that is kept whole, such as a schema: up to so many values and so deep.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::field::{Field, Shape};
use super::given::{Given, count_items, count_keys};

/// Values of one tree. What is larger costs no more memory than its bytes.
const VALUES_MAX: usize = 32 * 1024;
/// Lists and objects within each other.
const DEPTH_MAX: usize = 100;

/// A list, an object or a text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
    /// As it was sent.
    Whole(Value),
    /// Not kept.
    TooLarge,
}

impl Tree {
    /// What a client is told of [`Tree::TooLarge`].
    pub(crate) fn too_large() -> String {
        format!("more than {VALUES_MAX} values, or more than {DEPTH_MAX} levels deep")
    }
}

impl Field<Tree> {
    /// Whether the value asks for nothing: absent, `false`, or empty.
    pub(crate) fn is_neutral(&self) -> bool {
        match self {
            Field::Value(Tree::Whole(Value::Array(list))) => list.is_empty(),
            Field::Value(Tree::Whole(Value::Object(fields))) => fields.is_empty(),
            Field::Value(Tree::Whole(Value::String(text))) => text.is_empty(),
            Field::Value(_) => false,
            Field::Other(given) => given.is_neutral(),
        }
    }

    /// The value as it was sent, if it was kept; `true` and `false` are schemas too.
    pub(crate) fn into_value(self) -> Option<Value> {
        match self {
            Field::Value(Tree::Whole(value)) => Some(value),
            Field::Other(Given::Flag(flag)) => Some(Value::Bool(flag)),
            Field::Value(Tree::TooLarge) | Field::Other(_) => None,
        }
    }
}

impl<'de> Shape<'de> for Tree {
    fn from_list<A: SeqAccess<'de>>(list: A) -> Result<Field<Self>, A::Error> {
        let mut room = Room::default();
        let value = room.list(list, 1)?;
        Ok(Field::Value(room.tree(value)))
    }

    fn from_keys<A: MapAccess<'de>>(entries: A) -> Result<Field<Self>, A::Error> {
        let mut room = Room::default();
        let value = room.object(entries, 1)?;
        Ok(Field::Value(room.tree(value)))
    }

    fn from_text(text: String) -> Field<Self> {
        Field::Value(Tree::Whole(Value::String(text)))
    }
}

/// What a tree may still take.
struct Room {
    values: usize,
    is_full: bool,
}

impl Default for Room {
    fn default() -> Self {
        Room {
            values: VALUES_MAX,
            is_full: false,
        }
    }
}

impl Room {
    fn tree(self, value: Value) -> Tree {
        if self.is_full {
            Tree::TooLarge
        } else {
            Tree::Whole(value)
        }
    }

    /// Whether one more value fits at this depth.
    fn take(&mut self, depth: usize) -> bool {
        self.is_full |= self.values == 0 || depth > DEPTH_MAX;
        self.values = self.values.saturating_sub(1);
        !self.is_full
    }

    fn list<'de, A: SeqAccess<'de>>(&mut self, mut list: A, depth: usize) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while self.take(depth) {
            match list.next_element_seed(Node { room: self, depth })? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
        count_items(list)?;
        Ok(Value::Null)
    }

    fn object<'de, A: MapAccess<'de>>(&mut self, mut entries: A, depth: usize) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while self.take(depth) {
            let Some(name) = entries.next_key::<String>()? else {
                return Ok(Value::Object(fields));
            };
            fields.insert(name, entries.next_value_seed(Node { room: self, depth })?);
        }
        count_keys(entries)?;
        Ok(Value::Null)
    }
}

/// A value inside a tree.
struct Node<'r> {
    room: &'r mut Room,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        let number = Number::from_f64(number).ok_or_else(|| E::custom("a number that is not finite"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Value, A::Error> {
        self.room.list(list, self.depth + 1)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Value, A::Error> {
        self.room.object(entries, self.depth + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Tree {
        match serde_json::from_str::<Field<Tree>>(json).unwrap() {
            Field::Value(tree) => tree,
            Field::Other(given) => panic!("{given}"),
        }
    }

    #[test]
    fn a_tree_is_kept_as_it_is_with_its_keys_in_order() {
        for json in [r#"{"z":[1,-2,2.5,null,true,"x",{}],"a":{"b":[]}}"#, "[]", "\"text\""] {
            let Tree::Whole(value) = read(json) else {
                panic!("{json}")
            };
            assert_eq!(value.to_string(), json);
        }
    }

    #[test]
    fn a_tree_too_large_or_too_deep_is_read_past() {
        let list = |items: usize| format!("[{}]", vec!["1"; items].join(","));
        assert!(matches!(read(&list(VALUES_MAX - 1)), Tree::Whole(_)));
        assert_eq!(read(&list(VALUES_MAX)), Tree::TooLarge);
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(matches!(read(&deep(DEPTH_MAX)), Tree::Whole(_)));
        assert_eq!(read(&deep(DEPTH_MAX + 1)), Tree::TooLarge);
        assert_eq!(read(&format!("{{\"a\":{}}}", deep(120))), Tree::TooLarge);
    }
}
