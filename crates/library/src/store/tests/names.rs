//! Which names there are, how they are shown, and that none leads out of a store.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::store::paths;

/// The name's parts, and how it is shown.
fn check(name: &str, parts: [&str; 4], shown: &str) {
    let found = named(name);
    assert_eq!(found.parts(), parts, "{name}");
    assert_eq!(found.to_string(), shown);
    assert_eq!(named(shown), found);
    assert_eq!(named(&found.full()), found);
}

#[test]
fn what_a_name_leaves_out_is_the_usual() {
    const HOST: &str = "registry.ollama.ai";
    check(
        "deepseek-r1:32b",
        [HOST, "library", "deepseek-r1", "32b"],
        "deepseek-r1:32b",
    );
    check("qwen3", [HOST, "library", "qwen3", "latest"], "qwen3:latest");
    check("me/own:1.5b_q8-x", [HOST, "me", "own", "1.5b_q8-x"], "me/own:1.5b_q8-x");
    check(
        "hf.co/unsloth/R1-GGUF:Q4_K_M",
        ["hf.co", "unsloth", "R1-GGUF", "Q4_K_M"],
        "hf.co/unsloth/R1-GGUF:Q4_K_M",
    );
    check(
        "localhost:5000/a/b",
        ["localhost:5000", "a", "b", "latest"],
        "localhost:5000/a/b:latest",
    );
    assert_eq!(named("qwen3").without_latest().as_deref(), Some("qwen3"));
    assert_eq!(named("qwen3:8b").without_latest(), None);
}

#[test]
fn what_is_no_name_is_refused_in_one_short_line() {
    let long = "a".repeat(4096);
    let names = [
        "",
        ":",
        "a:",
        ":a",
        "/",
        "a/",
        "/a",
        "..",
        ".",
        "..:x",
        "a:..",
        "../../etc/passwd",
        "a/../../b:c",
        "../a/b",
        "a//b",
        "a/b/c/d",
        "/etc/passwd",
        "C:\\x",
        "C:/x/y",
        "c:80/x/y",
        "host:/x/y",
        "host:80x/x/y",
        "a:1:2/x/y",
        "\\\\server\\share",
        "a\\b",
        "%2e%2e/a",
        "a\0b",
        "a\nb",
        "a b",
        "\u{202e}b",
        "-a",
        ".a",
        "深度",
        "a.b/c",
        "a:b:c",
        "a@sha256",
        "~/x",
        &long,
    ];
    for name in names {
        let said = name.parse::<ModelName>().err().unwrap_or_else(|| panic!("{name:?}"));
        let said = said.to_string();
        assert!(
            said.contains("is no model's name") && !said.contains(['\n', '\0', '\u{202e}']),
            "{said}"
        );
        assert!(said.len() < 600, "{said}");
    }
}

#[test]
fn digests_are_64_digits_and_nothing_else() {
    let digits = "0123456789abcdef".repeat(4);
    assert!(Digest::parse(&format!("sha256:{digits}")).is_some());
    for wrong in [
        digits.clone(),
        format!("sha256:{digits}0"),
        "sha256:../../../../etc/passwd".to_owned(),
        format!("sha256:{}/", digits.get(1..).unwrap()),
        format!("md5:{digits}"),
    ] {
        assert!(Digest::parse(&wrong).is_none(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn no_accepted_name_leads_out_of_the_store(name in "[a-zA-Z0-9._:/\\\\~%-]{0,24}|\\PC{0,12}") {
        if let Ok(name) = name.parse::<ModelName>() {
            let path = paths::manifest(Path::new("/store"), &name);
            let below: Vec<_> = path.strip_prefix("/store/manifests").unwrap().components().collect();
            prop_assert_eq!(below.len(), 4);
            prop_assert!(!path.to_str().unwrap().contains(['\\', '%', '\0', '~']));
            prop_assert!(below.iter().all(|part| matches!(part, std::path::Component::Normal(_))));
        }
    }
}
