//! Every field as everything it should not be (CVE-2026-21869: a negative number from JSON that became an index).

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const NUMERIC_FIELDS: [&str; 25] = [
    "n",
    "max_tokens",
    "max_completion_tokens",
    "top_logprobs",
    "logprobs",
    "seed",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "top_k",
    "min_p",
    "repetition_penalty",
    "best_of",
    "prompt_logprobs",
    "min_tokens",
    "stream",
    "stop",
    "logit_bias",
    "ignore_eos",
    "echo",
    "model",
    "reasoning_effort",
    "thinking",
    "parallel_tool_calls",
];

const HOSTILE_VALUES: [&str; 22] = [
    "-9223372036854775808",
    "-9223372036854775809",
    "-1",
    "0",
    "1",
    "2",
    "20",
    "21",
    "100",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "-1e308",
    "\"NaN\"",
    "1.5",
    "\"5\"",
    "null",
    "true",
    "[]",
    "{}",
];

/// What passes the checks must be what the engine is made for.
fn assert_in_range(fields: &str, options: &Options) {
    let Options {
        choices,
        output_tokens_max,
        sampling,
        stop,
        ..
    } = options;
    assert!((1..=8).contains(choices), "{fields}: n {choices}");
    assert!(*output_tokens_max >= 1, "{fields}: {output_tokens_max} tokens");
    assert!(
        (0.0..=2.0).contains(&sampling.temperature),
        "{fields}: temperature {}",
        sampling.temperature
    );
    assert!(
        sampling.top_p > 0.0 && sampling.top_p <= 1.0,
        "{fields}: top_p {}",
        sampling.top_p
    );
    assert!(
        (0.0..=1.0).contains(&sampling.min_p),
        "{fields}: min_p {}",
        sampling.min_p
    );
    assert!(
        (0.1..=10.0).contains(&sampling.repetition_penalty),
        "{fields}: {}",
        sampling.repetition_penalty
    );
    for penalty in [sampling.presence_penalty, sampling.frequency_penalty] {
        assert!((-2.0..=2.0).contains(&penalty), "{fields}: {penalty}");
    }
    assert!(
        sampling.logprobs.is_none_or(|top| top <= 20),
        "{fields}: {:?}",
        sampling.logprobs
    );
    assert!(stop.iter().all(|text| !text.is_empty()), "{fields}: {stop:?}");
}

fn assert_taken_or_refused(fields: &str) {
    let outcomes = [
        chat_of(fields).map(|request| request.options),
        completion_of(&format!("\"prompt\":\"a\",{fields}")).map(|request| request.options),
    ];
    for outcome in outcomes {
        match outcome {
            Ok(options) => assert_in_range(fields, &options),
            Err(error) => {
                assert_eq!(error.status(), 400, "{fields}: {error}");
                assert!(error.to_json().len() <= 1024, "{fields}");
            }
        }
    }
}

#[test]
fn every_field_takes_or_refuses_every_hostile_value() {
    for field in NUMERIC_FIELDS {
        for value in HOSTILE_VALUES {
            assert_taken_or_refused(&format!("\"{field}\":{value}"));
        }
    }
}

proptest! {
    /// The seed of a failing case is printed by proptest.
    #[test]
    fn any_mixture_of_fields_and_values_is_taken_or_refused(
        mut fields in proptest::sample::subsequence(NUMERIC_FIELDS.to_vec(), 0..8),
        values in proptest::collection::vec(select(HOSTILE_VALUES.to_vec()), 8),
        number in any::<f64>(),
    ) {
        fields.sort_unstable();
        let pairs = fields.iter().zip(values).map(|(field, value)| format!("\"{field}\":{value}"));
        let number = if number.is_finite() { format!(",\"temperature_\":{number:?},\"x\":{number:?}") } else { String::new() };
        let pairs: Vec<_> = pairs.collect();
        assert_taken_or_refused(&format!("\"y\":0{number}{}{}", if pairs.is_empty() { "" } else { "," }, pairs.join(",")));
    }

    #[test]
    fn any_number_is_taken_or_refused_in_any_numeric_field(
        field in select(NUMERIC_FIELDS[..16].to_vec()),
        number in prop_oneof![any::<f64>().prop_map(|n| format!("{n:?}")), any::<i64>().prop_map(|n| n.to_string())],
    ) {
        if !number.contains(['N', 'i']) {
            assert_taken_or_refused(&format!("\"{field}\":{number}"));
        }
    }

    #[test]
    fn any_bytes_parse_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Err(error) = parse::<GenerateRequest>(&bytes) {
            prop_assert_eq!(error.status(), 400);
            prop_assert!(error.to_json().len() <= 1024);
        }
    }
}
