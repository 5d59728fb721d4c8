//! The conversation: roles and texts.

use chat::{Message, Role};

use super::Rules;
use super::field::refuse;
use super::tools::earlier_calls;
use crate::api::error::ApiError;
use crate::api::wire::content::Content;
use crate::api::wire::given::shown;
use crate::api::wire::list::LIST_CEILING;
use crate::api::wire::request;
use crate::api::wire::{Field, Given, List, Object};

/// Checks `messages`: at least one, each with a known role and text.
///
/// # Errors
/// Names the message by its place, as in `messages[3].role`.
pub(crate) fn messages(
    given: Field<List<Field<Object<request::Message>>>>,
    rules: &Rules<'_>,
) -> Result<Vec<Message>, ApiError> {
    let messages_max = rules.limits.messages_max.min(LIST_CEILING);
    let allowed = format!("a list of 1 to {messages_max} messages, each with role and content");
    match given {
        Field::Value(list) if (1..=messages_max).contains(&list.sent) => list
            .items
            .into_iter()
            .enumerate()
            .map(|(index, given)| message(index, given))
            .collect(),
        Field::Value(list) => Err(refuse("messages", &Given::List(list.sent), allowed)),
        Field::Other(given) => Err(refuse("messages", &given, allowed)),
    }
}

fn message(index: usize, given: Field<Object<request::Message>>) -> Result<Message, ApiError> {
    match given {
        Field::Value(Object(message)) => {
            let role = role(index, &message.role)?;
            let calls = match role {
                Role::Assistant => earlier_calls(&format!("messages[{index}].tool_calls"), &message.tool_calls)?,
                Role::System | Role::User | Role::Tool => Vec::new(),
            };
            Ok(Message {
                content: content(index, &role, message.content)?,
                role,
                tool_calls: calls,
            })
        }
        Field::Other(given) => Err(refuse(
            &format!("messages[{index}]"),
            &given,
            "an object with role and content",
        )),
    }
}

fn role(index: usize, given: &Given) -> Result<Role, ApiError> {
    let name = if let Given::Text(name) = given {
        name.as_str()
    } else {
        ""
    };
    match name {
        // OpenAI's newer word for the same thing; templates know only the older.
        "system" | "developer" => Ok(Role::System),
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        "tool" => Ok(Role::Tool),
        _ => {
            let param = format!("messages[{index}].role");
            Err(refuse(&param, given, "one of system, developer, user, assistant, tool"))
        }
    }
}

fn content(index: usize, role: &Role, given: Field<Content>) -> Result<String, ApiError> {
    let param = format!("messages[{index}].content");
    match given {
        Field::Value(Content::Text(text)) => Ok(text),
        // An assistant message of tool calls only has no text.
        Field::Other(Given::Absent | Given::Null) if matches!(role, Role::Assistant) => Ok(String::new()),
        Field::Other(given) => Err(refuse(&param, &given, "a text or a list of text parts")),
        Field::Value(Content::Refused { part, found }) => {
            let param = format!("{param}[{part}]");
            let kind = match &found {
                Given::Text(kind) if kind == "text" => "a text part without text".to_owned(),
                Given::Text(kind) => format!("a part of type {}", shown(kind)),
                Given::Absent => "a part without a type".to_owned(),
                other => other.to_string(),
            };
            let message = format!("{param} is {kind}: this model reads text only, send parts of type \"text\"");
            Err(ApiError::unsupported(param, message))
        }
    }
}
