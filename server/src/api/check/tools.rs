//! The tools that a model may call, and whether it must.

use chat::{ToolCall, ToolFunction};
use serde_json::{Value, json};

use super::Rules;
use super::field::{flag_or, refuse};
use super::form::Form;
use crate::api::error::ApiError;
use crate::api::wire::given::shown;
use crate::api::wire::request::GenerateRequest;
use crate::api::wire::tree::Tree;
use crate::api::wire::{Field, Given};

const TOOLS_MAX: usize = 128;
const NAME_BYTES_MAX: usize = 64;

/// What a request offers to the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tools {
    /// In OpenAI's form. Empty where there are none, or the model shall use none.
    pub(crate) offered: Vec<Value>,
    /// The answer must be a call of one of these; empty where it need not be a call.
    pub(crate) forced: Vec<ToolFunction>,
    /// Whether an answer ends right after its first call.
    pub(crate) ends_at_call: bool,
}

/// Which of the tools the model is to call.
enum ToolChoice {
    None,
    Auto,
    Required,
    Function(String),
}

/// Checks `tools`, `tool_choice` and `parallel_tool_calls`.
///
/// # Errors
/// Tools for a model that knows none, or tools that are none.
pub(crate) fn tools(request: &GenerateRequest, form: &Form, rules: &Rules<'_>) -> Result<Tools, ApiError> {
    let choice = tool_choice(&request.tool_choice)?;
    let may_call_often = flag_or("parallel_tool_calls", &request.parallel_tool_calls, true)?;
    if matches!(choice, ToolChoice::None) {
        return Ok(Tools::default());
    }
    let (mut tools, functions) = Tools::offering(&request.tools, form, rules)?;
    tools.forced = forced(choice, functions)?;
    tools.ends_at_call = !may_call_often;
    Ok(tools)
}

impl Tools {
    /// Tools that the model may call or not, and the functions that they are.
    ///
    /// # Errors
    /// The first tool that is none; any at all if the model knows none, or if the answer must have another form.
    pub(crate) fn offering(
        given: &Field<Tree>,
        form: &Form,
        rules: &Rules<'_>,
    ) -> Result<(Tools, Vec<ToolFunction>), ApiError> {
        let list = match given {
            given if given.is_neutral() => &[],
            Field::Value(Tree::Whole(Value::Array(list))) => list.as_slice(),
            Field::Value(Tree::TooLarge) => return Err(refuse("tools", &Tree::too_large(), "fewer or smaller tools")),
            Field::Value(_) => return Err(refuse("tools", &"no list", "a list of tools")),
            Field::Other(given) => return Err(refuse("tools", given, "a list of tools")),
        };
        let functions = functions(list, rules)?;
        if let (Some(param), false) = (form.param(), list.is_empty()) {
            let message = format!("{param} cannot hold an answer that may be a call of a tool: leave one of them out");
            return Err(ApiError::unsupported(param, message));
        }
        let tools = Tools {
            offered: list.iter().map(normal).collect(),
            forced: Vec::new(),
            ends_at_call: false,
        };
        Ok((tools, functions))
    }
}

/// The functions of which one must be called.
fn forced(choice: ToolChoice, mut functions: Vec<ToolFunction>) -> Result<Vec<ToolFunction>, ApiError> {
    let name = match choice {
        ToolChoice::Auto | ToolChoice::None => return Ok(Vec::new()),
        ToolChoice::Required | ToolChoice::Function(_) if functions.is_empty() => {
            let message = "tool_choice asks for a call, and there are no tools: give tools";
            return Err(ApiError::field("tool_choice", message));
        }
        ToolChoice::Required => return Ok(functions),
        ToolChoice::Function(name) => name,
    };
    functions.retain(|function| function.name == name);
    if functions.is_empty() {
        let message = format!("tool_choice names {}, which is not among the tools", shown(&name));
        return Err(ApiError::field("tool_choice", message));
    }
    Ok(functions)
}

/// The functions of a list of tools, each with its parameters' schema.
fn functions(list: &[Value], rules: &Rules<'_>) -> Result<Vec<ToolFunction>, ApiError> {
    if !list.is_empty() && rules.tools.is_none() {
        let message = format!(
            "tools is a list of {}, but this model does not support tools: leave it out (in LobeChat: switch the plugins \
             off), or send \"tool_choice\": \"none\"",
            list.len()
        );
        return Err(ApiError::unsupported("tools", message));
    }
    if list.len() > TOOLS_MAX {
        return Err(refuse(
            "tools",
            &Given::List(list.len()),
            format!("at most {TOOLS_MAX}"),
        ));
    }
    let mut functions: Vec<ToolFunction> = Vec::with_capacity(list.len());
    for (index, tool) in list.iter().enumerate() {
        let function = function(index, tool)?;
        if functions.iter().any(|other| other.name == function.name) {
            let param = format!("tools[{index}].function.name");
            return Err(refuse(&param, &"the name of an earlier tool", "each its own name"));
        }
        functions.push(function);
    }
    Ok(functions)
}

fn function(index: usize, tool: &Value) -> Result<ToolFunction, ApiError> {
    let param = format!("tools[{index}]");
    let kind = tool.get("type").and_then(Value::as_str);
    if !matches!((tool.get("type"), kind), (None, _) | (_, Some("function"))) {
        let found = kind.map_or_else(|| "no text".to_owned(), shown);
        let message = format!("{param}.type is {found}: only \"function\" is supported here");
        return Err(ApiError::unsupported(param, message));
    }
    let Some(function) = tool.get("function").filter(|function| function.is_object()) else {
        return Err(ApiError::field(
            &*param,
            format!("{param} has no function: give an object with name and parameters"),
        ));
    };
    let name = function.get("name").and_then(Value::as_str).unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_plain) {
        let allowed = format!("1 to {NAME_BYTES_MAX} letters, digits, underscores, dashes or points");
        return Err(refuse(&format!("{param}.function.name"), &shown(name), allowed));
    }
    let parameters = parameters(&param, function.get("parameters"))?;
    Ok(ToolFunction {
        name: name.to_owned(),
        parameters,
    })
}

/// Arguments are an object: a schema that does not say so is made to.
fn parameters(param: &str, given: Option<&Value>) -> Result<Value, ApiError> {
    let refused = |found: &str| {
        let param = format!("{param}.function.parameters");
        Err(refuse(&param, &found, "a JSON schema of type \"object\""))
    };
    let mut schema = match given {
        None | Some(Value::Null) => return Ok(json!({ "type": "object", "properties": {} })),
        Some(Value::Object(schema)) => schema.clone(),
        Some(_) => return refused("no object"),
    };
    match schema.get("type") {
        None => {
            schema.insert("type".to_owned(), json!("object"));
        }
        Some(kind) if kind == "object" => {}
        Some(kind) => return refused(&shown(&kind.to_string())),
    }
    Ok(Value::Object(schema))
}

/// A tool with its type first, as templates were trained to see it.
fn normal(tool: &Value) -> Value {
    json!({ "type": "function", "function": tool.get("function") })
}

fn tool_choice(given: &Field<Tree>) -> Result<ToolChoice, ApiError> {
    const ALLOWED: &str =
        "one of \"none\", \"auto\", \"required\", or {\"type\": \"function\", \"function\": {\"name\": ...}}";
    let value = match given {
        Field::Value(Tree::Whole(value)) => value,
        Field::Other(given) if given.is_absent() => return Ok(ToolChoice::Auto),
        Field::Value(Tree::TooLarge) => return Err(refuse("tool_choice", &Tree::too_large(), ALLOWED)),
        Field::Other(given) => return Err(refuse("tool_choice", given, ALLOWED)),
    };
    match value {
        Value::String(choice) => match choice.as_str() {
            "none" => Ok(ToolChoice::None),
            "auto" | "" => Ok(ToolChoice::Auto),
            "required" => Ok(ToolChoice::Required),
            other => Err(refuse("tool_choice", &Given::Text(other.to_owned()), ALLOWED)),
        },
        other => match other.pointer("/function/name").and_then(Value::as_str) {
            Some(name) => Ok(ToolChoice::Function(name.to_owned())),
            None => Err(refuse("tool_choice", &"an object without a function's name", ALLOWED)),
        },
    }
}

/// The object that the text of a call's arguments is; the text where it is none, or larger than any that is kept.
pub(crate) fn arguments_of(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(Field::Value(Tree::Whole(object @ Value::Object(_)))) => object,
        _ => Value::String(text.to_owned()),
    }
}

/// The calls that an earlier turn made, of which only the name must be there. Arguments come as the text of an object, or
/// as the object.
///
/// # Errors
/// A call without a name.
pub(crate) fn earlier_calls(param: &str, given: &Field<Tree>) -> Result<Vec<ToolCall>, ApiError> {
    let list = match given {
        Field::Value(Tree::Whole(Value::Array(list))) => list,
        given if given.is_neutral() => return Ok(Vec::new()),
        Field::Value(Tree::TooLarge) => return Err(refuse(param, &Tree::too_large(), "fewer or smaller calls")),
        _ => {
            return Err(ApiError::field(
                param,
                format!("{param} is no list: give a list of calls"),
            ));
        }
    };
    let call = |(index, call): (usize, &Value)| {
        let function = call.get("function").unwrap_or(call);
        let Some(name) = function.get("name").and_then(Value::as_str) else {
            let message =
                format!("{param}[{index}] has no function.name: give the name of the function that was called");
            return Err(ApiError::field(param, message));
        };
        let arguments = match function.get("arguments") {
            Some(Value::String(text)) => arguments_of(text),
            Some(arguments) => arguments.clone(),
            None => json!({}),
        };
        Ok(ToolCall {
            name: name.to_owned(),
            arguments,
        })
    };
    list.iter().enumerate().map(call).collect()
}
