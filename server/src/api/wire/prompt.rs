//! The prompt of `/v1/completions`: a text, texts, token ids, or lists of token ids.

use serde::de::{Deserialize, Deserializer, SeqAccess};

use super::field::{Field, Shape};
use super::given::{Given, count_items};
use super::list::LIST_CEILING;

/// What to go on from. An empty array is `Texts` of none.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Prompt {
    /// One text.
    Text(String),
    /// Several texts, and how many were sent.
    Texts(Vec<String>, usize),
    /// One prompt as token ids.
    Ids(Vec<u32>),
    /// Several prompts as token ids, and how many were sent.
    IdLists(Vec<Vec<u32>>, usize),
    /// An array with an item that fits none of these, or does not fit the items before it.
    Refused {
        /// Its place in the array.
        item: usize,
        /// What it is.
        found: Given,
    },
}

impl<'de> Shape<'de> for Prompt {
    fn from_text(text: String) -> Field<Self> {
        Field::Value(Prompt::Text(text))
    }

    fn from_list<A: SeqAccess<'de>>(mut list: A) -> Result<Field<Self>, A::Error> {
        let mut prompt = Prompt::Texts(Vec::new(), 0);
        let mut item = 0;
        while let Some(next) = list.next_element::<Item>()? {
            if let Err(found) = prompt.push(next) {
                count_items(list)?;
                return Ok(Field::Value(Prompt::Refused { item, found }));
            }
            item += 1;
        }
        Ok(Field::Value(prompt))
    }
}

impl Prompt {
    /// Adds the next item; the first decides what the list is of.
    fn push(&mut self, item: Item) -> Result<(), Given> {
        match (&mut *self, item) {
            (Prompt::Texts(texts, sent), Item(Field::Value(ItemValue::Text(text)))) => keep(texts, sent, text),
            (Prompt::IdLists(lists, sent), Item(Field::Value(ItemValue::Ids(ids)))) => keep(lists, sent, ids),
            (Prompt::Ids(ids), Item(Field::Other(given))) => ids.push(token_id(&given).ok_or(given)?),
            (Prompt::Texts(_, 0), Item(Field::Value(ItemValue::Ids(ids)))) => *self = Prompt::IdLists(vec![ids], 1),
            (Prompt::Texts(_, 0), Item(Field::Other(given))) => {
                *self = Prompt::Ids(vec![token_id(&given).ok_or(given)?]);
            }
            (_, Item(Field::Value(ItemValue::Text(text)))) => return Err(Given::Text(text)),
            (_, Item(Field::Value(ItemValue::Ids(ids)))) => return Err(Given::List(ids.len())),
            (_, Item(Field::Value(ItemValue::Wrong(given)) | Field::Other(given))) => {
                return Err(given);
            }
        }
        Ok(())
    }
}

fn keep<T>(kept: &mut Vec<T>, sent: &mut usize, item: T) {
    *sent += 1;
    if kept.len() < LIST_CEILING {
        kept.push(item);
    }
}

fn token_id(given: &Given) -> Option<u32> {
    match given {
        Given::Whole(id) => u32::try_from(*id).ok(),
        _ => None,
    }
}

/// One item of the outer array. A number stays `Field::Other`.
struct Item(Field<ItemValue>);

enum ItemValue {
    Text(String),
    Ids(Vec<u32>),
    Wrong(Given),
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Field::deserialize(deserializer).map(Item)
    }
}

impl<'de> Shape<'de> for ItemValue {
    fn from_text(text: String) -> Field<Self> {
        Field::Value(ItemValue::Text(text))
    }

    fn from_list<A: SeqAccess<'de>>(mut list: A) -> Result<Field<Self>, A::Error> {
        let mut ids = Vec::new();
        while let Some(next) = list.next_element::<Given>()? {
            match token_id(&next) {
                Some(id) => ids.push(id),
                None => {
                    count_items(list)?;
                    return Ok(Field::Value(ItemValue::Wrong(next)));
                }
            }
        }
        Ok(Field::Value(ItemValue::Ids(ids)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: Prompt) {
        assert_eq!(
            serde_json::from_str::<Field<Prompt>>(json).unwrap(),
            Field::Value(expected),
            "{json}"
        );
    }

    #[test]
    fn the_four_forms_are_told_apart_by_their_items() {
        check(r#""a""#, Prompt::Text("a".into()));
        check("[]", Prompt::Texts(vec![], 0));
        check(r#"["a","b"]"#, Prompt::Texts(vec!["a".into(), "b".into()], 2));
        check("[1,2]", Prompt::Ids(vec![1, 2]));
        check("[[1],[]]", Prompt::IdLists(vec![vec![1], vec![]], 2));
    }

    #[test]
    fn a_mixed_or_foreign_item_is_refused_with_its_place() {
        let refused = |item, found| Prompt::Refused { item, found };
        check(r#"[1,"a"]"#, refused(1, Given::Text("a".into())));
        check(r#"["a",1]"#, refused(1, Given::Whole(1)));
        check("[[1],2,[3]]", refused(1, Given::Whole(2)));
        check("[-1]", refused(0, Given::Whole(-1)));
        check("[4294967296]", refused(0, Given::Whole(4_294_967_296)));
        check("[[1.5]]", refused(0, Given::Real(1.5)));
        check("[{}]", refused(0, Given::Keys(0)));
        check("[null]", refused(0, Given::Null));
    }

    #[test]
    fn a_million_prompts_are_counted_but_not_kept() {
        let json = format!("[{}]", vec!["[]"; 1_000_000].join(","));
        let Field::Value(Prompt::IdLists(lists, sent)) = serde_json::from_str(&json).unwrap() else {
            panic!()
        };
        assert_eq!((lists.len(), sent), (LIST_CEILING, 1_000_000));
    }
}
