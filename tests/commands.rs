//! The commands that Ollama's users know, as a shell runs them: against a server of the test, the built one, and none.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::*;

/// Answers like an Ollama that has `small:latest`, and remembers what it was asked.
struct Fake {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Fake {
    /// Its threads end with the tests.
    fn start() -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = seen.clone();
                thread::spawn(move || answer(stream, &seen));
            }
        });
        Fake { address, requests }
    }

    fn run(&self, arguments: &[&str], piped: &str) -> Output {
        let mut command = command();
        command.args(arguments).env("OLLAMA_HOST", self.address.to_string());
        output(command, piped)
    }

    /// The bodies of the requests to `path`.
    fn asked(&self, path: &str) -> Vec<Value> {
        let requests = self.requests.lock().unwrap();
        requests
            .iter()
            .filter(|(found, _)| found == path)
            .map(|(_, body)| body.clone())
            .collect()
    }
}

/// One request and its answer.
fn answer(stream: TcpStream, seen: &Mutex<Vec<(String, Value)>>) {
    let mut stream = BufReader::new(stream);
    let Some((path, body)) = request(&mut stream) else {
        return;
    };
    seen.lock().unwrap().push((path.clone(), body.clone()));
    let (status, reply) = reply(&path, &body);
    send(&mut stream, status, reply.as_bytes());
}

/// The path and the body of a request; none where the client connects and says nothing.
fn request(stream: &mut BufReader<TcpStream>) -> Option<(String, Value)> {
    let mut line = String::new();
    if stream.read_line(&mut line).is_err() || line.is_empty() {
        return None;
    }
    let path = line.split(' ').nth(1).unwrap().to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).unwrap();
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if header.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    Some((path, serde_json::from_slice(&body).unwrap_or_default()))
}

fn send(stream: &mut BufReader<TcpStream>, status: u16, body: &[u8]) {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} -\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    // A client that is gone is a test's business.
    let _ = stream.get_mut().write_all(&[head.as_bytes(), body].concat());
}

fn reply(path: &str, body: &Value) -> (u16, String) {
    if path == "/api/pull" {
        return (
            200,
            "{\"status\":\"pulling manifest\"}\n{\"error\":\"file does not exist\"}\n".to_owned(),
        );
    }
    if body.get("model").is_some_and(|model| model != "small") {
        return (
            404,
            json!({"error": format!("model {} not found", body["model"])}).to_string(),
        );
    }
    let reply = match path {
        "/api/copy" | "/api/delete" => String::new(),
        "/api/tags" => json!({"models": [{"name": "small:latest"}, {"name": "other:1b"}]}).to_string(),
        "/api/show" => json!({"capabilities": ["completion", "thinking"], "details": {}}).to_string(),
        "/api/ps" => json!({"models": [
            {"name": "small:latest", "digest": "0123456789abcdef", "size": 2_000_000_000, "size_vram": 0,
             "context_length": 4096, "expires_at": "2318-01-01T00:00:00Z"},
        ]})
        .to_string(),
        "/api/generate" => json!({"done": true, "done_reason": "load"}).to_string(),
        "/api/chat" => [
            json!({"message": {"role": "assistant", "content": "", "thinking": "I add."}, "done": false}),
            json!({"message": {"role": "assistant", "content": "It is "}, "done": false}),
            json!({"message": {"role": "assistant", "content": "85."}, "done": false}),
            json!({"message": {"role": "assistant", "content": ""}, "done": true, "eval_count": 7,
                   "eval_duration": 1_000_000_000}),
        ]
        .map(|line| format!("{line}\n"))
        .concat(),
        _ => return (404, String::new()),
    };
    (200, reply)
}

/// Runs the command with `piped` as its stdin.
fn output(mut command: Command, piped: &str) -> Output {
    let command = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    // A command that does not read it may have ended.
    let _ = child.stdin.take().unwrap().write_all(piped.as_bytes());
    child.wait_with_output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Whatever it said is in the failure.
fn check_code(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}{}", stdout(output), stderr(output));
}

#[test]
fn a_question_is_answered_on_stdout_and_the_thought_is_on_stderr() {
    let fake = Fake::start();
    let output = fake.run(&["run", "small", "What is", "47 + 38?"], "");
    check_code(&output, 0);
    assert_eq!(stdout(&output), "It is 85.\n");
    assert_eq!(stderr(&output), "Thinking...\nI add.\n...done thinking.\n\n");
    let asked = &fake.asked("/api/chat")[0];
    assert_eq!(
        asked["messages"],
        json!([{"role": "user", "content": "What is 47 + 38?"}])
    );
    assert_eq!((&asked["think"], &asked["stream"]), (&json!(true), &json!(true)));
}

#[test]
fn what_is_piped_in_comes_before_the_question() {
    let fake = Fake::start();
    check_code(&fake.run(&["run", "small", "Shorten it."], "A long text.\n"), 0);
    check_code(&fake.run(&["run", "small"], "Only this.\n"), 0);
    let asked = fake.asked("/api/chat");
    assert_eq!(asked[0]["messages"][0]["content"], "A long text.\n\nShorten it.");
    assert_eq!(asked[1]["messages"][0]["content"], "Only this.");
}

#[test]
fn options_reach_the_server_and_the_times_are_shown() {
    let fake = Fake::start();
    let options = [
        "run",
        "small",
        "--think=false",
        "--format",
        "json",
        "--keepalive",
        "10m",
        "--verbose",
        "--hidethinking",
        "hi",
    ];
    let output = fake.run(&options, "");
    check_code(&output, 0);
    let asked = &fake.asked("/api/chat")[0];
    assert_eq!((&asked["think"], &asked["format"]), (&json!(false), &json!("json")));
    assert_eq!(asked["keep_alive"], "10m");
    assert_eq!(stdout(&output), "It is 85.\n");
    assert!(
        stderr(&output).contains("eval rate:            7.00 tokens/s"),
        "{}",
        stderr(&output)
    );
    assert!(!stderr(&output).contains("I add."), "{}", stderr(&output));
}

#[test]
fn an_empty_question_only_loads_the_model() {
    let fake = Fake::start();
    let output = fake.run(&["run", "small", "", "--keepalive=-1"], "");
    check_code(&output, 0);
    assert_eq!(stdout(&output), "");
    assert_eq!(
        fake.asked("/api/generate"),
        [json!({"model": "small", "keep_alive": -1})]
    );
    assert!(fake.asked("/api/chat").is_empty());
}

#[test]
fn loaded_models_are_listed_and_let_go() {
    let fake = Fake::start();
    let output = fake.run(&["ps"], "");
    check_code(&output, 0);
    let expected = "\
NAME            ID              SIZE    PROCESSOR    CONTEXT    UNTIL
small:latest    0123456789ab    2 GB    100% CPU     4096       Forever
";
    assert_eq!(stdout(&output), expected);
    check_code(&fake.run(&["stop", "small"], ""), 0);
    assert_eq!(fake.asked("/api/generate")[0]["keep_alive"], 0);
}

#[test]
fn copies_and_removals_are_the_servers_where_one_runs() {
    let fake = Fake::start();
    let output = fake.run(&["cp", "small", "little"], "");
    check_code(&output, 0);
    assert_eq!(stdout(&output), "copied 'small' to 'little'\n");
    assert_eq!(
        fake.asked("/api/copy"),
        [json!({"source": "small", "destination": "little"})]
    );
    let output = fake.run(&["rm", "small", "other"], "");
    check_code(&output, 4);
    assert_eq!(stdout(&output), "deleted 'small'\n");
    assert_eq!(fake.asked("/api/delete")[0], json!({"model": "small"}));
}

/// A registry with one model, `127.0.0.1:PORT/library/mini:1b`, which is the tiny model.
struct Registry {
    address: SocketAddr,
}

impl Registry {
    /// Its threads end with the tests.
    fn start() -> Registry {
        let model = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/tiny/tiny.gguf")).unwrap();
        let layer = |kind: &str, bytes: &[u8]| {
            let digest = format!("sha256:{}", hex(bytes));
            json!({"mediaType": format!("application/vnd.{kind}"), "digest": digest, "size": bytes.len()})
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": layer("docker.container.image.v1+json", b"{}"),
            "layers": [layer("ollama.image.model", &model)],
        });
        let blob = |bytes: &[u8]| format!("/v2/library/mini/blobs/sha256:{}", hex(bytes));
        let files = [
            (
                "/v2/library/mini/manifests/1b".to_owned(),
                manifest.to_string().into_bytes(),
            ),
            (blob(b"{}"), b"{}".to_vec()),
            (blob(&model), model),
        ];
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut stream = BufReader::new(stream);
                let Some((path, _)) = request(&mut stream) else {
                    continue;
                };
                match files.iter().find(|(found, _)| *found == path) {
                    Some((_, bytes)) => send(&mut stream, 200, bytes),
                    None => send(&mut stream, 404, b"{}"),
                }
            }
        });
        Registry { address }
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_model_is_pulled_listed_run_copied_and_removed_without_a_server() {
    let registry = Registry::start();
    let name = format!("{}/library/mini:1b", registry.address);
    let folder = tempfile::tempdir().unwrap();
    let nowhere = nowhere();
    let run = |arguments: &[&str]| {
        let mut command = command();
        for scheme in ["http", "https", "all"] {
            let name = format!("{scheme}_proxy");
            command.env_remove(&name).env_remove(name.to_uppercase());
        }
        command
            .args(arguments)
            .env("HOME", folder.path())
            .env("TANDEM_LISTEN", &nowhere)
            .env("TANDEM_TEMPERATURE", "0");
        output(command, "")
    };
    let said = run(&["pull", "--insecure", &name]);
    check_code(&said, 0);
    for words in ["pulling manifest", "done", "writing manifest", "success"] {
        assert!(stderr(&said).contains(words), "{}", stderr(&said));
    }
    let said = run(&["run", &name, "What is 47 + 38?"]);
    check_code(&said, 0);
    assert!(stdout(&said).contains("85"), "{}", stdout(&said));

    check_code(&run(&["cp", &name, "second"]), 0);
    check_code(&run(&["rm", &name]), 0);
    let listed = stdout(&run(&["list"]));
    assert!(listed.contains("second:latest") && !listed.contains("mini"), "{listed}");
    assert!(!stdout(&run(&["list", "other"])).contains("second"));
    check_code(&run(&["rm", "second"]), 0);
    assert!(!stdout(&run(&["list"])).contains("second"));
    let blobs = fs::read_dir(folder.path().join(".tandem/models/blobs"))
        .unwrap()
        .count();
    assert_eq!(blobs, 0, "nothing needs them any more");
}

#[test]
fn a_pull_that_cannot_be_says_why_in_one_line() {
    let registry = Registry::start();
    let none = format!("{}/library/none:1b", registry.address);
    for (arguments, code, words) in [
        (&["pull", "--insecure", &none][..], 4, "file does not exist"),
        (&["pull", "a:b:c"], 2, "a:b:c"),
        (&["pull", "hf:owner"], 2, "hf:"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut pull = command();
        pull.args(arguments).env("HOME", folder.path());
        let said = output(pull, "");
        check_code(&said, code);
        let last = stderr(&said).trim_end().lines().last().unwrap_or_default().to_owned();
        assert!(last.contains("error:") && last.contains(words), "{}", stderr(&said));
    }
}

#[test]
fn a_model_that_the_server_lacks_is_said_with_names_that_may_have_been_meant() {
    let fake = Fake::start();
    for (arguments, why) in [
        (&["run", "smaller", "hi"][..], "fetching it: file does not exist"),
        (&["stop", "smaller"], "not found"),
    ] {
        let output = fake.run(arguments, "");
        check_code(&output, 4);
        let said = stderr(&output);
        for words in ["not found", "there is small:latest", why] {
            assert!(said.contains(words), "{arguments:?}: {said}");
        }
    }
    assert_eq!(
        fake.asked("/api/pull"),
        [json!({"model": "smaller", "insecure": false})]
    );
}

#[test]
fn run_fetches_a_model_that_is_not_there() {
    let registry = Registry::start();
    let name = format!("{}/library/mini:1b", registry.address);
    let question = ["run", "--insecure", &name, "What is 47 + 38?"];
    let check = |said: &Output| {
        check_code(said, 0);
        assert_eq!(stdout(said).trim(), "47 + 38 = 85.", "{}", stderr(said));
        assert!(stderr(said).contains("writing manifest"), "{}", stderr(said));
    };
    let folder = tempfile::tempdir().unwrap();
    let mut own = command();
    own.args(question).env("HOME", folder.path()).envs([
        ("TANDEM_LISTEN", nowhere()),
        ("TANDEM_TEMPERATURE", "0".to_owned()),
        ("no_proxy", "127.0.0.1".to_owned()),
    ]);
    check(&output(own, ""));

    let folder = tempfile::tempdir().unwrap();
    let hosts = format!("http://{}", registry.address);
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
            "--temperature",
            "0",
        ])
        .args(["--pull-hosts", &hosts])
        .env("HOME", folder.path())
        .env("no_proxy", "127.0.0.1");
    let server = Server::spawn(serving);
    let mut asked = command();
    asked.args(question).args(["--host", &server.address.to_string()]);
    check(&output(asked, ""));
}

#[test]
fn a_server_that_is_named_and_not_there_is_an_error_that_says_what_to_do() {
    // Taken and given back: nobody listens there now.
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    for arguments in [&["run", "tiny", "hi"][..], &["ps"], &["stop", "tiny"]] {
        let mut named = command();
        named.args(arguments).args(["--host", &address]);
        let output = output(named, "");
        check_code(&output, 3);
        for words in [format!("no server at http://{address}"), "tandem serve".to_owned()] {
            assert!(stderr(&output).contains(&words), "{}", stderr(&output));
        }
    }
    let mut wrong = command();
    wrong.args(["ps", "--host", "https://example.com"]);
    let output = output(wrong, "");
    check_code(&output, 2);
    assert!(stderr(&output).contains("https"), "{}", stderr(&output));
}

#[test]
fn completions_are_for_every_shell_and_bash_takes_them() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = command().args(["completions", shell]).output().unwrap();
        check_code(&output, 0);
        let script = stdout(&output);
        for word in ["run", "list", "kv-tokens"] {
            assert!(script.contains(word), "{shell} has no {word}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tandem.bash");
    fs::write(&path, command().args(["completions", "bash"]).output().unwrap().stdout).unwrap();
    match Command::new("bash").arg("-n").arg(&path).output() {
        Ok(checked) => check_code(&checked, 0),
        Err(error) => eprintln!("there is no bash to check with: {error}"),
    }
}

#[test]
fn the_version_has_ollamas_short_flag_too() {
    for flag in ["-v", "-V", "--version"] {
        let output = command().arg(flag).output().unwrap();
        check_code(&output, 0);
        assert!(stdout(&output).starts_with("tandem "), "{}", stdout(&output));
    }
}

#[test]
fn parts_of_a_model_are_shown_alone() {
    let show = |part: &str| {
        let output = command().args(["show", "tiny", part]).output().unwrap();
        check_code(&output, 0);
        stdout(&output)
    };
    assert!(show("-v").contains("general.architecture"), "{}", show("-v"));
    assert!(show("--modelfile").contains("\nFROM "), "{}", show("--modelfile"));
    for part in ["--license", "--system", "--parameters", "--template"] {
        assert_eq!(show(part), "", "{part}");
    }
    check_code(
        &command()
            .args(["show", "tiny", "--license", "--json"])
            .output()
            .unwrap(),
        2,
    );
}

/// An address where nobody listens: it was taken, and is given back.
fn nowhere() -> String {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string()
}

#[test]
fn where_no_server_runs_the_model_is_loaded_in_the_commands_own_process() {
    let mut own = command();
    own.args(["run", "tiny", "What is 47 + 38?"])
        .envs([("TANDEM_LISTEN", nowhere()), ("TANDEM_TEMPERATURE", "0".to_owned())]);
    let said = output(own, "");
    check_code(&said, 0);
    assert!(stdout(&said).contains("85"), "{}", stdout(&said));
    assert!(stderr(&said).starts_with("Thinking...\n"), "{}", stderr(&said));

    let mut own = command();
    let name = format!("{}/library/none:1b", nowhere());
    own.args(["run", "--insecure", &name, "hi"])
        .env("TANDEM_LISTEN", nowhere());
    let said = output(own, "");
    check_code(&said, 4);
    for words in [&name, "fetching it"] {
        assert!(stderr(&said).contains(words), "{}", stderr(&said));
    }
}

#[test]
fn settings_in_front_of_the_word_are_for_a_model_of_the_commands_own() {
    // A server that could be asked is left alone.
    let fake = Fake::start();
    let mut own = command();
    own.args([
        "--devices",
        "cpu",
        "--temperature",
        "0",
        "run",
        "tiny",
        "What is 47 + 38?",
    ])
    .env("OLLAMA_HOST", fake.address.to_string());
    let said = output(own, "");
    check_code(&said, 0);
    assert!(stdout(&said).contains("85"), "{}", stdout(&said));
    assert!(fake.requests.lock().unwrap().is_empty());
}

#[test]
fn a_running_server_answers_and_lets_go_of_a_model() {
    let server = Server::with(&["--temperature", "0", "--pull-hosts", "registry.invalid"]);
    let host = server.address.to_string();
    let run = |arguments: &[&str]| {
        let mut asked = command();
        asked.args(arguments).args(["--host", &host]);
        output(asked, "")
    };
    let said = run(&["run", "default", "What is 47 + 38?", "--verbose"]);
    check_code(&said, 0);
    assert!(stdout(&said).contains("85"), "{}", stdout(&said));
    assert!(stderr(&said).contains("eval rate:"), "{}", stderr(&said));
    let said = run(&["run", "no-such-model", "hi"]);
    check_code(&said, 4);
    for words in ["no-such-model", "pull_hosts"] {
        assert!(stderr(&said).contains(words), "{}", stderr(&said));
    }
}
