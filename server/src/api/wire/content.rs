//! The content of a chat message: text, or an array of parts whose texts are joined.

use serde::Deserialize;
use serde::de::SeqAccess;

use super::field::{Field, Object, Shape};
use super::given::{Given, count_items};

/// What a message says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    /// Plain text, or the texts of all parts, joined by line feeds.
    Text(String),
    /// An array with a part that is not text.
    Refused {
        /// Its place in the array.
        part: usize,
        /// Its `type`, or what it is instead of an object.
        found: Given,
    },
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Part {
    r#type: Given,
    text: Given,
}

impl<'de> Shape<'de> for Content {
    fn from_text(text: String) -> Field<Self> {
        Field::Value(Content::Text(text))
    }

    fn from_list<A: SeqAccess<'de>>(mut list: A) -> Result<Field<Self>, A::Error> {
        let mut joined = String::new();
        let mut part = 0;
        while let Some(next) = list.next_element::<Field<Object<Part>>>()? {
            match text_of(next) {
                Ok(text) => {
                    if part > 0 {
                        joined.push('\n');
                    }
                    joined.push_str(&text);
                }
                Err(found) => {
                    count_items(list)?;
                    return Ok(Field::Value(Content::Refused { part, found }));
                }
            }
            part += 1;
        }
        Ok(Field::Value(Content::Text(joined)))
    }
}

/// The text of one part, by the names that the different endpoints have for it, or what is wrong with it.
fn text_of(part: Field<Object<Part>>) -> Result<String, Given> {
    match part {
        Field::Value(Object(Part {
            r#type: Given::Text(kind),
            text: Given::Text(text),
        })) if matches!(kind.as_str(), "text" | "input_text" | "output_text") => Ok(text),
        Field::Value(Object(part)) => Err(part.r#type),
        Field::Other(given) => Err(given),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: Field<Content>) {
        assert_eq!(
            serde_json::from_str::<Field<Content>>(json).unwrap(),
            expected,
            "{json}"
        );
    }

    fn text(text: &str) -> Field<Content> {
        Field::Value(Content::Text(text.into()))
    }

    #[test]
    fn text_parts_are_joined_and_any_other_part_is_refused_with_its_place() {
        check(r#""hello""#, text("hello"));
        check("[]", text(""));
        check(
            r#"[{"type":"text","text":"a"},{"text":"b","type":"text"}]"#,
            text("a\nb"),
        );
        let image = r#"[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"x"}},3]"#;
        check(
            image,
            Field::Value(Content::Refused {
                part: 1,
                found: Given::Text("image_url".into()),
            }),
        );
        check(
            "[7]",
            Field::Value(Content::Refused {
                part: 0,
                found: Given::Whole(7),
            }),
        );
        check("null", Field::Other(Given::Null));
        check("{}", Field::Other(Given::Keys(0)));
    }
}
