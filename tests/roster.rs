//! Several models in one process: loaded when they are asked for, by any of their names, one making room for the other.

use std::collections::BTreeMap;
use std::fs;
use std::thread;

use serde_json::{Value, json};

use crate::support::*;

/// A store with `first:latest` and `second:latest`: the tiny model twice, told apart by a byte of its name.
fn two_models() -> Store {
    let store = Store::new();
    let first = fs::read(TINY).unwrap();
    let mut second = first.clone();
    let name = b"general.name";
    let at = first.windows(name.len()).position(|window| window == name).unwrap();
    // After the key: the kind of value (4 bytes), its length (8), its letters.
    second[at + name.len() + 12] = b'T';
    assert_ne!(first, second);
    store.add("first/latest", &[("model", first)]);
    store.add(
        "second/latest",
        &[("model", second), ("params", br#"{"temperature":0}"#.to_vec())],
    );
    store
}

fn ask(model: &str) -> Value {
    with(chat("2 + 3"), json!({"model": model, "max_tokens": 4}))
}

/// What tells one loaded model from another.
fn fingerprint(reply: &Value) -> String {
    reply["system_fingerprint"].as_str().unwrap().to_owned()
}

#[test]
fn two_models_that_take_turns_lose_no_request_and_mix_none_up() {
    let store = two_models();
    let server = store.serve_with("first", &["--loaded-models", "1"]);
    let names = ["first", "second"];
    let known: BTreeMap<&str, String> = names
        .map(|name| (name, fingerprint(&server.post(CHAT, &ask(name)).ok())))
        .into();
    assert_ne!(known["first"], known["second"]);
    thread::scope(|scope| {
        for client in 0..4 {
            let (server, known) = (&server, &known);
            scope.spawn(move || {
                for turn in 0..4 {
                    let name = names[(client + turn) % 2];
                    let request = ask(name);
                    if turn % 2 == 0 {
                        let reply = server.post(CHAT, &request).ok();
                        assert_eq!(fingerprint(&reply), known[name], "{reply}");
                    } else {
                        let mut events = server.stream(CHAT, &with(request, json!({"stream": true})));
                        let first: Value = serde_json::from_str(&events.next().unwrap()).unwrap();
                        assert_eq!(fingerprint(&first), known[name], "{first}");
                        assert_eq!(events.last().as_deref(), Some("[DONE]"));
                    }
                }
            });
        }
    });
}

#[test]
fn models_that_do_not_fit_together_take_turns_too() {
    let store = two_models();
    // Where nobody says how they lie, the processor takes over nothing that a device can hold when another has left.
    for placement in ["replicas", "auto"] {
        let server = store.serve_with(
            "first",
            &[
                "--devices",
                "cpu@3M",
                "--placement",
                placement,
                "--context",
                "64",
                "--slots",
                "1",
            ],
        );
        for name in ["second", "first", "second"] {
            server.post(CHAT, &ask(name)).ok();
            let models = server.get("/metrics").text();
            let loaded = models.lines().filter(|line| line.starts_with("tandem_up_engines{"));
            assert_eq!(loaded.count(), 1, "{models}");
        }
    }
}

#[test]
fn a_model_that_was_loaded_on_demand_leaves_after_its_time_and_comes_back() {
    let store = two_models();
    let server = store.serve_with("first", &["--keep-alive", "0"]);
    for _ in 0..2 {
        server.post(CHAT, &ask("second")).ok();
        let is_there = |model: &str| {
            let page = server.get("/metrics").text();
            page.contains(&format!("tandem_up_engines{{model=\"{model}:latest\"}}"))
        };
        wait_until("the model has left", || !is_there("second"));
        assert!(is_there("first"), "the configured model stays");
    }
    server.wait_until_said("unloaded a model");
}

#[test]
fn two_names_of_one_file_share_the_engines_and_keep_their_own_values() {
    let store = two_models();
    let mut second = fs::read(TINY).unwrap();
    let name = b"general.name";
    let at = second.windows(name.len()).position(|window| window == name).unwrap();
    second[at + name.len() + 12] = b'T';
    store.add(
        "greedy/latest",
        &[("model", second), ("params", br#"{"stop":["def "]}"#.to_vec())],
    );
    let server = store.serve_with("second", &[]);
    let text = |model: &str| {
        answer(
            &server
                .post(CHAT, &with(chat(ADD_PROGRAM), json!({"model": model})))
                .ok(),
        )
        .text
    };
    let (whole, stopped) = (text("second"), text("greedy"));
    assert_eq!(Some(stopped.as_str()), whole.split("def ").next());
    let page = server.get("/metrics").text();
    let loaded = page.lines().filter(|line| line.starts_with("tandem_up_engines{"));
    assert_eq!(loaded.count(), 1, "{page}");
}

#[test]
fn aliases_and_nothink_lead_to_a_model_and_other_names_only_where_any_is_allowed() {
    let server = Server::with(&["--aliases", "gpt-4o-mini=default:nothink,gpt-4=tiny"]);
    let reply = |model: &str| server.post(CHAT, &with(chat("2 + 3"), json!({"model": model})));
    let thought = answer(&reply("gpt-4").ok());
    assert!(!thought.thought.is_empty(), "{thought:?}");
    for name in ["gpt-4o-mini", "tiny:nothink", "GPT-4:nothink"] {
        let none = answer(&reply(name).ok());
        assert!(none.thought.is_empty() && !none.text.is_empty(), "{name}: {none:?}");
        assert_eq!(reply(name).ok()["model"], name);
    }
    let refused = reply("gpt-5");
    assert_eq!(refused.status, 404);
    assert!(refused.text().contains("gpt-4o-mini"), "{}", refused.text());
    let server = Server::with(&["--any-model"]);
    server
        .post(CHAT, &with(chat("2 + 3"), json!({"model": "gpt-5-nano"})))
        .ok();
}

#[test]
fn aliases_may_be_a_table_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tandem.toml");
    fs::write(
        &file,
        "[aliases]\ngpt-4o-mini = \"default:nothink\"\n\"gpt-4.1-mini\" = \"tiny\"\n",
    )
    .unwrap();
    let server = Server::with(&["--config", file.to_str().unwrap()]);
    for name in ["gpt-4o-mini", "gpt-4.1-mini"] {
        server.post(CHAT, &with(chat("2 + 3"), json!({"model": name}))).ok();
    }
}

#[test]
fn lists_hold_what_may_be_asked_for_and_nothing_is_loaded_for_them() {
    let store = Store::new();
    let aliases = [
        "--aliases",
        "gpt-4o-mini=deepseek-r1:32b:nothink,small=default,nobody=no-such-model",
    ];
    let server = store.serve_with("tiny", &aliases);
    let openai = |server: &Server| {
        let list = server.get("/v1/models").ok();
        let models = list["data"].as_array().unwrap().clone();
        let id = |model: &Value| model["id"].as_str().unwrap().to_owned();
        (models.iter().map(id).collect::<Vec<_>>(), models)
    };
    let ollama = |server: &Server| {
        let tags = server.get("/api/tags").ok();
        let models = tags["models"].as_array().unwrap().clone();
        models
            .iter()
            .map(|model| model["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let (ids, models) = openai(&server);
    assert_eq!(ids, ["tandem-tiny", "deepseek-r1:32b", "gpt-4o-mini", "small"]);
    let context = |index: usize| models[index]["max_model_len"].as_u64();
    assert_eq!((context(0), context(1), context(2)), (Some(4096), None, None));
    assert_eq!(context(3), context(0), "{models:?}");
    let mut tags = ollama(&server);
    tags.sort();
    assert_eq!(
        tags,
        [
            "deepseek-r1:32b",
            "gpt-4o-mini:latest",
            "small:latest",
            "tandem-tiny:latest"
        ]
    );
    for (id, model) in ids.iter().zip(&models) {
        assert_eq!(server.get(&format!("/v1/models/{id}")).ok(), *model);
    }
    for name in tags {
        server.post("/api/show", &json!({"model": name})).ok();
        let asked = json!({"model": name, "prompt": "1+1", "stream": false});
        server
            .post("/api/generate", &with(asked, json!({"options": {"num_predict": 1}})))
            .ok();
    }
    assert_eq!(openai(&server).1[1]["max_model_len"], 4096, "it is loaded now");

    let server = store.serve_with(
        "tiny",
        &["--on-demand=false", "--aliases", "gpt-4o-mini=tiny,small=small:latest"],
    );
    assert_eq!(openai(&server).0, ["tandem-tiny", "gpt-4o-mini"]);
    assert_eq!(ollama(&server), ["tandem-tiny:latest", "gpt-4o-mini:latest"]);
}

#[test]
fn a_stores_model_of_the_name_is_taken_before_the_embedded_one_that_stands_in() {
    let store = Store::new();
    let server = store.serve_with("tiny", &[]);
    let tiny = fingerprint(&server.post(CHAT, &ask("tiny")).ok());
    let stored = fingerprint(&server.post(CHAT, &ask("deepseek-r1:32b")).ok());
    assert_ne!(tiny, stored);
    let server = store.serve_with("tiny", &["--on-demand=false"]);
    assert_eq!(tiny, fingerprint(&server.post(CHAT, &ask("deepseek-r1:32b")).ok()));
    assert_eq!(server.post(CHAT, &ask("small")).status, 404);
}

#[test]
fn a_model_that_cannot_be_loaded_is_an_error_that_names_no_file() {
    let store = two_models();
    let server = store.serve_with("first", &[]);
    let mut cut = fs::read(TINY).unwrap();
    cut.truncate(cut.len() / 2);
    store.add("cut/latest", &[("model", cut)]);
    store.add("missing/latest", &[("model", b"GGUF and more".to_vec())]);
    fs::remove_file(store.blob(b"GGUF and more")).unwrap();
    // A stream's headers wait for a moment, so that what is known by then has its status.
    for (name, stream) in [("cut", false), ("missing", false), ("cut", true)] {
        let reply = server.post(CHAT, &with(ask(name), json!({"stream": stream})));
        assert_eq!(reply.status, 500, "{}", reply.text());
        assert!(
            reply.text().contains("server's log") && !reply.text().contains("sha256"),
            "{}",
            reply.text()
        );
    }
    for path in [TINY, "../../tiny.gguf", "/etc/passwd", "first/../second"] {
        assert_eq!(server.post(CHAT, &ask(path)).status, 404, "{path}");
    }
    check_serves(&server);
    server.wait_until_said("lacks its model file");
}
