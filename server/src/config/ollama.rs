//! Ollama's environment variables: those with a meaning here stand for settings that nobody else set, the others are told
//! of once, with what to use instead.

use std::ffi::OsString;

use super::sources::{Choices, Chosen};
use super::{Source, choice};

/// What a variable means here.
enum Meaning {
    /// The setting with this key, by this translation; none of a value that has no counterpart.
    Setting(&'static str, fn(&str) -> Translated),
    /// It is read where it is needed.
    Read,
    /// Nothing; and what to use instead.
    Nothing(&'static str),
}

/// What a value is as a setting's.
enum Translated {
    As(String),
    /// Ollama's word for its own default.
    Default,
    Unknown(&'static str),
}

use Meaning::{Nothing, Read, Setting};
use Translated::{As, Default, Unknown};

#[rustfmt::skip] // A table reads by rows.
const VARIABLES: &[(&str, Meaning)] = &[
    ("OLLAMA_HOST", Setting("listen", listen)),
    ("OLLAMA_KEEP_ALIVE", Setting("keep_alive", same)),
    ("OLLAMA_CONTEXT_LENGTH", Setting("context", count)),
    ("OLLAMA_NUM_PARALLEL", Setting("slots", count)),
    ("OLLAMA_MAX_QUEUE", Setting("queue", same)),
    ("OLLAMA_MAX_LOADED_MODELS", Setting("loaded_models", count)),
    ("OLLAMA_KV_CACHE_TYPE", Setting("kv", kv)),
    ("OLLAMA_ORIGINS", Setting("origins", origins)),
    ("OLLAMA_DEBUG", Setting("log", log)),
    ("OLLAMA_MODELS", Read),
    ("OLLAMA_NOHISTORY", Read),
    ("OLLAMA_LOAD_TIMEOUT", Nothing("a load takes the time it takes, and streams show signs of life meanwhile")),
    ("OLLAMA_FLASH_ATTENTION", Nothing("attention is always computed in one pass")),
    ("OLLAMA_SCHED_SPREAD", Nothing("use --devices and --placement")),
    ("OLLAMA_GPU_OVERHEAD", Nothing("limit a card's memory, as in --devices cuda:0@14G")),
    ("OLLAMA_LLM_LIBRARY", Nothing("use --devices")),
    ("OLLAMA_NOPRUNE", Nothing("Ollama's stores are only read, nothing in them is ever pruned")),
    ("OLLAMA_MULTIUSER_CACHE", Nothing("all requests share the prefix cache")),
    ("OLLAMA_INTEL_GPU", Nothing("use --devices with cpu or NVIDIA's cards")),
    ("OLLAMA_VULKAN", Nothing("use --devices with cpu or NVIDIA's cards")),
    ("OLLAMA_NO_CLOUD", Nothing("there is no cloud behind this program")),
    ("OLLAMA_REMOTES", Nothing("there is no cloud behind this program")),
];

/// Adds the settings that the variables stand for.
pub(super) fn choose(environment: &[(OsString, OsString)], choices: &mut Choices) {
    for (name, meaning) in VARIABLES {
        if let (Setting(key, translate), Some(text)) = (meaning, value(environment, name))
            && let As(text) = translate(&text)
        {
            let from = Source::Variable((*name).to_owned());
            choices.insert(key, Chosen { text, from });
        }
    }
}

/// A line for each variable that changes nothing.
pub(super) fn warnings(environment: &[(OsString, OsString)]) -> Vec<String> {
    let names = environment.iter().filter_map(|(name, _)| name.to_str());
    let mut names: Vec<&str> = names.filter(|name| name.starts_with("OLLAMA_")).collect();
    names.sort_unstable();
    let warning = |name: &str| {
        let text = value(environment, name)?;
        let known = VARIABLES.iter().find(|(known, _)| *known == name);
        let instead = match known {
            None => "`tandem --help` lists the settings",
            Some((_, Nothing(instead))) => instead,
            Some((_, Read)) => return None,
            Some((_, Setting(_, translate))) => match translate(&text) {
                Unknown(instead) => instead,
                As(_) | Default => return None,
            },
        };
        Some(format!("{name} has no effect here: {instead}"))
    };
    names.into_iter().filter_map(warning).collect()
}

/// As Ollama reads them: without spaces and quotes around them, an empty one being an unset one.
fn value(environment: &[(OsString, OsString)], name: &str) -> Option<String> {
    let value = choice::variable(environment, name)?.to_string_lossy();
    let value = value.trim().trim_matches(['"', '\'']).trim();
    (!value.is_empty()).then(|| value.to_owned())
}

fn same(text: &str) -> Translated {
    As(text.to_owned())
}

/// Zero is Ollama's word for "as you think best".
fn count(text: &str) -> Translated {
    if text == "0" { Default } else { same(text) }
}

/// `[scheme://]host[:port][/path]`, where host and port may be left out: without both it is this machine alone.
fn listen(text: &str) -> Translated {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let port_default = match scheme {
        "http" => "80",
        "https" => "443",
        _ => "11434",
    };
    let place = rest.split('/').next().unwrap_or_default();
    let (host, port) = match place.rsplit_once(':') {
        // Go listens on all interfaces where there is a port and no host.
        Some(("", port)) => ("0.0.0.0", port),
        // A bare IPv6 address has colons of its own.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port),
        _ => (place, port_default),
    };
    let host = match host.trim_matches(['[', ']']) {
        "" | "localhost" => "127.0.0.1",
        host => host,
    };
    match (host.parse::<std::net::IpAddr>(), port.parse::<u16>()) {
        (Ok(ip), Ok(port)) => As(std::net::SocketAddr::new(ip, port).to_string()),
        _ => Unknown("use --listen with an IP address and a port"),
    }
}

fn kv(text: &str) -> Translated {
    let text = text.to_ascii_lowercase();
    match text.as_str() {
        "f16" | "q8_0" => As(text),
        _ => Unknown("use --kv with f16 or q8_0"),
    }
}

/// Pages of this machine, and those inside of desktop programs, may always call an Ollama.
fn origins(text: &str) -> Translated {
    let mut all = text.to_owned();
    for scheme in ["app", "file", "tauri", "vscode-webview", "vscode-file"] {
        all.push_str(&format!(",{scheme}://*"));
    }
    for host in ["localhost", "127.0.0.1", "0.0.0.0"] {
        for scheme in ["http", "https"] {
            all.push_str(&format!(",{scheme}://{host},{scheme}://{host}:*"));
        }
    }
    As(all)
}

fn log(text: &str) -> Translated {
    match text {
        "0" | "f" | "false" | "F" | "FALSE" | "False" => Default,
        "2" => As("trace".to_owned()),
        _ => As("debug".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listens(text: &str, expected: Option<&str>) {
        let found = match listen(text) {
            As(found) => Some(found),
            _ => None,
        };
        assert_eq!(found.as_deref(), expected, "{text}");
    }

    #[test]
    fn ollamas_forms_of_an_address_are_understood() {
        listens("0.0.0.0", Some("0.0.0.0:11434"));
        listens("0.0.0.0:8880", Some("0.0.0.0:8880"));
        listens(":8880", Some("0.0.0.0:8880"));
        listens("http://:8880", Some("0.0.0.0:8880"));
        listens("http://", Some("127.0.0.1:80"));
        listens("localhost:8880", Some("127.0.0.1:8880"));
        listens("http://10.0.0.2", Some("10.0.0.2:80"));
        listens("https://10.0.0.2/path", Some("10.0.0.2:443"));
        listens("http://10.0.0.2:8881/", Some("10.0.0.2:8881"));
        listens("[::1]:8880", Some("[::1]:8880"));
        listens("::1", Some("[::1]:11434"));
        listens("gpu.example:8880", None);
        listens("10.0.0.2:port", None);
    }

    #[test]
    fn the_pages_that_may_always_call_an_ollama_may_call_here() {
        let As(text) = origins("https://chat.example") else {
            panic!("there is a counterpart");
        };
        let entries: Vec<String> = text.split(',').map(str::to_owned).collect();
        assert!(crate::http::Origins::read(&entries).is_some(), "{entries:?}");
        for page in [
            "https://chat.example",
            "http://localhost",
            "https://127.0.0.1:*",
            "http://0.0.0.0:*",
            "app://*",
            "file://*",
            "tauri://*",
            "vscode-webview://*",
            "vscode-file://*",
        ] {
            assert!(entries.iter().any(|entry| entry == page), "{page} is not in {text}");
        }
    }

    #[test]
    fn what_has_no_effect_is_told_in_a_line_each_and_what_has_is_not() {
        let environment = [
            ("OLLAMA_KV_CACHE_TYPE", "q4_0"),
            ("OLLAMA_SCHED_SPREAD", "1"),
            ("OLLAMA_NEW", "1"),
            ("OLLAMA_NUM_PARALLEL", "0"),
            ("OLLAMA_MODELS", "/models"),
            ("OLLAMA_NOPRUNE", ""),
            ("OTHER", "1"),
        ]
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let lines = warnings(&environment);
        let names: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(names, ["OLLAMA_KV_CACHE_TYPE", "OLLAMA_NEW", "OLLAMA_SCHED_SPREAD"]);
        assert!(
            lines.iter().all(|line| line.contains("has no effect here: ")),
            "{lines:?}"
        );
        let mut choices = Choices::new();
        choose(&environment, &mut choices);
        assert!(choices.is_empty(), "{choices:?}");
    }

    #[test]
    fn what_has_a_meaning_stands_for_a_setting() {
        let environment = [
            ("OLLAMA_HOST", "\"0.0.0.0\""),
            ("OLLAMA_NUM_PARALLEL", " 4 "),
            ("OLLAMA_KEEP_ALIVE", "-1"),
            ("OLLAMA_DEBUG", "1"),
            ("OLLAMA_KV_CACHE_TYPE", "Q8_0"),
        ]
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let mut choices = Choices::new();
        choose(&environment, &mut choices);
        let texts: Vec<(&str, &str)> = choices
            .iter()
            .map(|(key, chosen)| (*key, chosen.text.as_str()))
            .collect();
        let expected = [
            ("keep_alive", "-1"),
            ("kv", "q8_0"),
            ("listen", "0.0.0.0:11434"),
            ("log", "debug"),
            ("slots", "4"),
        ];
        assert_eq!(texts, expected);
    }
}
