//! The checked form of a `/v1/responses` request.

use chat::{Message, Thinking};
use serde_json::{Value, json};

use super::items::messages;
use super::request::{Reasoning, ResponsesBody, TextOptions};
use crate::api::check::options::{Delivery, Options, options};
use crate::api::check::{Form, Rules, count, flag_or, refuse, text, tools};
use crate::api::error::ApiError;
use crate::api::wire::given::shown;
use crate::api::wire::request::GenerateRequest;
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
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) max_output_tokens: Option<usize>,
    pub(super) effort: Option<String>,
    pub(super) summary: Option<String>,
    /// `text.format.type`
    pub(super) form: &'static str,
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
    let asked = asked(&body, &options.form)?;
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
/// is, which is the most detailed of them.
fn asked(body: &ResponsesBody, form: &Form) -> Result<Asked, ApiError> {
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
    Ok(Asked {
        max_output_tokens,
        effort,
        summary,
        form: match form {
            Form::Free => "text",
            Form::JsonObject { .. } => "json_object",
            Form::JsonSchema { .. } => "json_schema",
        },
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

/// Puts the answer's form and the tools where chat completions have them.
fn as_chat(body: &mut ResponsesBody) -> Result<GenerateRequest, ApiError> {
    let response_format = match std::mem::take(&mut body.text) {
        Field::Value(Object(TextOptions { format })) => format,
        Field::Other(given) if given.is_absent() => Field::default(),
        Field::Other(given) => {
            let allowed = "an object such as {\"format\": {\"type\": \"text\"}}";
            return Err(refuse("text", &given, allowed));
        }
    };
    let (mut tools, mut tool_choice) = (std::mem::take(&mut body.tools), std::mem::take(&mut body.tool_choice));
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
        let asked = checked(json!({"input": "a", "tools": [flat], "tool_choice": choice})).unwrap();
        let tools = asked.options.tools;
        assert_eq!(tools.offered, [json!({"type": "function", "function": function})]);
        assert_eq!(tools.forced[0].name, "add");
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
        assert_eq!(object.asked.form, "json_object");
        let schema = json!({"type": "object"});
        let held = format(json!({"type": "json_schema", "name": "n", "schema": schema}));
        assert_eq!(held.options.form, Form::JsonSchema { param: FORMAT, schema });
        let missing = json!({"input": "a", "text": {"format": {"type": "json_schema", "name": "n"}}});
        check_refused(missing, "text.format", "text.format");
    }
}
