//! Fields that would change the answer and are not done here. They are refused, never skipped, unless their value asks
//! for nothing.

use super::field::refuse;
use crate::api::error::ApiError;
use crate::api::wire::request::GenerateRequest;
use crate::api::wire::tree::Tree;
use crate::api::wire::{Field, Given};

/// Refuses what neither endpoint does.
pub(crate) fn refuse_unsupported(request: &GenerateRequest) -> Result<(), ApiError> {
    for (param, given, instead) in [
        (
            "chat_template",
            &request.chat_template,
            "the model's own template is used",
        ),
        (
            "continue_final_message",
            &request.continue_final_message,
            "use /v1/completions to go on from a text",
        ),
        ("guided_regex", &request.guided_regex, "use response_format"),
        ("guided_choice", &request.guided_choice, "use response_format"),
        ("guided_grammar", &request.guided_grammar, "use response_format"),
        ("grammar", &request.grammar, "use response_format"),
        ("json_schema", &request.json_schema, "use response_format"),
        (
            "use_beam_search",
            &request.use_beam_search,
            "set temperature to 0 for the likeliest tokens",
        ),
        ("stop_token_ids", &request.stop_token_ids, "use stop with texts"),
        ("bad_words", &request.bad_words, "use logit_bias with -100"),
        (
            "allowed_token_ids",
            &request.allowed_token_ids,
            "use logit_bias with 100",
        ),
        ("audio", &request.audio, "this model writes text only"),
        (
            "web_search_options",
            &request.web_search_options,
            "put what was found into the prompt",
        ),
    ] {
        refuse_unless_neutral(param, given, instead)?;
    }
    if !matches!(request.min_tokens, Given::Whole(0)) {
        refuse_unless_neutral("min_tokens", &request.min_tokens, "use ignore_eos with max_tokens")?;
    }
    // In vLLM 0 asks for the log probabilities of the prompt's own tokens.
    refuse_unless_neutral(
        "prompt_logprobs",
        &request.prompt_logprobs,
        "use logprobs for generated tokens",
    )?;
    refuse_best_of(request)?;
    refuse_modalities(request)?;
    refuse_functions(&request.functions, &request.function_call)
}

/// Refuses what `/v1/completions` does elsewhere.
pub(crate) fn refuse_unsupported_completion(request: &GenerateRequest) -> Result<(), ApiError> {
    let tools_off = matches!(&request.tool_choice, Field::Value(Tree::Whole(choice)) if choice == "none");
    if !request.tools.is_neutral() && !tools_off {
        let message = "tools are for /v1/chat/completions: send them there";
        return Err(ApiError::unsupported("tools", message));
    }
    refuse_unless_neutral("echo", &request.echo, "put the prompt before the reply yourself")?;
    refuse_unless_neutral("suffix", &request.suffix, "describe what follows in the prompt")
}

fn refuse_unless_neutral(param: &str, given: &Given, instead: &str) -> Result<(), ApiError> {
    if given.is_neutral() {
        return Ok(());
    }
    Err(ApiError::unsupported(
        param,
        format!("{param} is {given}, which is not supported here: leave it out, {instead}"),
    ))
}

/// `best_of` draws more choices than it returns, by log probability; the same number for both asks for nothing.
fn refuse_best_of(request: &GenerateRequest) -> Result<(), ApiError> {
    let (best_of, n) = (&request.best_of, &request.n);
    let same = best_of == n || (n.is_absent() && *best_of == Given::Whole(1));
    if same {
        Ok(())
    } else {
        refuse_unless_neutral("best_of", best_of, "n choices are drawn and all returned")
    }
}

fn refuse_modalities(request: &GenerateRequest) -> Result<(), ApiError> {
    const PARAM: &str = "modalities";
    match &request.modalities {
        Field::Other(given) if given.is_absent() => Ok(()),
        Field::Value(list) if list.items.iter().all(|item| *item == Given::Text("text".to_owned())) => Ok(()),
        Field::Value(_) => Err(ApiError::unsupported(
            PARAM,
            "modalities other than [\"text\"]: this model writes text only",
        )),
        Field::Other(given) => Err(refuse(PARAM, given, "[\"text\"] or nothing")),
    }
}

/// OpenAI's older name for tools.
fn refuse_functions(functions: &Given, choice: &Given) -> Result<(), ApiError> {
    let switched_off = matches!(choice, Given::Text(choice) if choice == "none");
    if functions.is_neutral() || switched_off {
        return Ok(());
    }
    let message = format!("functions is {functions}: use tools, or send \"function_call\": \"none\"");
    Err(ApiError::unsupported("functions", message))
}
