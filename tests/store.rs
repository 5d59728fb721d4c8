//! Models by name out of an Ollama model store: served, planned, listed and shown, and what is said of a store that
//! something has happened to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::*;

/// The paths, lengths and contents below `folder`.
fn snapshot(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(snapshot(&path));
        } else {
            let digest = hex(&fs::read(&path).unwrap());
            found.push((path, digest));
        }
    }
    found.sort();
    found
}

#[test]
fn a_model_is_served_by_its_name_and_nothing_in_the_store_changes() {
    let store = Store::new();
    fs::write(store.folder.path().join("blobs/sha256-0-partial"), "rest").unwrap();
    let before = snapshot(store.folder.path());
    let server = store.serve("deepseek-r1:32b");
    let models = server.get("/v1/models").ok();
    assert_eq!(models["data"][0]["id"], "deepseek-r1:32b", "{models}");
    for name in [
        "deepseek-r1:32b",
        "registry.ollama.ai/library/deepseek-r1:32b",
        "default",
    ] {
        let reply = server.post(CHAT, &with(chat(ADD_PROGRAM), json!({"model": name}))).ok();
        assert!(answer(&reply).text.contains("def add"), "{name}: {reply}");
    }
    let said = server.said();
    assert!(said.contains("Go template"), "{said}");
    drop(server);
    assert_eq!(snapshot(store.folder.path()), before);
}

#[test]
fn the_usual_tag_need_not_be_said_and_a_system_text_stands_where_a_conversation_has_none() {
    let store = Store::new();
    let server = store.serve("small");
    let models = server.get("/v1/models").ok();
    assert_eq!(models["data"][0]["id"], "small:latest", "{models}");
    for name in ["small", "small:latest"] {
        server.post(CHAT, &with(chat("1 + 1"), json!({"model": name}))).ok();
    }
    let prompt_tokens = |request: Value| {
        server.post(CHAT, &request).ok()["usage"]["prompt_tokens"]
            .as_u64()
            .unwrap()
    };
    let own = json!({"messages": [{"role": "system", "content": ""}, {"role": "user", "content": "1 + 1"}]});
    assert!(prompt_tokens(chat("1 + 1")) > prompt_tokens(with(chat(""), own)));
}

#[test]
fn the_stores_temperature_stands_where_a_request_says_none() {
    let store = Store::new();
    let server = store.serve("deepseek-r1:32b");
    let request = json!({"model": "default", "messages": [{"role": "user", "content": "47 + 38"}]});
    let first = answer(&server.post(CHAT, &request).ok());
    let greedy = answer(
        &server
            .post(CHAT, &with(request.clone(), json!({"temperature": 0})))
            .ok(),
    );
    assert_eq!(first, greedy);
}

#[test]
fn the_stores_stop_strings_stand_where_a_request_says_none() {
    let store = Store::new();
    let model = ("model", fs::read(TINY).unwrap());
    store.add(
        "stopping/latest",
        &[model, ("params", br#"{"stop":["def "]}"#.to_vec())],
    );
    let server = store.serve("stopping");
    let stopped = answer(&server.post(CHAT, &chat(ADD_PROGRAM)).ok());
    let whole = answer(&server.post(CHAT, &with(chat(ADD_PROGRAM), json!({"stop": []}))).ok());
    assert!(whole.text.contains("def "), "{whole:?}");
    assert_eq!(Some(stopped.text.as_str()), whole.text.split("def ").next());
}

#[test]
fn the_list_has_the_columns_that_ollama_has() {
    let store = Store::new();
    let page = store.page(&["list"]);
    let mut lines = page.lines();
    let head: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["NAME", "ID", "SIZE", "MODIFIED"]);
    let line = lines
        .find(|line| line.starts_with("deepseek-r1:32b "))
        .expect("the model");
    let id = hex(&fs::read(store.manifest("deepseek-r1/32b")).unwrap());
    assert!(line.contains(&format!("    {}    ", &id[..12])), "{line}");
    assert!(line.contains(" MB    ") && line.ends_with(" ago"), "{line}");
    assert!(page.contains("small:latest"), "{page}");
    assert_eq!(store.page(&["ls"]).lines().count(), page.lines().count());
}

#[test]
fn a_manifest_that_cannot_be_read_is_left_out_of_the_list_with_a_warning() {
    let store = Store::new();
    fs::write(store.manifest("small/latest"), "no manifest").unwrap();
    let output = store.run(&["list"]);
    let (page, said) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success() && page.contains("deepseek-r1:32b"),
        "{page}{said}"
    );
    assert!(
        !page.contains("small:latest") && said.starts_with("warning: "),
        "{page}{said}"
    );
}

#[test]
fn a_model_is_shown_without_loading_it() {
    let store = Store::new();
    let page = store.page(&["show", "deepseek-r1:32b"]);
    for line in [
        "  Model",
        "    architecture        qwen2",
        "    quantization        Q4_K_M",
        "  Parameters",
        "    stop           \"<｜User｜>\"",
        "    temperature    0",
        "  License",
        "    MIT License",
    ] {
        assert!(page.lines().any(|found| found == line), "{line:?} in {page}");
    }
    let shown: Value = serde_json::from_str(&store.page(&["show", "DeepSeek-R1:32b", "--json"])).unwrap();
    assert_eq!(shown["architecture"], "qwen2", "{shown}");
    assert_eq!(shown["template"]["is_known"], false);
    assert_eq!(shown["parameters"]["temperature"], 0);
    assert!(
        shown["context_length"].is_u64() && shown["embedding_length"].is_u64(),
        "{shown}"
    );
    assert_eq!(shown["id"], hex(&fs::read(store.manifest("deepseek-r1/32b")).unwrap()));
    assert!(store.page(&["show", TINY]).contains("qwen2"));
    assert!(store.page(&["show", "tiny"]).contains("qwen2"));
}

#[test]
fn a_plan_and_a_bench_take_names_too() {
    let store = Store::new();
    let plan: Value = serde_json::from_str(&store.page(&["plan", "--model", "deepseek-r1:32b", "--json"])).unwrap();
    assert_eq!(plan["model"]["name"], "deepseek-r1:32b");
    let output = store.run(&["bench", "no-such-model"]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
}

#[test]
fn a_store_that_something_has_happened_to_is_one_clear_line() {
    let store = Store::new();
    store.check_refused("deepseek-r1:7b", 4, &["deepseek-r1:7b", "did you mean deepseek-r1:32b"]);
    fs::write(store.blob(TEMPLATE), b"{{ .prompt }}").unwrap();
    store.check_refused("deepseek-r1:32b", 4, &["template", "other content"]);
    let model = store.model();
    fs::write(&model, b"GGUF").unwrap();
    store.check_refused("small", 4, &["has 4 bytes", "pull the model again"]);
    fs::remove_file(&model).unwrap();
    store.check_refused("small", 4, &["lacks its model file", "pull the model again"]);
    assert!(Command::new("mkfifo").arg(&model).status().unwrap().success());
    store.check_refused("small", 4, &["is a pipe"]);
    fs::write(store.manifest("small/latest"), b"no manifest").unwrap();
    store.check_refused("small", 4, &["is not a manifest", "pull the model again"]);
}

#[test]
fn a_name_that_would_lead_elsewhere_is_one_clear_line() {
    let store = Store::new();
    store.check_refused("../../etc/no-such-file", 4, &["../../etc/no-such-file"]);
    store.check_refused("a/../../b:c", 4, &["a/../../b:c"]);
    store.check_refused("..:x", 2, &["..:x", "is no model's name"]);
}

#[test]
fn our_own_store_is_looked_at_before_ollamas() {
    let (theirs, ours) = (Store::new(), Store::new());
    let model = ("model", fs::read(TINY).unwrap());
    ours.add("small/latest", &[model.clone(), ("system", b"Ours.".to_vec())]);
    ours.add("alone/latest", &[model]);
    let before = snapshot(ours.folder.path());
    let shown = |command: &mut Command| -> Value {
        let output = command.output().expect("the binary starts");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    };
    let show = ["show", "small", "--json"];
    assert_eq!(shown(&mut theirs.command(&show))["system"], "You are brief.");
    let own = shown(theirs.command(&show).env("TANDEM_STORE", ours.folder.path()));
    assert_eq!(own["system"], "Ours.");
    let store = ours.folder.path().to_str().unwrap();
    let plan = shown(&mut theirs.command(&["plan", "--model", "alone", "--store", store, "--json"]));
    assert_eq!(plan["model"]["name"], "alone:latest", "{plan}");
    assert_eq!(snapshot(ours.folder.path()), before);
}

#[test]
fn a_model_of_the_hubs_cache_is_served_by_its_name() {
    let store = Store::new();
    let repo = store.folder.path().join(".cache/huggingface/hub/models--me--Tiny-GGUF");
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let snapshot = repo.join("snapshots").join(commit);
    for folder in ["refs", "blobs"] {
        fs::create_dir_all(repo.join(folder)).unwrap();
    }
    fs::create_dir_all(&snapshot).unwrap();
    fs::write(repo.join("refs/main"), commit).unwrap();
    fs::copy(TINY, repo.join("blobs/abc")).unwrap();
    std::os::unix::fs::symlink("../../blobs/abc", snapshot.join("tiny-Q4_K_M.gguf")).unwrap();
    let server = store.serve("hf:me/Tiny-GGUF");
    let name = "hf:me/Tiny-GGUF";
    assert_eq!(server.get("/v1/models").ok()["data"][0]["id"], name);
    server.post(CHAT, &with(chat("1 + 1"), json!({"model": name}))).ok();
    assert!(store.page(&["show", "hf:me/Tiny-GGUF:Q4_K_M"]).contains("qwen2"));
    store.check_refused(
        "hf:me/Tiny-GGUF:Q8_0",
        4,
        &["has no such file; it has tiny-Q4_K_M.gguf"],
    );
    store.check_refused("hf:me/other", 4, &["hf:me/other is not in", "tandem pull hf:me/other"]);
    store.check_refused("hf:../x", 2, &["is no model of the Hugging Face hub"]);
    fs::remove_file(snapshot.join("tiny-Q4_K_M.gguf")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", snapshot.join("tiny-Q4_K_M.gguf")).unwrap();
    store.check_refused("hf:me/Tiny-GGUF", 4, &["lies outside of the cache"]);
}

#[test]
fn a_model_in_two_files_answers_as_the_whole_one() {
    let store = Store::new();
    let parts = split_gguf(&fs::read(TINY).unwrap(), 5);
    let path = |number: usize| store.folder.path().join(format!("tiny-0000{number}-of-00002.gguf"));
    fs::write(path(1), &parts[0]).unwrap();
    fs::write(path(2), &parts[1]).unwrap();
    let request = with(chat(ADD_PROGRAM), json!({"temperature": 0}));
    let whole = answer(&store.serve("tiny").post(CHAT, &request).ok());
    let split = answer(&store.serve(path(1).to_str().unwrap()).post(CHAT, &request).ok());
    assert_eq!(whole, split);
    store.check_refused(
        path(2).to_str().unwrap(),
        4,
        &["is part 2 of 2", "tiny-00001-of-00002.gguf"],
    );
    fs::remove_file(path(2)).unwrap();
    store.check_refused(
        path(1).to_str().unwrap(),
        4,
        &["not beside it", "tiny-00002-of-00002.gguf"],
    );
}
