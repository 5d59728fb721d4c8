//! The times and speeds of one answer, as Ollama's `--verbose` lists them.

use serde_json::Value;

/// Lines for the last object of an answer; what it does not say is left out.
pub(super) fn page(last: &Value) -> String {
    let number = |key: &str| last.get(key).and_then(Value::as_u64);
    let mut rows: Vec<(&str, String)> = Vec::new();
    let mut time = |name, key| rows.extend(number(key).map(|nanoseconds| (name, duration(nanoseconds))));
    time("total duration:", "total_duration");
    time("load duration:", "load_duration");
    for (names, count, time) in [
        (
            ["prompt eval count:", "prompt eval duration:", "prompt eval rate:"],
            number("prompt_eval_count"),
            number("prompt_eval_duration"),
        ),
        (
            ["eval count:", "eval duration:", "eval rate:"],
            number("eval_count"),
            number("eval_duration"),
        ),
    ] {
        let [count_name, time_name, rate_name] = names;
        rows.extend(count.map(|count| (count_name, format!("{count} token(s)"))));
        let (Some(count), Some(time @ 1..)) = (count, time) else {
            continue;
        };
        rows.push((time_name, duration(time)));
        rows.push((rate_name, format!("{:.2} tokens/s", count as f64 * 1e9 / time as f64)));
    }
    rows.into_iter()
        .map(|(name, value)| format!("{name:<21} {value}\n"))
        .collect()
}

/// `812µs`, `61.2ms`, `1.61s`, `2m3.4s`.
fn duration(nanoseconds: u64) -> String {
    let seconds = nanoseconds as f64 / 1e9;
    match nanoseconds {
        0..1_000_000 => format!("{:.0}µs", seconds * 1e6),
        1_000_000..1_000_000_000 => format!("{:.1}ms", seconds * 1e3),
        1_000_000_000..60_000_000_000 => format!("{seconds:.2}s"),
        _ => format!(
            "{}m{:.1}s",
            nanoseconds / 60_000_000_000,
            (nanoseconds % 60_000_000_000) as f64 / 1e9
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_is_ollamas() {
        let last = json!({
            "done": true, "total_duration": 123_400_000_000_u64, "load_duration": 61_240_000, "prompt_eval_count": 26,
            "prompt_eval_duration": 130_000_000, "eval_count": 100, "eval_duration": 2_000_000_000_u64,
        });
        let expected = "\
total duration:       2m3.4s
load duration:        61.2ms
prompt eval count:    26 token(s)
prompt eval duration: 130.0ms
prompt eval rate:     200.00 tokens/s
eval count:           100 token(s)
eval duration:        2.00s
eval rate:            50.00 tokens/s
";
        assert_eq!(page(&last), expected);
        assert_eq!(
            page(&json!({"eval_count": 1, "eval_duration": 0})),
            "eval count:           1 token(s)\n"
        );
    }
}
