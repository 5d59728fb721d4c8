//! The checked form of a `/v1/responses` request.

use chat::{Message, Thinking};
use serde_json::{Value, json};

use super::items::messages;
use super::request::{Reasoning, ResponsesBody, TextOptions};
use super::wire::Format;
use crate::api::check::options::{Delivery, Options, options};
use crate::api::check::{Form, Rules, count, flag, flag_or, refuse, text, tools};
use crate::api::error::ApiError;
use crate::api::wire::given::shown;
use crate::api::wire::request::{GenerateRequest, JsonSchemaFormat, ResponseFormat};
use crate::api::wire::tree::Tree;
use crate::api::wire::{Field, Given, Object};

/// Where a request says what form the answer must have.
const FORMAT: &str = "text.format";

/// A conversation to answer.
#[derive(Debug)]
pub(super) struct ResponsesRequest {
    /// At least one.
    pub(super) messages: Vec<Message>,
    /// Whether the model thinks first.
    pub(super) thinking: Thinking,
    /// What the response repeats of the request.
    pub(super) asked: Asked,
    /// The rest.
    pub(super) options: Options,
}

/// What a response repeats of its request, as far as it was said.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) max_output_tokens: Option<usize>,
    pub(super) effort: Option<String>,
    pub(super) summary: Option<String>,
    pub(super) format: Format,
    pub(super) parallel_tool_calls: Option<bool>,
    /// As they came: a function's fields beside its type.
    pub(super) tools: Vec<Value>,
    pub(super) tool_choice: Option<Value>,
}

/// Checks a request.
///
/// # Errors
/// The first field that is wrong.
pub(super) fn responses_request(mut body: ResponsesBody, rules: &Rules<'_>) -> Result<ResponsesRequest, ApiError> {
    refuse_unsupported(&body)?;
    let request = as_chat(&mut body)?;
    let mut options = options(&request, None, rules).map_err(|error| error.renamed("response_format", FORMAT))?;
    options.form = named(options.form);
    options.tools = tools(&request, &options.form, rules).map_err(|error| error.renamed(".function.", "."))?;
    let asked = asked(&mut body, request.response_format)?;
    options.delivery = if flag_or("stream", &body.stream, false)? {
        // The last event always counts the tokens.
        Delivery::Streamed { usage: true }
    } else {
        Delivery::Whole
    };
    options.output_tokens_max = asked.max_output_tokens.unwrap_or(options.output_tokens_max);
    let is_silent = asked.effort.as_deref() == Some("none");
    Ok(ResponsesRequest {
        messages: messages(&body.instructions, body.input, rules)?,
        thinking: if is_silent { Thinking::Skipped } else { Thinking::Forced },
        asked,
        options,
    })
}

/// Efforts other than "none" are accepted: the model has one depth of thought. Summaries too: the thought is told as it
/// is, which is the most detailed of them. Schemas and tools, which may be large, are taken and not copied.
fn asked(body: &mut ResponsesBody, format: Field<Object<ResponseFormat>>) -> Result<Asked, ApiError> {
    let word = |param, given| text(param, given).map(|word| word.map(str::to_owned));
    let max_output_tokens = count("max_output_tokens", &body.max_output_tokens, 1..=usize::MAX >> 1)?;
    let (effort, summary) = match &body.reasoning {
        Field::Value(Object(Reasoning { effort, summary })) => {
            (word("reasoning.effort", effort)?, word("reasoning.summary", summary)?)
        }
        Field::Other(given) if given.is_absent() => (None, None),
        Field::Other(given) => return Err(refuse("reasoning", given, "an object such as {\"effort\": \"none\"}")),
    };
    for (param, word) in [("reasoning.effort", &effort), ("reasoning.summary", &summary)] {
        if let Some(word) = word.as_ref().filter(|word| word.chars().count() > WORD_CHARS_MAX) {
            let allowed = format!("a word of at most {WORD_CHARS_MAX} characters");
            return Err(refuse(param, &shown(word), allowed));
        }
    }
    let tool_choice = std::mem::take(&mut body.tool_choice).into_value();
    Ok(Asked {
        max_output_tokens,
        effort,
        summary,
        format: asked_format(format)?,
        parallel_tool_calls: flag("parallel_tool_calls", &body.parallel_tool_calls)?,
        tools: match std::mem::take(&mut body.tools).into_value() {
            Some(Value::Array(list)) => list,
            _ => Vec::new(),
        },
        tool_choice: tool_choice.filter(|choice| choice.as_str() != Some("")),
    })
}

/// The answer's form in the request's own words, after [`options`] found that it is one. What belongs to a schema may
/// stand one level deeper, where chat completions have it.
fn asked_format(given: Field<Object<ResponseFormat>>) -> Result<Format, ApiError> {
    let Field::Value(Object(format)) = given else {
        return Ok(Format::default());
    };
    let r#type = match text("text.format.type", &format.r#type)? {
        Some("json_object") => "json_object",
        Some("json_schema") => "json_schema",
        _ => return Ok(Format::default()),
    };
    let said = match format.json_schema {
        Field::Value(Object(nested)) if nested.schema != Field::Other(Given::Absent) => nested,
        _ => JsonSchemaFormat {
            name: format.name,
            description: format.description,
            schema: format.schema,
            strict: format.strict,
        },
    };
    let word = |param, given| text(param, given).map(|word| word.map(str::to_owned));
    Ok(Format {
        r#type,
        name: word("text.format.name", &said.name)?,
        description: word("text.format.description", &said.description)?,
        strict: flag("text.format.strict", &said.strict)?,
        schema: said.schema.into_value(),
    })
}

/// Every event repeats them.
const WORD_CHARS_MAX: usize = 32;

fn refuse_unsupported(body: &ResponsesBody) -> Result<(), ApiError> {
    const NOT_KEPT: &str = "responses are not kept here: leave it out, and send the whole conversation in input";
    for (param, given, why) in [
        ("previous_response_id", &body.previous_response_id, NOT_KEPT),
        ("conversation", &body.conversation, NOT_KEPT),
        (
            "background",
            &body.background,
            "responses are not kept here: leave it out, and wait for the reply",
        ),
        (
            "prompt",
            &body.prompt,
            "no prompts are kept here: leave it out, and send instructions and input",
        ),
    ] {
        if !given.is_neutral() {
            return Err(ApiError::unsupported(param, format!("{param} is {given}, and {why}")));
        }
    }
    let has_logprobs = match &body.include {
        Field::Value(list) => list
            .items
            .contains(&Given::Text("message.output_text.logprobs".to_owned())),
        Field::Other(given) if given.is_absent() => false,
        Field::Other(given) => return Err(refuse("include", given, "a list of texts")),
    };
    let top = count("top_logprobs", &body.top_logprobs, 0..=usize::MAX >> 1)?;
    if has_logprobs || top.is_some_and(|top| top > 0) {
        let param = if has_logprobs { "include" } else { "top_logprobs" };
        let message = format!("{param} asks for log probabilities: use /v1/chat/completions for them");
        return Err(ApiError::unsupported(param, message));
    }
    Ok(())
}

/// Puts the answer's form and the tools where chat completions have them. The tools are copied: the response repeats them
/// as they came.
fn as_chat(body: &mut ResponsesBody) -> Result<GenerateRequest, ApiError> {
    let response_format = match std::mem::take(&mut body.text) {
        Field::Value(Object(TextOptions { format })) => format,
        Field::Other(given) if given.is_absent() => Field::default(),
        Field::Other(given) => {
            let allowed = "an object such as {\"format\": {\"type\": \"text\"}}";
            return Err(refuse("text", &given, allowed));
        }
    };
    let (mut tools, mut tool_choice) = (body.tools.clone(), body.tool_choice.clone());
    if let Field::Value(Tree::Whole(Value::Array(list))) = &mut tools {
        list.iter_mut().for_each(nest);
    }
    if let Field::Value(Tree::Whole(choice)) = &mut tool_choice {
        nest(choice);
    }
    Ok(GenerateRequest {
        model: body.model.clone(),
        temperature: body.temperature.clone(),
        top_p: body.top_p.clone(),
        response_format,
        tools,
        tool_choice,
        parallel_tool_calls: body.parallel_tool_calls.clone(),
        ..GenerateRequest::default()
    })
}

/// Here a function's fields stand beside its type, there one level deeper.
fn nest(tool: &mut Value) {
    let Value::Object(fields) = tool else {
        return;
    };
    if fields.get("type").is_some_and(|kind| kind == "function") && !fields.contains_key("function") {
        let mut function = std::mem::take(fields);
        function.remove("type");
        function.remove("strict");
        *tool = json!({ "type": "function", "function": function });
    }
}

/// The same form, asked for by the field that it has here.
fn named(form: Form) -> Form {
    match form {
        Form::Free => Form::Free,
        Form::JsonObject { .. } => Form::JsonObject { param: FORMAT },
        Form::JsonSchema { schema, .. } => Form::JsonSchema { param: FORMAT, schema },
    }
}

#[cfg(test)]
mod tests {
    use chat::{Role, ToolFormat};

    use super::*;
    use crate::app::SamplingDefaults;
    use crate::config::{Config, Said};

    /// What is asked of a model that knows tools.
    fn checked(body: Value) -> Result<ResponsesRequest, ApiError> {
        let rules = Rules {
            limits: &Config::resolve(&Said::default()).unwrap().limits,
            defaults: &SamplingDefaults::default(),
            vocabulary: 262,
            tools: Some(ToolFormat::Hermes),
        };
        responses_request(serde_json::from_value(body).unwrap(), &rules)
    }

    fn check_refused(body: Value, param: &str, words: &str) {
        match checked(body).unwrap_err() {
            ApiError::Field { param: named, message } | ApiError::Unsupported { param: named, message } => {
                assert_eq!(named, param, "{message}");
                assert!(message.contains(words), "{message}");
            }
            other => panic!("{other}"),
        }
    }

    #[test]
    fn tools_are_offered_as_chat_completions_offer_them() {
        let function = json!({"name": "add", "description": "d", "parameters": {"type": "object"}});
        let flat = json!({
            "type": "function", "name": "add", "description": "d", "parameters": {"type": "object"}, "strict": true,
        });
        let choice = json!({"type": "function", "name": "add"});
        let request = checked(json!({"input": "a", "tools": [flat], "tool_choice": choice})).unwrap();
        let tools = request.options.tools;
        assert_eq!(tools.offered, [json!({"type": "function", "function": function})]);
        assert_eq!((tools.forced[0].name.as_str(), tools.ends_at_call), ("add", false));
        // The response has them as they came.
        let asked = request.asked;
        assert_eq!((asked.tools, asked.tool_choice), (vec![flat.clone()], Some(choice)));
        check_refused(
            json!({"input": "a", "tools": [{"type": "web_search"}]}),
            "tools[0]",
            "function",
        );
        check_refused(
            json!({"input": "a", "tools": [{"type": "function"}]}),
            "tools[0].name",
            "letters",
        );
        let both = json!({"input": "a", "tools": [flat], "text": {"format": {"type": "json_object"}}});
        check_refused(both, "text.format", "leave one of them out");
    }

    #[test]
    fn calls_one_at_a_time_are_asked_for_by_a_flag() {
        let tool = json!({"type": "function", "name": "f"});
        for (flag, expected) in [
            (json!(false), Some(false)),
            (json!(true), Some(true)),
            (Value::Null, None),
        ] {
            let request = checked(json!({"input": "a", "tools": [tool], "parallel_tool_calls": flag})).unwrap();
            assert_eq!(request.options.tools.ends_at_call, expected == Some(false));
            assert_eq!(request.asked.parallel_tool_calls, expected);
        }
        let off = json!({"input": "a", "tools": [tool], "tool_choice": "none", "parallel_tool_calls": false});
        let asked = checked(off).unwrap().asked;
        assert_eq!((asked.parallel_tool_calls, asked.tools), (Some(false), vec![tool]));
        assert_eq!(asked.tool_choice, Some(json!("none")));
        for wrong in [json!("no"), json!(0), json!([]), json!({})] {
            check_refused(
                json!({"input": "a", "parallel_tool_calls": wrong}),
                "parallel_tool_calls",
                "true or false",
            );
        }
    }

    #[test]
    fn earlier_calls_belong_to_the_turn_of_the_model_that_made_them() {
        let call = json!({"type": "function_call", "call_id": "c", "name": "add", "arguments": "{\"a\":1}"});
        let input = json!([
            {"role": "user", "content": "a"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "so"}]},
            call, call,
            {"type": "function_call_output", "call_id": "c", "output": "2"},
            {"type": "reasoning", "summary": []},
            call,
        ]);
        let messages = checked(json!({"input": input})).unwrap().messages;
        let turns: Vec<_> = messages
            .iter()
            .map(|turn| (turn.role, &*turn.content, turn.tool_calls.len()))
            .collect();
        assert_eq!(
            turns,
            [
                (Role::User, "a", 0),
                (Role::Assistant, "so", 2),
                (Role::Tool, "2", 0),
                (Role::Assistant, "", 1)
            ]
        );
        assert_eq!(messages[1].tool_calls[0].arguments, json!({"a": 1}));
        check_refused(
            json!({"input": [{"type": "function_call"}]}),
            "input[0].name",
            "missing",
        );
        check_refused(
            json!({"input": [{"type": "function_call", "name": "f", "arguments": {}}]}),
            "input[0].arguments",
            "text",
        );
        check_refused(
            json!({"input": [{"type": "function_call_output"}]}),
            "input[0].output",
            "missing",
        );
    }

    #[test]
    fn a_form_is_asked_for_by_its_own_field() {
        let format = |format: Value| checked(json!({"input": "a", "text": {"format": format}})).unwrap();
        let object = format(json!({"type": "json_object"}));
        assert_eq!(object.options.form, Form::JsonObject { param: FORMAT });
        let schema = json!({"type": "object"});
        let held = format(json!({"type": "json_schema", "name": "n", "schema": schema}));
        assert_eq!(held.options.form, Form::JsonSchema { param: FORMAT, schema });
        let missing = json!({"input": "a", "text": {"format": {"type": "json_schema", "name": "n"}}});
        check_refused(missing, "text.format", "text.format");
    }

    #[test]
    fn a_form_is_repeated_in_the_words_that_asked_for_it() {
        let check = |given: Value, expected: Value| {
            let request = checked(json!({"input": "a", "text": {"format": given}})).unwrap();
            assert_eq!(serde_json::to_value(request.asked.format).unwrap(), expected, "{given}");
        };
        let as_it_is = |format: Value| check(format.clone(), format);
        let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
        let text = json!({"type": "text"});
        check(Value::Null, text.clone());
        check(json!({"type": "text", "name": "n"}), text);
        as_it_is(json!({"type": "json_object"}));
        as_it_is(json!({"type": "json_object", "schema": schema}));
        as_it_is(json!({"type": "json_schema", "name": "n", "schema": schema}));
        as_it_is(json!({"type": "json_schema", "name": "n", "description": "d", "schema": schema, "strict": false}));
        as_it_is(json!({"type": "json_schema", "name": "n", "schema": true, "strict": true}));
        let nested = json!({"name": "n", "schema": schema, "strict": true});
        check(
            json!({"type": "json_schema", "json_schema": nested}),
            json!({"type": "json_schema", "name": "n", "schema": schema, "strict": true}),
        );
        for (field, value) in [("name", json!(7)), ("description", json!([])), ("strict", json!("yes"))] {
            let mut format = json!({"type": "json_schema", "name": "n", "schema": schema});
            format[field] = value;
            let param = format!("text.format.{field}");
            check_refused(json!({"input": "a", "text": {"format": format}}), &param, "give");
        }
    }
}
