//! Arrays and free-keyed objects: counted to their end, kept only up to a ceiling.

use serde::de::{Deserialize, MapAccess, SeqAccess};

use super::field::{Field, Shape};
use super::given::{Given, count_items, count_keys};

/// Items kept of any one list. A limit set higher than this acts as this number: it is what keeps a body of 2 MiB of
/// `[{},{},...` from becoming a hundred times its size.
pub(crate) const LIST_CEILING: usize = 4096;

/// An array whose first [`LIST_CEILING`] items are kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct List<T> {
    /// The items kept, in order.
    pub(crate) items: Vec<T>,
    /// How many items the client sent.
    pub(crate) sent: usize,
}

impl<'de, T: Deserialize<'de>> Shape<'de> for List<T> {
    fn from_list<A: SeqAccess<'de>>(mut list: A) -> Result<Field<Self>, A::Error> {
        let mut items = Vec::new();
        while items.len() < LIST_CEILING {
            match list.next_element()? {
                Some(item) => items.push(item),
                None => {
                    return Ok(Field::Value(List {
                        sent: items.len(),
                        items,
                    }));
                }
            }
        }
        let sent = items.len() + count_items(list)?;
        Ok(Field::Value(List { items, sent }))
    }
}

/// The entries of an object with free keys, such as `logit_bias`: the first [`LIST_CEILING`] of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entries {
    /// The entries kept, in the order sent; a key may come twice.
    pub(crate) items: Vec<(String, Given)>,
    /// How many entries the client sent.
    pub(crate) sent: usize,
}

impl<'de> Shape<'de> for Entries {
    fn from_keys<A: MapAccess<'de>>(mut entries: A) -> Result<Field<Self>, A::Error> {
        let mut items = Vec::new();
        while items.len() < LIST_CEILING {
            match entries.next_entry()? {
                Some(entry) => items.push(entry),
                None => {
                    return Ok(Field::Value(Entries {
                        sent: items.len(),
                        items,
                    }));
                }
            }
        }
        let sent = items.len() + count_keys(entries)?;
        Ok(Field::Value(Entries { items, sent }))
    }
}

/// One string or a list of them, as `stop` is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum OneOrMany {
    /// `"stop": "x"`
    One(String),
    /// `"stop": ["x", "y"]`
    Many(List<Given>),
}

impl<'de> Shape<'de> for OneOrMany {
    fn from_text(text: String) -> Field<Self> {
        Field::Value(OneOrMany::One(text))
    }

    fn from_list<A: SeqAccess<'de>>(list: A) -> Result<Field<Self>, A::Error> {
        Ok(match List::from_list(list)? {
            Field::Value(list) => Field::Value(OneOrMany::Many(list)),
            Field::Other(given) => Field::Other(given),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_counted_to_its_end_and_kept_to_the_ceiling() {
        for sent in [0, 1, LIST_CEILING - 1, LIST_CEILING, LIST_CEILING + 1, 1_000_000] {
            let json = format!("[{}]", vec!["1"; sent].join(","));
            let Field::Value(list) = serde_json::from_str::<Field<List<Given>>>(&json).unwrap() else {
                panic!()
            };
            assert_eq!((list.items.len(), list.sent), (sent.min(LIST_CEILING), sent));
        }
    }

    #[test]
    fn entries_are_counted_to_their_end_and_kept_to_the_ceiling() {
        for sent in [0, 1, LIST_CEILING, LIST_CEILING + 1, 100_000] {
            let json = format!("{{{}}}", vec!["\"7\":1"; sent].join(","));
            let Field::Value(entries) = serde_json::from_str::<Field<Entries>>(&json).unwrap() else {
                panic!()
            };
            assert_eq!((entries.items.len(), entries.sent), (sent.min(LIST_CEILING), sent));
        }
    }
}
