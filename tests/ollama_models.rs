//! Ollama's API for model files: listed, shown, copied, made, uploaded and removed, in Ollama's shapes.

use std::fs::{self, File};
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::plan::hollow_32b;
use crate::support::ollama::*;
use crate::support::*;

/// The files of January 2025's deepseek-r1:32b beside its weights, byte for byte.
const TEMPLATE_R1: &str = "{{- if .System }}{{ .System }}{{ end }}
{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1}}
{{- if eq .Role \"user\" }}<｜User｜>{{ .Content }}
{{- else if eq .Role \"assistant\" }}<｜Assistant｜>{{ .Content }}{{- if not $last }}<｜end▁of▁sentence｜>{{- end }}
{{- end }}
{{- if and $last (ne .Role \"assistant\") }}<｜Assistant｜>{{- end }}
{{- end }}";
const PARAMETERS_R1: &str = "{\"stop\":[\"\\u003c｜begin▁of▁sentence｜\\u003e\",\"\\u003c｜end▁of▁sentence｜\\u003e\",\
     \"\\u003c｜User｜\\u003e\",\"\\u003c｜Assistant｜\\u003e\"]}\n";
const LICENSE_R1: &str = "MIT License

Copyright (c) 2023 DeepSeek

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the \"Software\"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
";
const WEIGHTS_R1: &str = "6150cb382311b69f09cc0f9a1b69fc029cbd742b66bb8ec531aa5ecf5c613e93";
const WEIGHT_BYTES_R1: u64 = 19_851_335_552;

/// Puts January 2025's deepseek-r1:32b into the store, its weights a hole; returns the id that Ollama knows it by.
fn add_r1(store: &Store) -> &'static str {
    let layer = |kind: &str, digest: &str, bytes: u64| {
        format!(r#"{{"mediaType":"application/vnd.ollama.image.{kind}","digest":"sha256:{digest}","size":{bytes}}}"#)
    };
    let small = |kind: &str, text: &str| {
        fs::write(store.blob(text.as_bytes()), text).unwrap();
        (
            hex(text.as_bytes()),
            layer(kind, &hex(text.as_bytes()), text.len() as u64),
        )
    };
    let (template, template_layer) = small("template", TEMPLATE_R1);
    let (license, license_layer) = small("license", LICENSE_R1);
    let (parameters, parameters_layer) = small("params", PARAMETERS_R1);
    let digests = [WEIGHTS_R1, &template, &license, &parameters].map(|digest| format!("\"sha256:{digest}\""));
    let config = format!(
        "{{\"model_format\":\"gguf\",\"model_family\":\"qwen2\",\"model_families\":[\"qwen2\"],\"model_type\":\"32.8B\",\
         \"file_type\":\"Q4_K_M\",\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{{\"type\":\"layers\",\
         \"diff_ids\":[{}]}}}}\n",
        digests.join(",")
    );
    let (config_digest, _) = small("config", &config);
    let layers = [
        layer("model", WEIGHTS_R1, WEIGHT_BYTES_R1),
        template_layer,
        license_layer,
        parameters_layer,
    ];
    let manifest = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.docker.distribution.manifest.v2+json\",\"config\":{{\
         \"mediaType\":\"application/vnd.docker.container.image.v1+json\",\"digest\":\"sha256:{config_digest}\",\
         \"size\":{}}},\"layers\":[{}]}}",
        config.len(),
        layers.join(",")
    );
    let path = store.manifest("deepseek-r1/32b");
    fs::write(&path, &manifest).unwrap();
    let time = UNIX_EPOCH + Duration::new(1_738_368_000, 120_000_000);
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(time)
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let hollow = hollow_32b(folder.path());
    let weights = store.folder.path().join(format!("blobs/sha256-{WEIGHTS_R1}"));
    fs::rename(&hollow, &weights)
        .or_else(|_| fs::copy(&hollow, &weights).map(drop))
        .unwrap();
    let file = File::options().write(true).open(&weights).unwrap();
    assert!(
        file.metadata().unwrap().len() <= WEIGHT_BYTES_R1,
        "the hollow file is larger than the real one"
    );
    file.set_len(WEIGHT_BYTES_R1).unwrap();
    let id = "38056bbcbb2d068501ecb2d5ea9cea9dd4847465f1ab88c4d4a412a9f7792717";
    assert_eq!(hex(manifest.as_bytes()), id, "the manifest is not January's");
    id
}

#[test]
fn ollamas_own_model_is_listed_as_ollama_lists_it() {
    let store = Store::new();
    let id = add_r1(&store);
    let server = serve(&store, &[]);
    let tags = server.get("/api/tags").ok();
    let models = tags["models"].as_array().unwrap();
    let found = models
        .iter()
        .find(|model| model["name"] == "deepseek-r1:32b")
        .expect("listed");
    let expected = json!({
        "name": "deepseek-r1:32b",
        "model": "deepseek-r1:32b",
        "modified_at": "2025-02-01T00:00:00.120000000Z",
        "size": 19_851_337_640_u64,
        "digest": id,
        "details": {
            "parent_model": "",
            "format": "gguf",
            "family": "qwen2",
            "families": ["qwen2"],
            "parameter_size": "32.8B",
            "quantization_level": "Q4_K_M",
            "context_length": 131_072,
            "embedding_length": 5120
        },
        "capabilities": ["completion", "thinking"]
    });
    assert_eq!(*found, expected);
    let dates: Vec<&str> = models
        .iter()
        .map(|model| model["modified_at"].as_str().unwrap())
        .collect();
    assert!(dates.is_sorted_by(|a, b| a >= b), "{dates:?}");
    assert_eq!(request(&server, "HEAD", "/api/tags", b"").status, 200);
}

#[test]
fn ollamas_own_model_is_shown_as_ollama_shows_it_without_loading_it() {
    let store = Store::new();
    add_r1(&store);
    let server = serve(&store, &[]);
    let shown = show(&server, "deepseek-r1:32b");
    assert_eq!(shown["license"], LICENSE_R1);
    assert_eq!(shown["template"], TEMPLATE_R1);
    let stop = |text: &str| format!("{:<30} {text:?}", "stop");
    let stops = [
        "<｜begin▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
        "<｜User｜>",
        "<｜Assistant｜>",
    ];
    assert_eq!(shown["parameters"], stops.map(stop).join("\n"));
    assert_eq!(shown["details"]["parameter_size"], "32.8B");
    assert_eq!(shown["capabilities"], json!(["completion", "thinking"]));
    assert_eq!(shown["modified_at"], "2025-02-01T00:00:00.120000000Z");
    assert!(shown.get("system").is_none() && shown.get("messages").is_none() && shown.get("tensors").is_none());
    let told = &shown["model_info"];
    for (key, value) in [
        ("general.architecture", json!("qwen2")),
        ("general.file_type", json!(15)),
        ("qwen2.context_length", json!(131_072)),
        ("qwen2.attention.layer_norm_rms_epsilon", json!(1e-6)),
        ("qwen2.rope.freq_base", json!(1e6)),
        ("tokenizer.ggml.tokens", json!([])),
    ] {
        assert_eq!(told[key], value, "{key}");
    }
    let parameters = told["general.parameter_count"].as_u64().unwrap();
    assert!((32_000_000_000..33_000_000_000).contains(&parameters), "{parameters}");
    assert!(
        told.get("general.name").is_none() && told.get("tokenizer.chat_template").is_none(),
        "{told}"
    );
    let modelfile = shown["modelfile"].as_str().unwrap();
    for part in [
        "FROM deepseek-r1:32b\n",
        "TEMPLATE \"\"\"{{- if .System }}",
        "PARAMETER stop <｜User｜>\n",
        "LICENSE \"\"\"MIT",
    ] {
        assert!(modelfile.contains(part), "{part:?} in {modelfile}");
    }
    let verbose = server
        .post("/api/show", &json!({"name": "DeepSeek-R1:32b", "verbose": true}))
        .ok();
    assert_eq!(
        verbose["model_info"]["tokenizer.ggml.tokens"].as_array().unwrap().len(),
        8
    );
    let first = json!({"name": "token_embd.weight", "type": "Q4_K", "shape": [5120, 152_064]});
    assert_eq!(verbose["tensors"][0], first);
}

#[test]
fn every_model_that_is_listed_can_be_asked_for_by_that_name() {
    let store = Store::new();
    let server = serve(&store, &[]);
    let mut listed = names(&server);
    listed.sort();
    assert_eq!(listed, ["deepseek-r1:32b", "small:latest", "tandem-tiny:latest"]);
    for name in listed {
        assert_eq!(show(&server, &name)["details"]["family"], "qwen2", "{name}");
        let reply = server.post(CHAT, &with(chat("1 + 1"), json!({"model": name})));
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
    }
    let file = Server::spawn(store.command(&["serve", "--model", TINY, "--listen", "127.0.0.1:0", "--devices", "cpu"]));
    let listed = names(&file);
    let own = listed
        .iter()
        .find(|name| !["deepseek-r1:32b", "small:latest"].contains(&name.as_str()));
    let own = own.expect("the configured file is listed");
    file.post(CHAT, &with(chat("1 + 1"), json!({"model": own}))).ok();
    assert_eq!(show(&file, own)["details"]["family"], "qwen2");
}

#[test]
fn the_loaded_model_is_told_of_with_what_it_takes() {
    let store = Store::new();
    // A processor stays one when it may use only so much memory.
    let server = serve(&store, &["--context", "256", "--slots", "1", "--devices", "cpu@80M"]);
    let loaded = server.get("/api/ps").ok();
    let models = loaded["models"].as_array().unwrap();
    assert_eq!(models.len(), 1, "{loaded}");
    let model = &models[0];
    assert_eq!(
        (&model["name"], &model["model"]),
        (&json!("tandem-tiny:latest"), &json!("tandem-tiny:latest"))
    );
    assert_eq!(
        (&model["context_length"], &model["size_vram"]),
        (&json!(256), &json!(0))
    );
    assert!(model["size"].as_u64().unwrap() > 100_000, "{model}");
    assert_eq!(model["digest"], hex(&fs::read(TINY).unwrap()));
    assert_eq!(model["details"]["family"], "qwen2");
    assert!(model["expires_at"].as_str().unwrap() > "2300", "{model}");
}

#[test]
fn names_that_mean_nothing_or_lead_elsewhere_are_refused_without_a_path() {
    let store = Store::new();
    let server = serve(&store, &["--body-bytes", "65536"]);
    let show = |name: Value| send(&server, "POST", "/api/show", &json!({"model": name}));
    check_refused(&show(json!("nothing:here")), 404, &["model 'nothing:here' not found"]);
    for name in [
        "../../etc/passwd",
        "/etc/passwd",
        "a/../../b:c",
        "..",
        "a:b:c",
        "hf:../x/y",
        "%2e%2e/x",
        "a\u{0}b",
        "a\\b",
    ] {
        let answered = show(json!(name));
        assert!([400, 404].contains(&answered.status), "{name:?}: {}", answered.body);
        check_refused(&answered, answered.status, &[]);
    }
    let long = show(json!("x".repeat(10_000)));
    assert!(long.status == 404 && long.body.len() <= 1024, "{}", long.body);
    check_refused(&show(json!(7)), 400, &["model is 7"]);
    check_refused(&show(json!("")), 400, &["model is required"]);
    check_refused(
        &request(&server, "POST", "/api/show", b""),
        400,
        &["missing request body"],
    );
    check_refused(&request(&server, "POST", "/api/show", b"{"), 400, &["JSON"]);
    check_refused(
        &send(&server, "POST", "/api/push", &json!({"model": "small"})),
        501,
        &["not pushed"],
    );
}

#[test]
fn what_has_happened_to_a_store_is_one_line_and_the_rest_is_still_listed() {
    let store = Store::new();
    let server = serve(&store, &[]);
    let show = |name: &str| send(&server, "POST", "/api/show", &json!({"model": name}));
    fs::write(store.blob(TEMPLATE), b"{{ .prompt }}").unwrap();
    check_refused(
        &show("deepseek-r1:32b"),
        500,
        &["template", "other content", "pull the model again"],
    );
    fs::write(store.model(), b"GGUF").unwrap();
    check_refused(&show("small"), 500, &["has 4 bytes", "pull the model again"]);
    fs::remove_file(store.model()).unwrap();
    check_refused(&show("small"), 500, &["lacks its model file", "pull the model again"]);
    assert!(names(&server).contains(&"small:latest".to_owned()));
    fs::write(store.manifest("small/latest"), b"no manifest").unwrap();
    check_refused(&show("small"), 500, &["the server's log says more"]);
    let listed = names(&server);
    assert!(listed.contains(&"deepseek-r1:32b".to_owned()) && !listed.contains(&"small:latest".to_owned()));
    server.wait_until_said("is not a manifest");
}

#[test]
fn a_copy_has_a_name_of_its_own_and_goes_without_taking_anything_from_ollama() {
    let store = Store::new();
    let server = serve(&store, &[]);
    let copy = |from: &str, to: &str| {
        send(
            &server,
            "POST",
            "/api/copy",
            &json!({"source": from, "destination": to}),
        )
    };
    let delete = |name: &str| send(&server, "DELETE", "/api/delete", &json!({"model": name}));
    let copied = copy("small", "mine/small");
    assert_eq!((copied.status, copied.body.as_str()), (200, ""));
    assert_eq!(show(&server, "mine/small")["system"], "You are brief.");
    let digest = |name: &str| {
        let tags = server.get("/api/tags").ok();
        let models = tags["models"].as_array().unwrap().clone();
        models
            .into_iter()
            .find(|model| model["name"] == name)
            .map(|model| model["digest"].clone())
    };
    assert_eq!(digest("mine/small:latest"), digest("small:latest"));
    server
        .post(CHAT, &with(chat("1 + 1"), json!({"model": "mine/small"})))
        .ok();
    assert_eq!(delete("mine/small").status, 200);
    check_refused(&delete("mine/small"), 404, &["model 'mine/small' not found"]);
    assert!(store.model().exists());
    check_refused(&delete("small"), 403, &["only read", "ollama rm"]);
    check_refused(&delete("tandem-tiny"), 409, &["was started with"]);
    check_refused(&copy("nothing", "mine"), 404, &["model 'nothing' not found"]);
    check_refused(&copy("small", "../mine"), 400, &["no model's name"]);
    check_refused(&copy("small", ""), 400, &["destination is required"]);
    check_refused(&copy("tandem-tiny", "mine"), 400, &["not in a model store"]);
}

#[test]
fn names_that_mean_another_model_are_neither_written_nor_deleted() {
    let store = Store::new();
    let server = store.serve_with("deepseek-r1:32b", &["--aliases", "gpt-4o-mini=small"]);
    let ask = |method: &str, path: &str, body: Value| send(&server, method, path, &body);
    ask("POST", "/api/copy", json!({"source": "small", "destination": "mine"}));
    let before = names(&server);
    for name in [
        "mine:nothink",
        "gpt-4o-mini",
        "gpt-4o-mini:latest",
        "library/gpt-4o-mini",
        "default",
        "deepseek-r1:32b",
        "library/DeepSeek-R1:32B",
    ] {
        for (method, path, body) in [
            ("DELETE", "/api/delete", json!({"model": name})),
            ("POST", "/api/copy", json!({"source": "mine", "destination": name})),
            (
                "POST",
                "/api/create",
                json!({"model": name, "from": "mine", "system": "Other."}),
            ),
        ] {
            check_refused(&ask(method, path, body), 409, &["stands for another model"]);
        }
    }
    assert_eq!(names(&server), before);
    assert_eq!(ask("DELETE", "/api/delete", json!({"model": "mine"})).status, 200);
}

#[test]
fn a_model_that_only_has_another_standing_in_for_it_is_pulled() {
    let folder = tempfile::tempdir().unwrap();
    let pull = |more: &str| {
        let mut serving = command();
        serving
            .args([
                "serve",
                "--model",
                "tiny",
                "--devices",
                "cpu",
                "--listen",
                "127.0.0.1:0",
            ])
            .args(["--pull-hosts", "registry.invalid", more])
            .env("HOME", folder.path());
        let server = Server::spawn(serving);
        send(
            &server,
            "POST",
            "/api/pull",
            &json!({"model": "deepseek-r1:32b", "stream": false}),
        )
    };
    check_refused(&pull("--manage-models=true"), 403, &["registry.ollama.ai"]);
    for settings in ["--manage-models=false", "--any-model"] {
        let taken = pull(settings);
        assert_eq!(
            (taken.status, taken.body.contains("success")),
            (200, true),
            "{}",
            taken.body
        );
    }
}

#[test]
fn a_model_is_made_of_another_with_other_parameters_and_texts() {
    let store = Store::new();
    let server = serve(&store, &[]);
    let recipe = json!({
        "model": "brief:v2",
        "from": "deepseek-r1:32b",
        "system": "You are very brief.",
        "parameters": {"num_ctx": 4096, "temperature": 0, "stop": ["<end>"]},
        "messages": [{"role": "user", "content": "1 + 1"}, {"role": "assistant", "content": "2"}],
        "license": "Mine"
    });
    let created = send(&server, "POST", "/api/create", &recipe);
    assert_eq!(statuses(&created).last().unwrap(), "success");
    let shown = show(&server, "brief:v2");
    assert_eq!(shown["system"], "You are very brief.");
    assert_eq!(shown["messages"], recipe["messages"]);
    assert_eq!(shown["license"].as_str().unwrap().lines().last(), Some("Mine"));
    let parameters = shown["parameters"].as_str().unwrap();
    for (name, value) in [("num_ctx", "4096"), ("stop", "\"<end>\""), ("temperature", "0")] {
        assert!(parameters.contains(&format!("{name:<30} {value}")), "{parameters}");
    }
    assert_eq!(shown["details"]["family"], "qwen2");
    server
        .post(CHAT, &with(chat("1 + 1"), json!({"model": "brief:v2"})))
        .ok();
    let whole = with(recipe.clone(), json!({"stream": false}));
    assert_eq!(
        send(&server, "POST", "/api/create", &whole).body,
        "{\"status\":\"success\"}"
    );
    for (wrong, status, words) in [
        (json!({"from": "nothing:x"}), 404, "not found"),
        (json!({"model": "../x"}), 400, "no model's name"),
        (json!({"from": ""}), 400, "neither from nor files"),
        (json!({"quantize": "q4_K_M"}), 400, "quantize"),
        (json!({"adapters": {"a": "b"}}), 400, "adapters"),
        (json!({"parameters": {"a": {}}}), 400, "parameter"),
        (json!({"messages": [{"role": "tool", "content": ""}]}), 400, "messages"),
        (json!({"stream": 1}), 400, "stream is 1"),
    ] {
        let refused = send(&server, "POST", "/api/create", &with(recipe.clone(), wrong));
        check_refused(&refused, status, &[words]);
    }
}

#[test]
fn a_file_is_uploaded_checked_and_made_a_model_of() {
    let store = Store::new();
    let tiny = fs::read(TINY).unwrap();
    let limit = (tiny.len() + 100).to_string();
    // The limit of other bodies does not cut this one.
    let server = serve(&store, &["--body-bytes", "4096", "--blob-bytes", &limit]);
    let path = |bytes: &[u8]| format!("/api/blobs/sha256:{}", hex(bytes));
    assert_eq!(request(&server, "HEAD", &path(&tiny), b"").status, 404);
    check_refused(
        &request(&server, "POST", &path(b"other"), &tiny),
        400,
        &["digest", "send it again"],
    );
    let big = vec![0; tiny.len() + 101];
    check_refused(&request(&server, "POST", &path(&big), &big), 413, &["blob_bytes"]);
    check_refused(
        &request(&server, "POST", "/api/blobs/sha256:..%2f..%2fx", &tiny),
        400,
        &["sha256:"],
    );
    assert_eq!(request(&server, "POST", &path(&tiny), &tiny).status, 201);
    assert_eq!(request(&server, "HEAD", &path(&tiny), b"").status, 200);
    assert_eq!(request(&server, "POST", &path(&tiny), &tiny).status, 200);
    let files = |digest: String| json!({"model": "uploaded", "files": {"m.gguf": digest}});
    let created = send(&server, "POST", "/api/create", &files(format!("sha256:{}", hex(&tiny))));
    assert_eq!(statuses(&created).last().unwrap(), "success");
    assert_eq!(show(&server, "uploaded")["details"]["quantization_level"], "Q4_K_M");
    server
        .post(CHAT, &with(chat("1 + 1"), json!({"model": "uploaded"})))
        .ok();
    check_refused(
        &send(
            &server,
            "POST",
            "/api/create",
            &files(format!("sha256:{}", hex(b"gone"))),
        ),
        400,
        &["upload it first"],
    );
    assert_eq!(request(&server, "POST", &path(b"no model"), b"no model").status, 201);
    let wrong = send(
        &server,
        "POST",
        "/api/create",
        &files(format!("sha256:{}", hex(b"no model"))),
    );
    check_refused(&wrong, 400, &["GGUF"]);
    let mut broken = server.connect();
    broken.write(
        format!(
            "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf",
            path(b"half a file")
        )
        .as_bytes(),
    );
    broken.end_writing();
    drop(broken.rest());
    assert_eq!(request(&server, "HEAD", &path(b"half a file"), b"").status, 404);
}

#[test]
fn where_models_may_not_be_changed_they_are_only_told_of() {
    let store = Store::new();
    let server = serve(&store, &["--manage-models=false"]);
    for (method, path, body) in [
        ("POST", "/api/copy", json!({"source": "small", "destination": "mine"})),
        ("POST", "/api/create", json!({"model": "mine", "from": "small"})),
        ("POST", "/api/pull", json!({"model": "other"})),
        ("DELETE", "/api/delete", json!({"model": "small"})),
        ("POST", "/api/blobs/sha256:00", json!({})),
    ] {
        check_refused(&send(&server, method, path, &body), 403, &["manage_models"]);
    }
    assert!(!store.folder.path().join(".tandem").exists());
    let foreign = serve(&store, &[]);
    for (origin, status) in [
        ("https://evil.example", 403),
        ("null", 403),
        ("http://localhost:3210", 200),
    ] {
        let mut page = foreign.connect();
        let body = json!({"source": "small", "destination": "small-copy"}).to_string();
        let head = format!(
            "POST /api/copy HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        page.write(head.as_bytes());
        let reply = page.reply();
        assert_eq!(reply.status, status, "{origin}: {}", reply.text());
    }
    assert_eq!(
        send(&foreign, "DELETE", "/api/delete", &json!({"model": "small-copy"})).status,
        200
    );
    assert_eq!(names(&server).len(), 3);
    // What is there already need not be pulled.
    for name in ["tiny", "tandem-tiny:latest", "deepseek-r1:32b", "small"] {
        let pulled = send(&server, "POST", "/api/pull", &json!({"name": name}));
        assert_eq!(statuses(&pulled), ["success"], "{name}");
    }
    let whole = send(
        &server,
        "POST",
        "/api/pull",
        &json!({"model": "small", "stream": false}),
    );
    assert_eq!(whole.body, "{\"status\":\"success\"}");
}
