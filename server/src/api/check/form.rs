//! The form that an answer must have: any JSON object, or JSON of a schema, in the words of OpenAI, vLLM and llama.cpp.

use serde_json::Value;

use super::field::{refuse, text};
use crate::api::error::ApiError;
use crate::api::wire::request::{GenerateRequest, JsonSchemaFormat, ResponseFormat, StructuredOutputs};
use crate::api::wire::tree::Tree;
use crate::api::wire::{Field, Given, Object};

/// What answers are held to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Form {
    /// Nothing.
    #[default]
    Free,
    /// Any JSON object; asked for by this field.
    JsonObject { param: &'static str },
    /// JSON of this schema, still to be looked at; asked for by this field.
    JsonSchema { param: &'static str, schema: Value },
}

/// The one form that a request asks for.
///
/// # Errors
/// A form that is none, or more than one.
pub(crate) fn form(request: &GenerateRequest) -> Result<Form, ApiError> {
    let asked = [
        response_format(&request.response_format)?,
        guided("guided_json", &request.guided_json)?,
        structured_outputs(&request.structured_outputs)?,
    ];
    let mut asked = asked.into_iter().filter(|form| *form != Form::Free);
    match (asked.next(), asked.next()) {
        (None, _) => Ok(Form::Free),
        (Some(form), None) => Ok(form),
        (Some(_), Some(second)) => Err(ApiError::field(
            second.param().unwrap_or_default(),
            "the answer's form is asked for in two fields: give one of them",
        )),
    }
}

impl Form {
    /// The field that asked for it.
    pub(crate) fn param(&self) -> Option<&'static str> {
        match self {
            Form::Free => None,
            Form::JsonObject { param } | Form::JsonSchema { param, .. } => Some(param),
        }
    }
}

fn response_format(given: &Field<Object<ResponseFormat>>) -> Result<Form, ApiError> {
    const PARAM: &str = "response_format";
    const ALLOWED: &str = "one of \"text\", \"json_object\", \"json_schema\"";
    let format = match given {
        Field::Value(Object(format)) => format,
        Field::Other(given) if given.is_absent() => return Ok(Form::Free),
        Field::Other(given) => return Err(refuse(PARAM, given, "an object such as {\"type\": \"json_object\"}")),
    };
    match text("response_format.type", &format.r#type)? {
        Some("text") => Ok(Form::Free),
        Some("json_object") => match schema("response_format.schema", &format.schema)? {
            None => Ok(Form::JsonObject { param: PARAM }),
            Some(schema) => Ok(Form::JsonSchema { param: PARAM, schema }),
        },
        Some("json_schema") => {
            let nested = match &format.json_schema {
                Field::Value(Object(JsonSchemaFormat { schema: nested, .. })) => {
                    schema("response_format.json_schema.schema", nested)?
                }
                Field::Other(given) if given.is_absent() => None,
                Field::Other(given) => {
                    return Err(refuse("response_format.json_schema", given, "an object with a schema"));
                }
            };
            let schema = match nested {
                Some(schema) => Some(schema),
                None => schema("response_format.schema", &format.schema)?,
            };
            let missing = || refuse("response_format.json_schema.schema", &Given::Absent, "a JSON schema");
            schema
                .map(|schema| Form::JsonSchema { param: PARAM, schema })
                .ok_or_else(missing)
                .map_err(|error| error.of(PARAM))
        }
        _ => Err(refuse("response_format.type", &format.r#type, ALLOWED).of(PARAM)),
    }
}

/// vLLM's older field: a schema, or the text of one.
fn guided(param: &'static str, given: &Field<Tree>) -> Result<Form, ApiError> {
    let schema = match schema(param, given)? {
        None => return Ok(Form::Free),
        Some(Value::String(text)) if text.is_empty() => return Ok(Form::Free),
        Some(Value::String(text)) => serde_json::from_str(&text)
            .map_err(|error| ApiError::field(param, format!("{param} is a text that is not JSON: {error}")))?,
        Some(schema) => schema,
    };
    Ok(Form::JsonSchema { param, schema })
}

/// vLLM's newer field, of which only `json` is done here.
fn structured_outputs(given: &Field<Object<StructuredOutputs>>) -> Result<Form, ApiError> {
    const PARAM: &str = "structured_outputs";
    let outputs = match given {
        Field::Value(Object(outputs)) => outputs,
        Field::Other(given) if given.is_neutral() => return Ok(Form::Free),
        Field::Other(given) => return Err(refuse(PARAM, given, "an object such as {\"json\": {...}}")),
    };
    for (name, given) in [
        ("regex", &outputs.regex),
        ("choice", &outputs.choice),
        ("grammar", &outputs.grammar),
        ("structural_tag", &outputs.structural_tag),
    ] {
        if !given.is_neutral() {
            let message = format!("{PARAM}.{name} is not supported here: use {PARAM}.json with a JSON schema");
            return Err(ApiError::unsupported(PARAM, message));
        }
    }
    if outputs.json_object == Given::Flag(true) {
        return Ok(Form::JsonObject { param: PARAM });
    }
    guided(PARAM, &outputs.json)
}

/// A JSON schema, `None` where it is not given.
pub(crate) fn schema(param: &str, given: &Field<Tree>) -> Result<Option<Value>, ApiError> {
    match given {
        Field::Value(Tree::Whole(schema)) => Ok(Some(schema.clone())),
        Field::Value(Tree::TooLarge) => Err(refuse(param, &Tree::too_large(), "a smaller schema")),
        Field::Other(Given::Flag(flag)) => Ok(Some(Value::Bool(*flag))),
        Field::Other(given) if given.is_absent() => Ok(None),
        Field::Other(given) => Err(refuse(param, given, "a JSON schema")),
    }
}
