//! `format`: what the answer is held to.

use serde_json::Value;

use crate::api::check::{Form, refuse, schema};
use crate::api::error::ApiError;
use crate::api::wire::Field;
use crate::api::wire::tree::Tree;

/// The answer's form: `"json"` or a schema.
///
/// # Errors
/// Anything else.
pub(super) fn form(given: &Field<Tree>) -> Result<Form, ApiError> {
    const PARAM: &str = "format";
    if given.is_neutral() {
        return Ok(Form::Free);
    }
    match schema(PARAM, given)? {
        Some(Value::String(text)) if text == "json" => Ok(Form::JsonObject { param: PARAM }),
        Some(schema @ Value::Object(_)) => Ok(Form::JsonSchema { param: PARAM, schema }),
        _ => Err(refuse(PARAM, &"neither", "\"json\" or a JSON schema")),
    }
}
