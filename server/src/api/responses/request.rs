//! The body of `/v1/responses`.

use serde::Deserialize;
use serde::de::SeqAccess;

use crate::api::wire::content::Content;
use crate::api::wire::field::Shape;
use crate::api::wire::request::ResponseFormat;
use crate::api::wire::tree::Tree;
use crate::api::wire::{Field, Given, List, Object};

/// Every field that has a meaning here. All others are skipped: `store`, `metadata`, `user`, `truncation` and whatever
/// else does not change the answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ResponsesBody {
    pub(crate) model: Given,
    pub(crate) input: Field<Input>,
    pub(crate) instructions: Given,
    pub(crate) stream: Given,
    pub(crate) temperature: Given,
    pub(crate) top_p: Given,
    pub(crate) max_output_tokens: Given,
    pub(crate) reasoning: Field<Object<Reasoning>>,
    pub(crate) text: Field<Object<TextOptions>>,
    pub(crate) tools: Field<Tree>,
    pub(crate) tool_choice: Field<Tree>,
    pub(crate) parallel_tool_calls: Given,

    // Read only to refuse what would change the answer:
    pub(crate) previous_response_id: Given,
    pub(crate) conversation: Given,
    pub(crate) prompt: Given,
    pub(crate) background: Given,
    pub(crate) top_logprobs: Given,
    pub(crate) include: Field<List<Given>>,
}

/// `reasoning`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Reasoning {
    pub(crate) effort: Given,
    pub(crate) summary: Given,
}

/// `text`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TextOptions {
    pub(crate) format: Field<Object<ResponseFormat>>,
}

/// `input`: what a user says, or the items of a conversation.
#[derive(Debug)]
pub(crate) enum Input {
    Text(String),
    Items(List<Field<Object<Item>>>),
}

impl<'de> Shape<'de> for Input {
    fn from_text(text: String) -> Field<Self> {
        Field::Value(Input::Text(text))
    }

    fn from_list<A: SeqAccess<'de>>(list: A) -> Result<Field<Self>, A::Error> {
        Ok(match List::from_list(list)? {
            Field::Value(list) => Field::Value(Input::Items(list)),
            Field::Other(given) => Field::Other(given),
        })
    }
}

/// One item of a conversation: a message, with or without its type, or another item that a response can have.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Item {
    pub(crate) r#type: Given,
    pub(crate) role: Given,
    pub(crate) content: Field<Content>,
    pub(crate) name: Given,
    pub(crate) arguments: Given,
    pub(crate) output: Field<Content>,
}
