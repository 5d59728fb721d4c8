//! The conversation of a `/v1/responses` request: its instructions and the items of its input.

use chat::{Message, Role, ToolCall};

use super::request::{Input, Item};
use crate::api::check::{Rules, arguments_of, refuse, text};
use crate::api::error::ApiError;
use crate::api::wire::content::Content;
use crate::api::wire::given::shown;
use crate::api::wire::list::LIST_CEILING;
use crate::api::wire::{Field, Given, List, Object};

/// The messages of `instructions` and `input`: at least one. Instructions are what the system says first.
///
/// # Errors
/// Names the item by its place, as in `input[3].role`.
pub(super) fn messages(instructions: &Given, input: Field<Input>, rules: &Rules<'_>) -> Result<Vec<Message>, ApiError> {
    let items_max = rules.limits.messages_max.min(LIST_CEILING);
    let allowed = || format!("a text or a list of 1 to {items_max} items, such as messages with role and content");
    let mut messages = Vec::new();
    if let Some(content) = text("instructions", instructions)?.filter(|content| !content.is_empty()) {
        messages.push(Message::new(Role::System, content));
    }
    match input {
        Field::Value(Input::Text(content)) => messages.push(Message::new(Role::User, content)),
        Field::Value(Input::Items(List { items, sent })) if (1..=items_max).contains(&sent) => {
            for (index, item) in items.into_iter().enumerate() {
                add(&mut messages, &format!("input[{index}]"), item, rules)?;
            }
        }
        Field::Value(Input::Items(list)) => return Err(refuse("input", &Given::List(list.sent), allowed())),
        Field::Other(given) => return Err(refuse("input", &given, allowed())),
    }
    if messages.is_empty() {
        return Err(refuse("input", &"without a message", allowed()));
    }
    Ok(messages)
}

/// Adds what an item says; nothing for an earlier thought, which no model is shown again.
fn add(messages: &mut Vec<Message>, param: &str, item: Field<Object<Item>>, rules: &Rules<'_>) -> Result<(), ApiError> {
    let item = match item {
        Field::Value(Object(item)) => item,
        Field::Other(given) => return Err(refuse(param, &given, "an object with role and content")),
    };
    let kind = match &item.r#type {
        Given::Absent | Given::Null => "message",
        Given::Text(kind) => kind,
        other => return Err(refuse(&format!("{param}.type"), other, "a text such as \"message\"")),
    };
    match kind {
        "message" => {
            let role = role(param, &item.role)?;
            let content = content(&format!("{param}.content"), role, item.content)?;
            messages.push(Message::new(role, content));
            Ok(())
        }
        "reasoning" => Ok(()),
        "function_call" | "function_call_output" if rules.tools.is_none() => {
            let message = format!("{param} is a {kind}, but this model does not support tools: leave it out");
            Err(ApiError::unsupported(param, message))
        }
        "function_call" => {
            let call = earlier_call(param, item)?;
            // A turn of the model is one message, whatever items it was made of.
            match messages.last_mut() {
                Some(turn) if turn.role == Role::Assistant => turn.tool_calls.push(call),
                _ => messages.push(Message {
                    tool_calls: vec![call],
                    ..Message::new(Role::Assistant, "")
                }),
            }
            Ok(())
        }
        "function_call_output" => {
            let output = content(&format!("{param}.output"), Role::Tool, item.output)?;
            messages.push(Message::new(Role::Tool, output));
            Ok(())
        }
        "item_reference" => {
            let message = format!("{param} is an item_reference, and nothing is kept here: send the item itself");
            Err(ApiError::unsupported(param, message))
        }
        other => {
            let message = format!(
                "{param} is an item of type {}, which is not known here: leave it out",
                shown(other)
            );
            Err(ApiError::unsupported(param, message))
        }
    }
}

/// A call that the model made. Its arguments are the text of an object.
fn earlier_call(param: &str, item: Item) -> Result<ToolCall, ApiError> {
    let Given::Text(name) = item.name else {
        return Err(refuse(
            &format!("{param}.name"),
            &item.name,
            "the name of the function that was called",
        ));
    };
    let Given::Text(arguments) = item.arguments else {
        return Err(refuse(
            &format!("{param}.arguments"),
            &item.arguments,
            "the text of a JSON object",
        ));
    };
    Ok(ToolCall {
        name,
        arguments: arguments_of(&arguments),
    })
}

fn role(param: &str, given: &Given) -> Result<Role, ApiError> {
    let name = if let Given::Text(name) = given {
        name.as_str()
    } else {
        ""
    };
    match name {
        "system" | "developer" => Ok(Role::System),
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        _ => Err(refuse(
            &format!("{param}.role"),
            given,
            "one of system, developer, user, assistant",
        )),
    }
}

fn content(param: &str, role: Role, given: Field<Content>) -> Result<String, ApiError> {
    match given {
        Field::Value(Content::Text(text)) => Ok(text),
        Field::Other(Given::Absent | Given::Null) if role == Role::Assistant => Ok(String::new()),
        Field::Other(given) => Err(refuse(param, &given, "a text or a list of text parts")),
        Field::Value(Content::Refused { part, found }) => {
            let param = format!("{param}[{part}]");
            let kind = match &found {
                Given::Text(kind) => format!("a part of type {} or without its text", shown(kind)),
                Given::Absent => "a part without a type".to_owned(),
                other => other.to_string(),
            };
            let message = format!("{param} is {kind}: this model reads text only, send parts of type \"input_text\"");
            Err(ApiError::unsupported(param, message))
        }
    }
}
