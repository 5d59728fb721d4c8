//! The program as a command: what it says and how it ends when it cannot start, and where its settings come from.

use std::fs;
use std::net::TcpListener;
use std::process::Output;

use serde_json::json;

use crate::support::*;

/// Runs a command that should end by itself.
fn run(arguments: &[&str]) -> Output {
    command().args(arguments).output().expect("the binary starts")
}

/// The command fails with `code`; its last words hold `words` and are short.
fn check_fails(arguments: &[&str], code: Option<i32>, words: &[&str]) {
    let output = run(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{arguments:?}: {said}");
    if code.is_some() {
        assert_eq!(output.status.code(), code, "{arguments:?}: {said}");
    }
    assert!(
        output.status.code().is_some_and(|code| code < 100),
        "{arguments:?} died: {said}"
    );
    assert!(
        !said.contains("panicked") && said.len() < 2_048,
        "{arguments:?}: {said}"
    );
    for word in words {
        assert!(said.contains(word), "{arguments:?} should speak of {word:?}: {said}");
    }
}

#[test]
fn a_port_in_use_ends_the_program_with_3_and_the_address() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    check_fails(
        &["serve", "--model", "tiny", "--listen", &address],
        Some(3),
        &[&address],
    );
    // The port is tried before the model is read: a model that does not exist is not even looked at.
    check_fails(
        &["serve", "--model", "/no/such/model.gguf", "--listen", &address],
        Some(3),
        &[&address],
    );
}

#[test]
fn a_model_that_is_none_ends_the_program_with_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("empty.gguf"), b"").unwrap();
    fs::write(path("four.gguf"), b"GGUF").unwrap();
    fs::write(
        path("text.gguf"),
        b"This is a letter and not a model, however long it may go on.",
    )
    .unwrap();
    fs::write(path("zeros.gguf"), vec![0; 4096]).unwrap();
    let mut counts = b"GGUF\x03\0\0\0".to_vec();
    counts.extend([0xff; 16]);
    fs::write(path("counts.gguf"), counts).unwrap();
    for name in [
        "missing.gguf",
        "empty.gguf",
        "four.gguf",
        "text.gguf",
        "zeros.gguf",
        "counts.gguf",
        "",
    ] {
        let file = path(name);
        let output = run(&["serve", "--model", &file, "--listen", "127.0.0.1:0"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code().is_some_and(|code| (1..100).contains(&code)),
            "{name}: {} {said}",
            output.status
        );
        let told: Vec<&str> = said
            .lines()
            .filter(|line| line.contains(file.trim_end_matches('/')))
            .collect();
        assert_eq!(told.len(), 1, "one line names the file {name}: {said}");
        assert!(told[0].len() < 400 && !said.contains("panicked"), "{said}");
    }
    check_fails(
        &["serve", "--model", "/dev/zero", "--listen", "127.0.0.1:0"],
        None,
        &["/dev/zero"],
    );
}

#[test]
fn a_model_file_serves_as_the_embedded_one_does() {
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/tiny/tiny.gguf");
    let mut from_file = command();
    from_file.args(["serve", "--model", tiny, "--listen", "127.0.0.1:0", "--devices", "cpu"]);
    let [from_file, embedded] = [Server::spawn(from_file), Server::with(&["--devices", "cpu"])]
        .map(|server| answer(&server.post(CHAT, &chat(ADD_PROGRAM)).ok()));
    assert_eq!(from_file, embedded);
}

#[test]
fn a_truncated_model_file_is_refused_before_it_serves() {
    let tiny = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/tiny/tiny.gguf")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.gguf");
    for length in [tiny.len() - 1, tiny.len() / 2, 100] {
        fs::write(&path, &tiny[..length]).unwrap();
        check_fails(
            &["serve", "--model", path.to_str().unwrap(), "--listen", "127.0.0.1:0"],
            None,
            &["cut.gguf"],
        );
    }
}

#[test]
fn settings_that_make_no_sense_end_the_program_with_2() {
    for (arguments, words) in [
        (&["--weights", "1"] as &[&str], &["weights"] as &[&str]),
        (&["--weights", "1,2,3"], &["weights"]),
        (&["--weights", "0,0"], &["weights"]),
        (&["--weights", "a,b"], &["weights"]),
        (&["--devices", ""], &["devices"]),
        (&["--devices", "abacus"], &["abacus", "cpu"]),
        (&["--kv", "q4_0"], &["kv", "q4_0", "f16 or q8_0"]),
        (&["--slots", "0"], &["slots"]),
        (&["--slots", "-1"], &["slots"]),
        (&["--context", "0"], &["context"]),
        (&["--listen", "nowhere"], &["nowhere"]),
        (&["--listen", "127.0.0.1:99999"], &["99999"]),
        (&["--no-such-flag"], &["--no-such-flag"]),
        (&["--config", "/no/such/file.toml"], &["/no/such/file.toml"]),
    ] {
        let base = ["serve", "--model", "tiny"];
        check_fails(&[&base, arguments].concat(), Some(2), words);
    }
}

#[test]
fn flags_win_over_the_environment_and_the_environment_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tandem.toml");
    fs::write(&file, "context = 96\nlisten = \"127.0.0.1:0\"\n").unwrap();
    let config = ["serve", "--config", file.to_str().unwrap()];

    let mut from_file = command();
    from_file.args(config);
    assert_eq!(context_tokens(&Server::spawn(from_file)), 96);

    let mut from_environment = command();
    from_environment.args(config).env("TANDEM_CONTEXT", "112");
    assert_eq!(context_tokens(&Server::spawn(from_environment)), 112);

    let mut from_flag = command();
    from_flag
        .args(config)
        .env("TANDEM_CONTEXT", "112")
        .args(["--context", "128"]);
    assert_eq!(context_tokens(&Server::spawn(from_flag)), 128);
}

#[test]
fn a_file_with_mistakes_is_refused_by_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tandem.toml");
    for (text, word) in [
        ("contxt = 96\n", "contxt"),
        ("context = \"many\"\n", "context"),
        ("context = -1\n", "context"),
        ("context = [", "tandem.toml"),
    ] {
        fs::write(&file, text).unwrap();
        check_fails(&["serve", "--config", file.to_str().unwrap()], Some(2), &[word]);
    }
}

#[test]
fn help_and_version_are_told() {
    let help = run(&["--help"]);
    assert!(help.status.success());
    assert!(String::from_utf8_lossy(&help.stdout).contains("serve"));
    let serve = run(&["serve", "--help"]);
    let text = String::from_utf8_lossy(&serve.stdout).into_owned();
    for flag in [
        "--model",
        "--listen",
        "--devices",
        "--weights",
        "--context",
        "--slots",
        "--queue",
        "--drain-seconds",
    ] {
        assert!(text.contains(flag), "{flag} is not in the help:\n{text}");
    }
    let version = run(&["--version"]);
    assert!(String::from_utf8_lossy(&version.stdout).contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_start_up_lines_tell_what_a_new_user_needs() {
    let server = Server::start();
    let said = server.said();
    for word in ["tandem-tiny", "cpu", &format!("http://{}", server.address)] {
        assert!(said.contains(word), "{word} is not in\n{said}");
    }
    assert!(!said.contains('\u{1b}'), "colours and cursor moves in a file:\n{said}");
}

#[test]
fn no_prompt_and_no_reply_reaches_the_log() {
    let mut server = Server::with_environment(&[], &[("TANDEM_LOG", "trace"), ("RUST_LOG", "trace")]);
    let canary = "canary-5e1f";
    let text = format!("Say {canary}.\r\nforged line");
    let reply = server.post(CHAT, &chat(&text)).ok();
    server.post(CHAT, &with(chat(&text), json!({"model": canary.to_uppercase()})));
    server.post(CHAT, &with(chat(&text), json!({"temperature": -1})));
    let thought = answer(&reply).thought;
    server.signal("TERM");
    server.wait();
    let said = server.said();
    assert!(!said.contains(canary), "the prompt is in the log:\n{said}");
    assert!(
        !said.contains(&thought) && !said.lines().any(|line| line.starts_with("forged")),
        "{said}"
    );
}
