//! `tandem plan`: what it tells of placements, as a page and as JSON, and what it refuses.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::support::command;

fn plan(arguments: &[&str]) -> Output {
    command()
        .arg("plan")
        .args(arguments)
        .output()
        .expect("the binary starts")
}

/// What is printed by a plan that succeeds.
fn page(arguments: &[&str]) -> String {
    let output = plan(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    assert!(said.is_empty(), "{said}");
    String::from_utf8(output.stdout).expect("text")
}

fn json(arguments: &[&str]) -> Value {
    let page = page(&[arguments, &["--json"]].concat());
    serde_json::from_str(&page).unwrap_or_else(|error| panic!("{error}: {page}"))
}

/// One line on stderr with all `words`, nothing on stdout.
fn check_refused(arguments: &[&str], code: i32, words: &[&str]) {
    let output = plan(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(output.stdout.is_empty());
    for word in words {
        assert!(said.contains(word), "{arguments:?} should speak of {word:?}: {said}");
    }
}

/// A 32b in Q4_K_M as far as its header goes; the weights are a hole in the file.
pub(crate) fn hollow_32b(folder: &Path) -> String {
    const LAYERS: u64 = 64;
    let mut tensors = Vec::new();
    let mut end = 0;
    let mut add = |name: &str, dims: &[u64], (code, block, bytes): (u32, u64, u64)| {
        tensors.extend(text(name));
        tensors.extend(u32::try_from(dims.len()).unwrap().to_le_bytes());
        dims.iter().for_each(|dim| tensors.extend(dim.to_le_bytes()));
        tensors.extend(code.to_le_bytes());
        tensors.extend(u64::to_le_bytes(end));
        end += (dims.iter().product::<u64>() / block * bytes).next_multiple_of(32);
    };
    let (plain, q4, q6) = ((0, 1, 4), (12, 256, 144), (14, 256, 210));
    add("token_embd.weight", &[5120, 152_064], q4);
    for layer in 0..LAYERS {
        let has_more = !(8..56).contains(&layer) || (layer - 8) % 3 == 2;
        let more = if has_more { q6 } else { q4 };
        for (name, dims, kind) in [
            ("attn_q.weight", &[5120, 5120][..], q4),
            ("attn_k.weight", &[5120, 1024], q4),
            ("attn_v.weight", &[5120, 1024], more),
            ("attn_output.weight", &[5120, 5120], q4),
            ("ffn_gate.weight", &[5120, 27_648], q4),
            ("ffn_up.weight", &[5120, 27_648], q4),
            ("ffn_down.weight", &[27_648, 5120], more),
            ("attn_norm.weight", &[5120], plain),
            ("ffn_norm.weight", &[5120], plain),
            ("attn_q.bias", &[5120], plain),
            ("attn_k.bias", &[1024], plain),
            ("attn_v.bias", &[1024], plain),
        ] {
            add(&format!("blk.{layer}.{name}"), dims, kind);
        }
    }
    add("output_norm.weight", &[5120], plain);
    add("output.weight", &[5120, 152_064], q6);
    let mut header = b"GGUF\x03\0\0\0".to_vec();
    header.extend((3 + 12 * LAYERS).to_le_bytes());
    header.extend(13_u64.to_le_bytes());
    header.extend(
        [
            text("general.architecture"),
            8_u32.to_le_bytes().to_vec(),
            text("qwen2"),
        ]
        .concat(),
    );
    for (key, value) in [
        ("block_count", 64_u32),
        ("context_length", 131_072),
        ("embedding_length", 5120),
        ("feed_forward_length", 27_648),
        ("attention.head_count", 40),
        ("attention.head_count_kv", 8),
    ] {
        header.extend(
            [
                text(&format!("qwen2.{key}")),
                [4_u32, value].map(u32::to_le_bytes).concat(),
            ]
            .concat(),
        );
    }
    for (key, value) in [("attention.layer_norm_rms_epsilon", 1e-6_f32), ("rope.freq_base", 1e6)] {
        header.extend([text(&format!("qwen2.{key}")), 6_u32.to_le_bytes().to_vec()].concat());
        header.extend(value.to_le_bytes());
    }
    header.extend([text("general.file_type"), [4_u32, 15].map(u32::to_le_bytes).concat()].concat());
    for (key, value) in [
        ("general.name", "DeepSeek R1 Distill Qwen 32B"),
        ("tokenizer.chat_template", "{{ messages }}<think>"),
    ] {
        header.extend([text(key), 8_u32.to_le_bytes().to_vec(), text(value)].concat());
    }
    let tokens = ["a", "b", "c", "d", "e", "f", "<think>", "</think>"];
    header.extend([text("tokenizer.ggml.tokens"), [9_u32, 8].map(u32::to_le_bytes).concat()].concat());
    header.extend((tokens.len() as u64).to_le_bytes());
    tokens.iter().for_each(|token| header.extend(text(token)));
    header.extend(tensors);
    let path = folder.join("32b.gguf");
    let mut file = File::create(&path).unwrap();
    file.write_all(&header).unwrap();
    file.set_len((header.len() as u64).next_multiple_of(32) + end).unwrap();
    path.to_str().unwrap().to_owned()
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// The row of a placement.
fn row<'a>(plan: &'a Value, placement: &str) -> &'a Value {
    let rows = plan["placements"].as_array().unwrap();
    rows.iter().find(|row| row["placement"] == placement).unwrap()
}

#[test]
fn a_32b_on_two_t4_is_planned_without_reading_its_weights() {
    let folder = tempfile::tempdir().unwrap();
    let model = hollow_32b(folder.path());
    let base = ["--model", &model, "--devices", "t4,t4"];
    let found = json(&base);
    assert_eq!(found["placement"], "tensor");
    assert_eq!(found["engines"], 2);
    assert!(
        row(&found, "replicas")["refusal"]
            .as_str()
            .unwrap()
            .contains("14.74 GB there")
    );
    for placement in ["pipeline", "tensor", "offload"] {
        let row = row(&found, placement);
        assert!(
            row["refusal"].is_null() && row["tokens_per_s"].as_array().unwrap().len() == 5,
            "{row}"
        );
    }
    let memory = found["memory"].as_array().unwrap();
    assert_eq!(memory.len(), 2);
    for memory in memory {
        let bytes = |key: &str| memory[key].as_u64().unwrap();
        let all = bytes("weight_bytes") + bytes("kv_bytes") + bytes("buffer_bytes") + bytes("free_bytes");
        assert_eq!(all, 15_640_000_000, "{memory}");
    }
    for (kv, most) in [("f16", 38_400), ("q8_0", 72_300)] {
        let rooms = found["kv_room"].as_array().unwrap();
        let room = rooms.iter().find(|room| room["kv"] == kv).unwrap();
        let all = 2 * room["tokens_per_engine"].as_u64().unwrap();
        assert!((most * 9 / 10..=most).contains(&all), "{kv}: {all}");
    }
    let page = page(&base);
    for words in ["19.85 GB", "tensor", "one stream gets 21.0", "part 2 of 2", "as q8_0"] {
        assert!(page.contains(words), "{words} is not in\n{page}");
    }
}

#[test]
fn a_32b_that_does_not_fit_is_refused_with_the_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let model = hollow_32b(folder.path());
    let base = ["--model", &model, "--devices"];
    for placement in ["replicas", "pipeline", "tensor"] {
        check_refused(
            &[&base[..], &["t4", "--placement", placement]].concat(),
            2,
            &[
                placement,
                "21.55 GB",
                "14.74 GB",
                "smaller quantisation",
                "--kv q8_0",
                "`context`",
            ],
        );
    }
    let fits = json(&[&base[..], &["t4"]].concat());
    assert_eq!(fits["placement"], "offload");
    assert_eq!(fits["shares"].as_array().unwrap().len(), 2);
    check_refused(
        &[&base[..], &["t4", "--kv-tokens", "1000", "--context", "4096"]].concat(),
        2,
        &["kv_tokens", "4096", "--kv-tokens"],
    );
}

#[test]
fn the_embedded_model_is_planned_on_this_machine_by_default() {
    let found = json(&["--slots", "2", "--context", "256"]);
    assert_eq!(found["model"]["name"], "tandem-tiny");
    assert_eq!(found["placement"], "replicas");
    assert_eq!(found["devices"], serde_json::json!(["cpu", "cpu"]));
    assert_eq!(found["kv_tokens_per_engine"], 512);
    let rates = row(&found, "replicas")["tokens_per_s"].as_array().unwrap();
    assert!(rates[0]["attainable"].as_f64().unwrap() > 0.0, "measured: {rates:?}");
    assert_eq!(found["memory"].as_array().unwrap().len(), 1, "one copy for both");
}

#[test]
fn settings_come_from_the_environment_too() {
    let output = command()
        .args(["plan", "--devices", "t4,t4", "--json"])
        .env("TANDEM_PLACEMENT", "pipeline")
        .env("TANDEM_WEIGHTS", "3,1,1")
        .output()
        .unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&found["placement"], &found["reason"]),
        (&"pipeline".into(), &"asked for".into())
    );
}

#[test]
fn what_no_plan_can_be_made_of_is_refused() {
    check_refused(&["--devices", "t5"], 2, &["t5", "rtx4090", "`cpu`", "--devices"]);
    check_refused(&["--devices", "cuda:0"], 2, &["cuda:0", "without CUDA", "t4"]);
    check_refused(
        &["--devices", "t4", "--placement", "best"],
        2,
        &["best", "auto", "tensor"],
    );
    check_refused(&["--devices", "t4", "--kv", "q4"], 2, &["q4", "q8_0"]);
    check_refused(
        &["--devices", "t4", "--context", "9999999"],
        2,
        &["9999999", "--context"],
    );
    check_refused(&["--devices", "t4", "--model", "/no/such.gguf"], 4, &["/no/such.gguf"]);
    let (most, more) = (["t4"; 4].join(","), ["t4"; 5].join(","));
    page(&["--devices", &most, "--placement", "pipeline"]);
    check_refused(
        &["--devices", &more, "--placement", "pipeline"],
        2,
        &["4 layers", "5 devices"],
    );
    check_refused(
        &["--devices", "t4,t4,t4", "--placement", "tensor"],
        2,
        &["2 key and value heads", "3 devices"],
    );
}

#[test]
fn a_server_takes_the_placement_it_is_told_and_refuses_what_it_cannot() {
    let serve = |arguments: &[&str]| {
        let output = command()
            .args(arguments)
            .args(["--listen", "127.0.0.1:0"])
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, said) = serve(&["--placement", "best"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("best") && said.contains("offload"), "{said}");
    let (code, said) = serve(&["--devices", "cuda:0"]);
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("without CUDA"), "{said}");
    let (code, said) = serve(&["--devices", "cpu@1M,cpu@1M", "--placement", "replicas"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("cpu@1M") && said.contains("MB are there"), "{said}");
}
