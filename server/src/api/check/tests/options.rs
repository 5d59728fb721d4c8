//! The fields that both endpoints share.

use chat::Thinking;

use super::*;

#[test]
fn what_is_left_out_takes_the_defaults() {
    let request = chat_of("").unwrap();
    let options = request.options;
    assert_eq!((options.model, options.choices, options.stop.len()), (None, 1, 0));
    assert_eq!((options.output_tokens_max, options.ignore_end), (4096, false));
    assert_eq!(
        (options.delivery, options.token_names),
        (Delivery::Whole, TokenNames::Texts)
    );
    assert_eq!((request.thinking, request.showing), (Thinking::Forced, Showing::Split));
    let sampling = options.sampling;
    assert_eq!(
        (sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p),
        (0.6, 0.95, 0, 0.0)
    );
    assert_eq!(
        (
            sampling.repetition_penalty,
            sampling.presence_penalty,
            sampling.frequency_penalty
        ),
        (1.0, 0.0, 0.0)
    );
    assert_eq!((sampling.logprobs, sampling.logit_bias.len()), (None, 0));
    let again = chat_of("").unwrap().options.sampling.seed;
    assert_ne!(sampling.seed, again, "two requests without a seed draw different ones");
}

#[test]
fn null_means_left_out_everywhere() {
    let fields = [
        "model",
        "n",
        "stop",
        "max_tokens",
        "max_completion_tokens",
        "stream",
        "stream_options",
        "logprobs",
        "top_logprobs",
        "seed",
        "temperature",
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "top_k",
        "min_p",
        "repetition_penalty",
        "ignore_eos",
        "return_tokens_as_token_ids",
        "reasoning_effort",
        "chat_template_kwargs",
        "thinking",
        "reasoning_format",
        "separate_reasoning",
        "include_reasoning",
        "response_format",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "functions",
        "function_call",
        "modalities",
        "audio",
        "best_of",
        "echo",
        "suffix",
        "prompt_logprobs",
        "chat_template",
        "guided_json",
    ];
    let nulls: Vec<_> = fields.iter().map(|field| format!("\"{field}\":null")).collect();
    let request = chat_of(&nulls.join(",")).unwrap();
    assert_eq!(request.options.output_tokens_max, 4096);
    completion_of(&format!("\"prompt\":\"a\",{}", nulls.join(","))).unwrap();
}

#[test]
fn every_number_is_taken_at_its_limits_and_refused_one_past() {
    let check = |field: &str, taken: &[&str], not: &[&str]| {
        for value in taken {
            chat_of(&format!("\"{field}\":{value}")).unwrap_or_else(|error| panic!("{field}: {value}: {error}"));
        }
        for value in not {
            refused(&format!("\"{field}\":{value}"), field, &[field, "give"]);
        }
    };
    check(
        "n",
        &["1", "8", "8.0"],
        &["0", "9", "-1", "1.5", "\"1\"", "true", "[]", "{}", "1e308"],
    );
    check(
        "temperature",
        &["0", "2", "0.6", "1e-320"],
        &["-0.1", "2.1", "\"1\"", "true", "1e308"],
    );
    check("top_p", &["1", "0.1"], &["0", "1.1", "-1", "1e-320", "\"1\""]);
    check("top_k", &["-1", "0", "1", "4294967295"], &["-2", "4294967296", "1.5"]);
    check("min_p", &["0", "1"], &["-0.1", "1.1"]);
    check("repetition_penalty", &["0.1", "1", "10"], &["0", "-1", "10.1"]);
    check("presence_penalty", &["-2", "2"], &["-2.1", "2.1"]);
    check("frequency_penalty", &["-2", "2"], &["-2.1", "2.1"]);
    check(
        "seed",
        &["-9223372036854775808", "18446744073709551615", "0"],
        &["18446744073709551616", "1.5", "\"1\""],
    );
    check(
        "max_tokens",
        &["1", "100000", "9007199254740992.0"],
        &["0", "-1", "1.5", "\"5\"", "1e308", "true"],
    );
    check("max_completion_tokens", &["1", "100000"], &["0", "-1", "1.5"]);
    for (field, values) in [
        ("stream", "1"),
        ("ignore_eos", "\"true\""),
        ("return_tokens_as_token_ids", "0"),
    ] {
        refused(&format!("\"{field}\":{values}"), field, &["true or false"]);
    }
}

#[test]
fn off_values_and_seeds_arrive_as_they_are_meant() {
    let sampling = |fields: &str| chat_of(fields).unwrap().options.sampling;
    assert_eq!(sampling("\"top_k\":-1").top_k, 0);
    assert_eq!(sampling("\"top_k\":40").top_k, 40);
    assert_eq!(sampling("\"seed\":-1").seed, u64::MAX);
    assert_eq!(sampling("\"seed\":18446744073709551615").seed, u64::MAX);
    assert_eq!(sampling("\"temperature\":0").temperature, 0.0);
}

#[test]
fn the_newer_name_of_the_token_limit_wins() {
    let max = |fields: &str| chat_of(fields).unwrap().options.output_tokens_max;
    assert_eq!(max("\"max_tokens\":5"), 5);
    assert_eq!(max("\"max_tokens\":5,\"max_completion_tokens\":7"), 7);
    assert_eq!(max("\"max_tokens\":100000"), 100_000);
}

#[test]
fn stop_strings_are_few_short_and_not_empty() {
    let stop = |fields: &str| chat_of(fields).unwrap().options.stop;
    assert_eq!(stop("\"stop\":\"a\""), ["a"]);
    assert_eq!(stop("\"stop\":[\"a\",\"你\"]"), ["a", "你"]);
    assert!(stop("\"stop\":[]").is_empty());
    let (longest, longer) = ("你".repeat(64), "x".repeat(65));
    assert_eq!(stop(&format!("\"stop\":\"{longest}\"")), [longest]);
    refused(&format!("\"stop\":\"{longer}\""), "stop", &["65 characters", "1 to 64"]);
    refused("\"stop\":\"\"", "stop", &["0 characters"]);
    refused("\"stop\":[\"a\",\"\"]", "stop[1]", &["0 characters"]);
    refused("\"stop\":[\"a\",1]", "stop[1]", &["stop[1] is 1"]);
    refused(
        "\"stop\":[\"a\",\"b\",\"c\",\"d\",\"e\"]",
        "stop",
        &["a list of 5", "at most 4"],
    );
    refused(
        &format!("\"stop\":[{}]", vec!["\"x\""; 100_000].join(",")),
        "stop",
        &["a list of 100000"],
    );
    refused("\"stop\":1", "stop", &["stop is 1"]);
    refused("\"stop\":{}", "stop", &["an object"]);
}

#[test]
fn logit_bias_is_held_to_the_vocabulary_the_range_and_the_count() {
    let bias = |fields: &str| chat_of(fields).unwrap().options.sampling.logit_bias;
    assert_eq!(
        bias("\"logit_bias\":{\"0\":-100,\"999\":100}"),
        [(0, -100.0), (999, 100.0)]
    );
    assert_eq!(bias("\"logit_bias\":{\"5\":1,\"5\":2}"), [(5, 2.0)]);
    assert!(bias("\"logit_bias\":{}").is_empty());
    refused("\"logit_bias\":{\"1000\":1}", "logit_bias", &["\"1000\"", "0 to 999"]);
    refused("\"logit_bias\":{\"-1\":1}", "logit_bias", &["0 to 999"]);
    refused("\"logit_bias\":{\"hello\":1}", "logit_bias", &["\"hello\""]);
    refused("\"logit_bias\":{\"7\":101}", "logit_bias.7", &["101", "-100 to 100"]);
    refused("\"logit_bias\":{\"7\":null}", "logit_bias.7", &["null"]);
    refused("\"logit_bias\":{\"7\":\"1\"}", "logit_bias.7", &["the text \"1\""]);
    refused("\"logit_bias\":[1]", "logit_bias", &["a list of 1"]);
    let many = |count: usize| {
        let entries: Vec<_> = (0..count).map(|id| format!("\"{id}\":1")).collect();
        format!("\"logit_bias\":{{{}}}", entries.join(","))
    };
    assert_eq!(bias(&many(300)).len(), 300);
    refused(&many(301), "logit_bias", &["301", "at most 300"]);
    refused(&many(100_000), "logit_bias", &["100000"]);
}

#[test]
fn logprobs_have_their_own_shape_at_each_endpoint() {
    let chat_logprobs = |fields: &str| chat_of(fields).unwrap().options.sampling.logprobs;
    assert_eq!(chat_logprobs("\"logprobs\":true"), Some(0));
    assert_eq!(chat_logprobs("\"logprobs\":true,\"top_logprobs\":20"), Some(20));
    assert_eq!(chat_logprobs("\"logprobs\":false,\"top_logprobs\":0"), None);
    refused("\"logprobs\":true,\"top_logprobs\":21", "top_logprobs", &["0 to 20"]);
    refused("\"top_logprobs\":5", "top_logprobs", &["\"logprobs\": true"]);
    refused("\"logprobs\":5", "logprobs", &["true or false"]);
    let completion_logprobs = |fields: &str| {
        completion_of(&format!("\"prompt\":\"a\",{fields}"))
            .unwrap()
            .options
            .sampling
            .logprobs
    };
    assert_eq!(completion_logprobs("\"logprobs\":0"), Some(0));
    assert_eq!(completion_logprobs("\"logprobs\":20"), Some(20));
    completion_refused("\"prompt\":\"a\",\"logprobs\":21", "logprobs", &["0 to 20"]);
    completion_refused("\"prompt\":\"a\",\"logprobs\":true", "logprobs", &["a whole number"]);
}

#[test]
fn a_usage_event_needs_a_stream() {
    let delivery = |fields: &str| chat_of(fields).unwrap().options.delivery;
    assert_eq!(delivery("\"stream\":true"), Delivery::Streamed { usage: false });
    let asked = "\"stream\":true,\"stream_options\":{\"include_usage\":true,\"include_obfuscation\":false}";
    assert_eq!(delivery(asked), Delivery::Streamed { usage: true });
    refused(
        "\"stream_options\":{\"include_usage\":true}",
        "stream_options",
        &["\"stream\": true"],
    );
    refused(
        "\"stream\":true,\"stream_options\":[]",
        "stream_options",
        &["a list of 0"],
    );
    refused(
        "\"stream\":true,\"stream_options\":{\"include_usage\":1}",
        "stream_options.include_usage",
        &["1"],
    );
}
