//! `POST /api/show`: what one model is, out of its files, without loading it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use library::store::Message;
use library::{Array, Gguf, Value};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, json};

use super::files::{flag, name_of, refused, replied};
use super::tags::ModelDetails;
use super::{AnyJson, OllamaError};
use crate::api::Api;
use crate::api::wire::{Given, json};
use crate::date::rfc3339_nanos;
use crate::shelf::Described;

/// Elements of a list that are shown although nobody asked for all.
const ELEMENTS_SHOWN: usize = 5;
/// What the file says that has a place of its own here.
const TOLD_ELSEWHERE: [&str; 2] = ["general.name", "tokenizer.chat_template"];

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ShowRequest {
    model: Given,
    name: Given,
    verbose: Given,
}

/// What is shown. Clients take `model_info` for granted; texts that there are none of are left out.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(skip_serializing_if = "String::is_empty")]
    license: String,
    modelfile: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    parameters: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    template: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    system: &'a str,
    details: ModelDetails,
    #[serde(skip_serializing_if = "<[Message]>::is_empty")]
    messages: &'a [Message],
    model_info: Map<String, serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tensors: Option<Vec<ShownTensor<'a>>>,
    capabilities: &'a [&'static str],
    modified_at: String,
}

#[derive(Serialize)]
struct ShownTensor<'a> {
    name: &'a str,
    r#type: &'static str,
    shape: &'a [u64],
}

/// `POST /api/show`
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    AnyJson(request): AnyJson<ShowRequest>,
) -> Result<Response, OllamaError> {
    let name = name_of(&request.model, &request.name)?;
    let is_verbose = flag("verbose", &request.verbose, false)?;
    let target = api.target(&name).await?;
    let line = api
        .with_shelf(move |_shelf| {
            let described = Described::open(&target).map_err(|error| refused(&error, &name))?;
            Ok(json::to_line(&shown(&described, is_verbose))?)
        })
        .await?;
    Ok(replied(line))
}

fn shown(described: &Described, is_verbose: bool) -> Shown<'_> {
    let tensors = described.gguf.tensors().iter().map(|tensor| ShownTensor {
        name: &tensor.name,
        r#type: tensor.kind.name(),
        shape: &tensor.dims,
    });
    Shown {
        license: described.license(),
        modelfile: described.modelfile(),
        parameters: described.parameters(),
        template: described.template(),
        system: described.system(),
        details: ModelDetails::of(&described.entry),
        messages: described.messages(),
        model_info: model_info(&described.gguf, described.parameter_count(), is_verbose),
        tensors: is_verbose.then(|| tensors.collect()),
        capabilities: &described.entry.capabilities,
        modified_at: rfc3339_nanos(described.entry.modified),
    }
}

/// What the header says, and how many parameters there are.
fn model_info(gguf: &Gguf, parameter_count: u64, is_verbose: bool) -> Map<String, serde_json::Value> {
    let elements_max = if is_verbose { usize::MAX } else { ELEMENTS_SHOWN };
    let said = gguf.metadata().iter().filter(|(key, _)| !TOLD_ELSEWHERE.contains(key));
    let mut told: Map<String, serde_json::Value> = said
        .map(|(key, value)| (key.to_owned(), converted(value, elements_max)))
        .collect();
    told.insert("general.parameter_count".to_owned(), parameter_count.into());
    told
}

fn converted(value: &Value, elements_max: usize) -> serde_json::Value {
    match value {
        Value::Unsigned(number) => json!(number),
        Value::Signed(number) => json!(number),
        Value::Float(number) => float(*number),
        Value::Flag(flag) => json!(flag),
        Value::Text(text) => json!(text),
        Value::Array(array) if array.len() > elements_max => json!([]),
        Value::Array(array) => match array {
            Array::U8(all) => json!(all),
            Array::I8(all) => json!(all),
            Array::U16(all) => json!(all),
            Array::I16(all) => json!(all),
            Array::U32(all) => json!(all),
            Array::I32(all) => json!(all),
            Array::U64(all) => json!(all),
            Array::I64(all) => json!(all),
            Array::F32(all) => all.iter().map(|number| float(f64::from(*number))).collect(),
            Array::F64(all) => all.iter().map(|number| float(*number)).collect(),
            Array::Flags(all) => json!(all),
            Array::Texts(all) => json!(all),
        },
    }
}

/// With no more digits than a single has, where it is one: 1e-6 and not 9.999999974752427e-7.
fn float(number: f64) -> serde_json::Value {
    #[expect(clippy::cast_possible_truncation, reason = "compared with what it was")]
    let single = number as f32;
    let short = if f64::from(single) == number {
        single.to_string().parse().unwrap_or(number)
    } else {
        number
    };
    Number::from_f64(short).map_or(serde_json::Value::Null, serde_json::Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_becomes_json_with_short_lists_only_unless_all_is_asked_for() {
        let five = Value::Array(Array::U32(vec![1, 2, 3, 4, 5]));
        let six = Value::Array(Array::Texts(vec!["a".to_owned(); 6]));
        for (value, expected) in [
            (Value::Unsigned(7), json!(7)),
            (Value::Float(f64::from(1e-6_f32)), json!(1e-6)),
            (Value::Float(1e6), json!(1e6)),
            (Value::Float(0.1), json!(0.1)),
            (Value::Float(f64::NAN), json!(null)),
            (Value::Flag(true), json!(true)),
            (five, json!([1, 2, 3, 4, 5])),
            (six.clone(), json!([])),
        ] {
            assert_eq!(converted(&value, ELEMENTS_SHOWN), expected);
        }
        assert_eq!(converted(&six, usize::MAX), json!(["a", "a", "a", "a", "a", "a"]));
    }
}
