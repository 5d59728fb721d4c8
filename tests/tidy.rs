//! The rules of the house that a program can check: what opens a file, how long things grow, what may stand where.
//!
//! A rule that finds something names the file, the line and what to do.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A Rust file of the tree: where it is, what it says.
struct Source {
    /// From the root of the repository, with `/`.
    path: String,
    text: String,
    /// Whether nothing of the file is in the program.
    is_test: bool,
}

impl Source {
    fn is_in(&self, room: &str) -> bool {
        self.path.starts_with(&format!("{room}/"))
    }

    /// The files and folders that this file declares as modules of its tests, without `.rs`.
    fn test_modules(&self) -> Vec<String> {
        let stem = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        let folder = ["/mod", "/lib", "/main"]
            .iter()
            .find_map(|name| stem.strip_suffix(name))
            .unwrap_or(stem);
        let declarations = self.text.split("#[cfg(test)]\n").skip(1);
        let names = declarations.filter_map(|rest| {
            let line = rest.lines().next()?.trim_start_matches("pub(crate) ");
            line.strip_prefix("mod ")?.strip_suffix(';')
        });
        names.map(|name| format!("{folder}/{name}")).collect()
    }

    /// The numbered lines of the file that are in the program: without the tests at its foot.
    fn program(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines: Vec<&str> = if self.is_test {
            Vec::new()
        } else {
            self.text.lines().collect()
        };
        let tests = lines.iter().position(|line| line.starts_with("#[cfg(test)]"));
        let foot = tests.filter(|&at| lines.get(at + 1).is_some_and(|line| line.ends_with('{')));
        let end = foot.unwrap_or(lines.len());
        lines
            .into_iter()
            .take(end)
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }

    /// The same without comments and doc comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.program()
            .map(|(number, line)| (number, line.split("//").next().unwrap_or_default()))
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the server is in a folder of the root")
        .to_owned()
}

/// Every file below `folder` with the ending `.extension`, built things left out.
fn files(folder: &Path, extension: &str, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with('.') || ["target", "node_modules", "__pycache__", "corpus", "artifacts"].contains(&&*name) {
            continue;
        }
        if path.is_dir() {
            files(&path, extension, into);
        } else if path.extension().is_some_and(|found| found == extension) {
            into.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    files(&root(), "rs", &mut paths);
    paths.sort();
    assert!(
        paths.len() > 20,
        "only {} files: is this the root? {}",
        paths.len(),
        root().display()
    );
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let path = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
        let is_test = path
            .split('/')
            .any(|part| ["tests", "fuzz", "benches", "examples"].contains(&part));
        Source { path, text, is_test }
    };
    let mut sources: Vec<Source> = paths.into_iter().map(read).collect();
    let modules: Vec<String> = sources.iter().flat_map(Source::test_modules).collect();
    for source in &mut sources {
        let is_of = |module: &String| {
            source
                .path
                .strip_prefix(module.as_str())
                .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        source.is_test |= modules.iter().any(is_of);
    }
    sources
}

/// Fails with every place found.
fn check_none(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

#[test]
fn every_file_opens_by_saying_what_it_is_for() {
    let found: Vec<String> = sources()
        .into_iter()
        .filter(|source| !source.text.starts_with("//!"))
        .map(|s| s.path)
        .collect();
    check_none("begin the file with `//! what it is for`", &found);
}

#[test]
fn no_line_is_longer_than_125_columns() {
    let mut found = Vec::new();
    for source in sources() {
        // A line with a text on it is as long as the text: breaking that helps no reader.
        let is_code = |line: &str| !line.contains('"') && !line.ends_with('\\');
        for (index, line) in source.text.lines().enumerate().filter(|(_, line)| is_code(line)) {
            if line.chars().count() > 125 {
                found.push(format!(
                    "{}:{} ({} columns)",
                    source.path,
                    index + 1,
                    line.chars().count()
                ));
            }
        }
    }
    check_none("break the line", &found);
}

#[test]
fn no_function_is_longer_than_70_lines() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test) {
        let mut begun: Option<(usize, usize, &str)> = None;
        for (index, line) in source.text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            match begun {
                None if is_function(line) => begun = Some((index, indent, line)),
                Some((from, depth, head)) if indent == depth && line.trim_start().starts_with('}') => {
                    if index - from > 70 {
                        found.push(format!(
                            "{}:{} ({} lines) {}",
                            source.path,
                            from + 1,
                            index - from,
                            head.trim()
                        ));
                    }
                    begun = None;
                }
                // A declaration without a body ends where it stands.
                Some((from, ..)) if line.ends_with(';') && index == from => begun = None,
                _ => {}
            }
            if begun.is_some_and(|(from, ..)| from == index && (line.ends_with(';') || line.ends_with("}"))) {
                begun = None;
            }
        }
    }
    check_none("cut the function by stages of its work", &found);
}

/// Whether a function begins on this line.
fn is_function(line: &str) -> bool {
    let mut words = line.trim_start().split(' ').skip_while(|word| {
        word.starts_with("pub") || ["const", "async", "unsafe", "extern", "\"C\"", "crate)", "super)"].contains(word)
    });
    words.next() == Some("fn")
}

#[test]
fn what_can_fail_is_handled_or_says_why_it_cannot() {
    let mut found = Vec::new();
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, line) in source.code() {
            let panics = [".unwrap()", ".expect(", "panic!("]
                .iter()
                .any(|word| line.contains(word));
            // `#[expect(clippy::expect_used, reason = "...")]` within the few lines above says why.
            let above = &lines[number.saturating_sub(6)..number - 1];
            if panics && !above.iter().any(|line| line.contains("reason = \"")) {
                found.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    check_none(
        "return an error, or state the invariant in the `reason` of an `#[expect(clippy::...)]` above it",
        &found,
    );
}

#[test]
fn unsafe_code_is_only_in_kernels_and_each_block_says_why_it_is_sound() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| !source.is_in("tests")) {
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, line) in source.code() {
            let line = line.trim_start();
            let begins = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern \"C\" {"]
                .iter()
                .any(|word| line.contains(word));
            if !begins {
                continue;
            }
            let above = &lines[number.saturating_sub(16)..number];
            let explained = above
                .iter()
                .any(|line| line.contains("SAFETY:") || line.contains("# Safety"));
            if !source.is_in("kernels") || !explained {
                found.push(format!("{}:{number}: {line}", source.path));
            }
        }
    }
    check_none("move it to `kernels`, with `// SAFETY:` above it", &found);
}

#[test]
fn the_cuda_feature_is_known_only_in_kernels_and_one_device_file() {
    let mut found = Vec::new();
    for source in sources()
        .iter()
        .filter(|source| !source.is_in("kernels") && !source.is_in("tests"))
    {
        for (number, line) in source.code() {
            if line.contains("feature = \"cuda") && source.path != "models/src/device/card.rs" {
                found.push(format!("{}:{number}", source.path));
            }
        }
    }
    check_none("ask `kernels` or `models::cards` instead", &found);
}

#[test]
fn nothing_is_left_to_be_done() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| source.path != "tests/tidy.rs") {
        for (index, line) in source.text.lines().enumerate() {
            if ["TODO", "FIXME", "XXX", "todo!", "unimplemented!", "dbg!", "#[ignore"]
                .iter()
                .any(|word| line.contains(word))
            {
                found.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    check_none("do it, or delete it", &found);
}

#[test]
fn the_engine_knows_no_clock_no_files_no_network_and_no_tensors() {
    let words = [
        "std::time",
        "Instant",
        "SystemTime",
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "candle",
        "Tensor",
        "http",
        "axum",
        "serde",
    ];
    check_words("crates/engine", &words);
}

#[test]
fn chat_knows_no_threads_no_files_no_network_and_no_tensors() {
    check_words(
        "crates/chat",
        &[
            "std::thread",
            "tokio",
            "std::fs",
            "std::net",
            "std::time",
            "candle",
            "Tensor",
            "axum",
        ],
    );
}

#[test]
fn only_the_server_knows_flags_environment_and_http() {
    for room in ["crates/chat", "crates/engine", "crates/library", "models", "kernels"] {
        check_words(
            room,
            &[
                "std::env::",
                "axum",
                "hyper",
                "clap",
                "text/event-stream",
                "std::process::exit",
            ],
        );
    }
    for room in ["crates/chat", "crates/engine", "models", "kernels"] {
        check_words(room, &OUTBOUND);
    }
    // The commands that talk to a running server.
    check_words_outside("server", Some("server/src/client"), &OUTBOUND);
}

#[test]
fn only_pulling_opens_a_connection() {
    check_words("crates/library/src/gguf", &OUTBOUND);
    check_words("crates/library/src/store", &OUTBOUND);
    check_words("crates/library/src/testing", &OUTBOUND);
}

/// What opens a connection to elsewhere.
const OUTBOUND: [&str; 5] = ["TcpStream::connect", "hyper::client", "reqwest", "hf_hub", "ureq"];

/// No word of `words` stands in the program of `room`.
fn check_words(room: &str, words: &[&str]) {
    check_words_outside(room, None, words);
}

/// The same, with one folder of the room where they may stand.
fn check_words_outside(room: &str, allowed: Option<&str>, words: &[&str]) {
    let mut found = Vec::new();
    let is_allowed = |source: &Source| allowed.is_some_and(|folder| source.is_in(folder));
    let sources = sources();
    for source in sources
        .iter()
        .filter(|source| source.is_in(room) && !is_allowed(source))
    {
        for (number, line) in source.code() {
            for word in words.iter().filter(|word| line.contains(**word)) {
                found.push(format!("{}:{number}: {word}", source.path));
            }
        }
    }
    check_none(&format!("`{room}` must not know this"), &found);
}

/// The names in one table of a manifest.
fn dependencies(manifest: &str, table: &str) -> BTreeSet<String> {
    let path = root().join(manifest);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let manifest: toml::Table = text
        .parse()
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let table = manifest.get(table).and_then(toml::Value::as_table);
    table.map(|table| table.keys().cloned().collect()).unwrap_or_default()
}

#[test]
fn rooms_depend_on_each_other_as_drawn() {
    let rooms = ["chat", "engine", "gate", "kernels", "library", "models", "server"];
    for (manifest, allowed) in [
        ("crates/chat/Cargo.toml", &[] as &[&str]),
        ("crates/engine/Cargo.toml", &[]),
        ("crates/library/Cargo.toml", &[]),
        ("kernels/Cargo.toml", &[]),
        ("models/Cargo.toml", &["engine", "kernels", "library"]),
        ("server/Cargo.toml", &["chat", "engine", "gate", "library", "models"]),
    ] {
        for table in ["dependencies", "build-dependencies"] {
            for name in dependencies(manifest, table)
                .iter()
                .filter(|name| rooms.contains(&name.as_str()))
            {
                assert!(allowed.contains(&name.as_str()), "{manifest} may not depend on {name}");
            }
        }
    }
}

#[test]
fn each_outside_crate_stays_in_the_rooms_it_is_for() {
    let manifests = [
        ("chat", "crates/chat/Cargo.toml"),
        ("engine", "crates/engine/Cargo.toml"),
        ("library", "crates/library/Cargo.toml"),
        ("kernels", "kernels/Cargo.toml"),
        ("models", "models/Cargo.toml"),
        ("server", "server/Cargo.toml"),
    ];
    for (word, rooms) in [
        ("candle", &["kernels", "models"] as &[&str]),
        ("cudarc", &["kernels"]),
        ("tokenizers", &["chat"]),
        ("minijinja", &["chat"]),
        ("llguidance", &["chat"]),
        ("tokio", &["engine", "server"]),
        ("axum", &["server"]),
        ("hyper", &["server"]),
        ("tower", &["server"]),
        ("clap", &["server"]),
        ("anyhow", &["server"]),
        ("toml", &["server"]),
        ("tracing", &["server"]),
        ("plotters", &["server"]),
        ("sha2", &["library"]),
        ("hf-hub", &["library"]),
        ("ureq", &["library"]),
        ("serde", &["chat", "library", "server"]),
    ] {
        for (room, manifest) in manifests {
            for name in dependencies(manifest, "dependencies") {
                let known = name.starts_with(word) && name != "tokio-io-timeout";
                assert!(!known || rooms.contains(&room), "{manifest} may not depend on {name}");
            }
        }
    }
}

#[test]
fn the_top_level_holds_only_what_it_should() {
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "LICENSE",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "crates",
        "kernels",
        "models",
    ];
    let allowed = [allowed.as_slice(), &["server", "tests", "target"]].concat();
    for entry in fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(
            name.starts_with('.') || allowed.contains(&&*name),
            "{name} does not belong at the top level"
        );
    }
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    let mut pages = Vec::new();
    files(&root(), "md", &mut pages);
    assert!(!pages.is_empty(), "no document at all");
    let mut found = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        let targets = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'))
            .map(|(target, _)| target);
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let file = target.split('#').next().unwrap_or_default();
            if !page.parent().unwrap().join(file).exists() {
                found.push(format!("{}: {target}", page.display()));
            }
        }
    }
    check_none("mend the link", &found);
}
