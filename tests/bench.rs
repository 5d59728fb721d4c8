//! `tandem bench` on the embedded model: every figure is there and agrees with the others, and the picture is one.
//!
//! How fast anything is, no test says.

use std::os::unix::process::ExitStatusExt;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::support::command;

/// Sizes so small that nothing takes long.
const SMALL: [&str; 10] = [
    "--prompt-tokens",
    "24",
    "--decode-tokens",
    "3",
    "--history-tokens",
    "96",
    "--batch",
    "1,3",
    "--rounds",
    "2",
];

fn bench(arguments: &[&str]) -> Output {
    command()
        .arg("bench")
        .args(arguments)
        .output()
        .expect("the binary starts")
}

fn figures(arguments: &[&str]) -> Value {
    let output = bench(&[&SMALL, arguments, &["--json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert_eq!(said, "", "nothing but the report without a terminal");
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

/// The number at a path such as `/prefill/seconds`: finite and above 0.
fn number(figures: &Value, path: &str) -> f64 {
    let value = figures
        .pointer(path)
        .unwrap_or_else(|| panic!("{path} is missing in {figures:#}"));
    let number = value.as_f64().unwrap_or_else(|| panic!("{path} is {value}"));
    assert!(number.is_finite() && number > 0.0, "{path} is {number}");
    number
}

fn check_close(what: &str, found: f64, expected: f64) {
    assert!(
        (found / expected - 1.0).abs() < 1e-6,
        "{what}: {found} is not {expected}"
    );
}

#[test]
fn every_figure_is_there_and_agrees_with_the_others() {
    let figures = figures(&["--threads", "2"]);
    let get = |path: &str| number(&figures, path);
    for (path, expected) in [
        ("/prefill/tokens", 24.0),
        ("/decode/after_tokens", 24.0),
        ("/decode/tokens", 3.0),
        ("/rounds", 2.0),
        ("/machine/threads", 2.0),
        ("/first_token/prompt_tokens", 64.0),
        ("/second_turn/history_tokens", 96.0),
        ("/second_turn/prompt_tokens", 96.0 + 16.0 + 16.0),
        // All blocks of the history, none of the reply, whose last token was never computed.
        ("/second_turn/cached_tokens", 96.0),
    ] {
        check_close(path, get(path), expected);
    }
    assert_eq!(figures["model"]["name"], "tandem-tiny");
    assert_eq!(figures["model"]["architecture"], "qwen2");
    assert!(
        figures["model"]["quantisation"]
            .as_str()
            .is_some_and(|name| name.starts_with('Q'))
    );
    assert!(get("/seed") > 0.0 && get("/model/parameters") > 1e6);

    let (memory, int8) = (
        get("/machine/memory_read_gb_per_s") * 1e9,
        get("/machine/int8_gop_per_s") * 1e9,
    );
    let (bytes, operations) = (get("/model/step_bytes"), 2.0 * get("/model/token_multiply_adds"));
    assert!(bytes <= get("/model/weight_bytes"));
    check_close(
        "load",
        get("/load/seconds"),
        get("/load/seconds_per_gb") * get("/model/weight_bytes") / 1e9,
    );
    check_close("prefill", get("/prefill/tokens_per_s"), 24.0 / get("/prefill/seconds"));
    let at_most = 24.0 * operations / int8 / get("/prefill/seconds");
    assert!(
        get("/prefill/int8_share") < at_most,
        "only the last token's successor is computed"
    );
    check_close("decode", get("/decode/tokens_per_s"), 3.0 / get("/decode/seconds"));
    check_close(
        "decode's memory",
        get("/decode/memory_share"),
        get("/decode/tokens_per_s") * bytes / memory,
    );
    check_close(
        "decode's int8",
        get("/decode/int8_share"),
        get("/decode/tokens_per_s") * operations / int8,
    );
    for (index, sequences) in [(0, 1.0), (1, 3.0)] {
        let of = |field: &str| get(&format!("/batches/{index}/{field}"));
        check_close("sequences", of("sequences"), sequences);
        check_close("steps", of("steps"), 3.0);
        check_close("rate", of("tokens_per_s"), sequences / of("step_seconds"));
        check_close("memory", of("memory_share"), bytes / memory / of("step_seconds"));
        check_close("int8", of("int8_share"), of("tokens_per_s") * operations / int8);
        check_close(
            "limit",
            of("limit_tokens_per_s"),
            (sequences * memory / bytes).min(int8 / operations),
        );
    }
    assert_eq!(figures["batches"].as_array().map(Vec::len), Some(2));
    get("/first_token/seconds");
    check_close(
        "second turn",
        get("/second_turn/share_of_first_turn"),
        get("/second_turn/seconds") / get("/second_turn/first_turn_seconds"),
    );
    if cfg!(target_os = "linux") {
        assert!(get("/peak_memory_bytes") > get("/model/weight_bytes"));
    } else {
        assert!(figures["peak_memory_bytes"].is_null());
    }
}

#[test]
fn the_table_and_the_picture_show_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("batch.svg");
    let output = bench(&[&SMALL, &["tiny", "--plot", picture.to_str().unwrap()] as &[&str]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = String::from_utf8(output.stdout).unwrap();
    for words in [
        "tandem-tiny",
        "tokens/s",
        "3 sequences",
        "second turn",
        "GB/s read from memory",
    ] {
        assert!(table.contains(words), "{words} is not in\n{table}");
    }
    assert!(!table.contains('\x1b'), "no colours without a terminal:\n{table}");
    let drawing = std::fs::read_to_string(&picture).unwrap();
    let document = roxmltree::Document::parse(&drawing).expect("the picture is XML");
    assert!(document.root_element().has_tag_name("svg"));
    let mut texts = document.descendants().filter_map(|node| node.text());
    assert!(texts.any(|text| text.contains("tandem-tiny")));
}

#[test]
fn what_cannot_be_measured_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no.gguf").to_str().unwrap().to_owned();
    for (arguments, code, words) in [
        (
            &["--rounds", "0"] as &[&str],
            2,
            &["--rounds", "from 1 to 1000"] as &[&str],
        ),
        (&["--batch", "2,1"], 2, &["--batch", "rising"]),
        (&["--prompt-tokens", "60000"], 2, &["--prompt-tokens", "the model has"]),
        (
            &["--history-tokens", "60000"],
            2,
            &["--history-tokens", "the model has"],
        ),
        (&["--plot", "/no/such/folder/a.svg"], 2, &["/no/such/folder", "--plot"]),
        (&["--slots", "3"], 2, &["--slots"]),
        (&["--no-such-flag"], 2, &["--no-such-flag"]),
        (&[&missing], 4, &["no.gguf"]),
    ] {
        let output = bench(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(
            output.stdout.is_empty() && !said.contains("panicked"),
            "{arguments:?}: {said}"
        );
        for word in words {
            assert!(said.contains(word), "{arguments:?} should speak of {word:?}: {said}");
        }
    }
}

#[test]
fn a_signal_ends_it_at_once() {
    let mut child = command()
        .args(["bench", "--rounds", "1000", "--decode-tokens", "3000"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let signal = format!("kill -TERM {}", child.id());
    assert!(
        std::process::Command::new("sh")
            .args(["-c", &signal])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(child.wait().unwrap().signal(), Some(15));
}
