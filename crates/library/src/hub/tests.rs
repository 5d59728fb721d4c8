//! Names of the hub, which file they mean, and a cache built in a temporary folder.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::{HubCache, HubError, HubName, choose};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn named(name: &str) -> HubName {
    name.parse().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_name_is_owner_repo_and_perhaps_a_file() {
    for (name, parts) in [
        ("hf:unsloth/R1-GGUF", ("unsloth", "R1-GGUF", None)),
        ("hf:a/b.c_d:Q4_K_M", ("a", "b.c_d", Some("Q4_K_M"))),
        (
            "hf:a/b:Q4/m-00001-of-00002.gguf",
            ("a", "b", Some("Q4/m-00001-of-00002.gguf")),
        ),
    ] {
        let found = named(name);
        assert_eq!((found.owner(), found.repo(), found.file()), parts);
        assert_eq!(found.to_string(), name);
    }
}

#[test]
fn what_is_no_name_is_refused_in_one_short_line() {
    let long = format!("hf:a/{}", "b".repeat(4096));
    let names = [
        "hf:",
        "hf:a",
        "hf:/",
        "hf:a/",
        "hf:/b",
        "a/b",
        "hf:a/b/c",
        "hf:../b",
        "hf:a/..",
        "hf:%2e%2e/a",
        "hf:a\\b/c",
        "hf:a\0/b",
        "hf:/etc/passwd",
        "hf:C:/x",
        "hf:a/b:",
        "hf:a/b:../c.gguf",
        "hf:a/b:/etc/x.gguf",
        "hf:a/b:c\\d.gguf",
        "hf:a/b:c/../../d.gguf",
        "hf:a/b:c//d.gguf",
        "hf:a/b:./c.gguf",
        "hf:a/b:C:\\x.gguf",
        "hf:a/b:.gguf",
        "hf:a/b:c/d",
        "hf:a/b:a/b/c/d/e.gguf",
        "hf:a--b/c",
        "hf:a/b..c",
        "hf:-a/b",
        "hf:a/b.",
        "hf:深/度",
        "hf:a/b:\u{202e}",
        &long,
    ];
    for name in names {
        let said = name
            .parse::<HubName>()
            .err()
            .unwrap_or_else(|| panic!("{name:?}"))
            .to_string();
        assert!(said.contains("is no model of the"), "{said}");
        assert!(said.len() < 500 && !said.contains(['\0', '\u{202e}']), "{said}");
    }
}

#[test]
fn the_file_that_is_meant_is_found_or_the_choice_is_shown() {
    let files = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let many = files(&[
        "README.md",
        "m-Q4_K_M.gguf",
        "m-Q4_K_S.gguf",
        "mmproj-f16.gguf",
        "m-Q8_0.gguf",
    ]);
    let split = files(&[
        "F16/m-F16-00002-of-00002.gguf",
        "F16/m-F16-00001-of-00002.gguf",
        "m-IQ4_K_M.gguf",
    ]);
    for (name, files, chosen) in [
        ("hf:a/b", &many, "m-Q4_K_M.gguf"),
        ("hf:a/b:q8_0", &many, "m-Q8_0.gguf"),
        ("hf:a/b:m-Q4_K_S.gguf", &many, "m-Q4_K_S.gguf"),
        ("hf:a/b:mmproj-f16.gguf", &many, "mmproj-f16.gguf"),
        ("hf:a/b:f16", &split, "F16/m-F16-00001-of-00002.gguf"),
        ("hf:a/b", &files(&["only.gguf", "config.json"]), "only.gguf"),
    ] {
        assert_eq!(choose(&named(name), files).unwrap(), chosen);
    }
    for (name, files, said) in [
        ("hf:a/b", &split, "m-IQ4_K_M.gguf"),
        (
            "hf:a/b:Q4_K",
            &many,
            "has no such file; it has m-Q4_K_M.gguf, m-Q4_K_S.gguf, m-Q8_0.gguf",
        ),
        ("hf:a/b:m", &many, "several models"),
        ("hf:a/b:other.gguf", &many, "has no such file"),
        (
            "hf:a/b",
            &files(&["config.json", "../x.gguf", ".gguf"]),
            "no GGUF files",
        ),
    ] {
        let error = choose(&named(name), files).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    let hundreds: Vec<String> = (0..900).map(|number| format!("{number}.gguf")).collect();
    let error = choose(&named("hf:a/b"), &hundreds).unwrap_err().to_string();
    assert!(error.ends_with("and 888 more") && error.len() < 1000, "{error}");
}

/// A cache as the hub's tools lay it out.
struct Built {
    folder: TempDir,
    cache: HubCache,
}

impl Built {
    fn new() -> Built {
        let folder = tempfile::tempdir().unwrap();
        let cache = HubCache::at(folder.path().join("hub"));
        let built = Built { folder, cache };
        fs::create_dir_all(built.snapshot()).unwrap();
        fs::create_dir_all(built.repo().join("refs")).unwrap();
        fs::create_dir_all(built.repo().join("blobs")).unwrap();
        fs::write(built.repo().join("refs/main"), COMMIT).unwrap();
        built
    }

    fn repo(&self) -> PathBuf {
        self.cache.root().join("models--me--Repo-GGUF")
    }

    fn snapshot(&self) -> PathBuf {
        self.repo().join("snapshots").join(COMMIT)
    }

    /// Adds a file of the repository whose content is in `blobs`.
    #[cfg(unix)]
    fn add(&self, file: &str, content: &[u8]) {
        let blob = format!("blob-{}", file.replace('/', "-"));
        fs::write(self.repo().join("blobs").join(&blob), content).unwrap();
        let path = self.snapshot().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(self.repo().join("blobs").join(blob), path).unwrap();
    }

    fn find(&self, name: &str) -> Result<PathBuf, HubError> {
        self.cache.find(&named(name))
    }

    fn check_refused(&self, name: &str, word: &str) {
        let said = self.find(name).unwrap_err().to_string();
        assert!(said.contains(word) && !said.contains('\n'), "{said}");
    }
}

#[test]
#[cfg(unix)]
fn a_file_of_the_main_revision_is_found_and_listed() {
    let built = Built::new();
    built.check_refused("hf:me/Repo-GGUF", "no GGUF files");
    built.check_refused("hf:me/other", "tandem pull hf:me/other");
    built.add("m-Q8_0.gguf", b"12345");
    built.add("Q4/m-Q4_K_M-00001-of-00002.gguf", b"1");
    built.check_refused("hf:me/Repo-GGUF:Q4_K_M", "is missing");
    built.add("Q4/m-Q4_K_M-00002-of-00002.gguf", b"22");
    assert_eq!(fs::read(built.find("hf:me/Repo-GGUF:Q8_0").unwrap()).unwrap(), b"12345");
    let found = built.find("hf:me/Repo-GGUF").unwrap();
    assert_eq!(found, built.snapshot().join("Q4/m-Q4_K_M-00001-of-00002.gguf"));
    let listed: Vec<(String, u64)> = built
        .cache
        .list()
        .iter()
        .map(|model| (model.name.to_string(), model.bytes))
        .collect();
    let expected = [
        ("hf:me/Repo-GGUF:Q4/m-Q4_K_M-00001-of-00002.gguf".to_owned(), 3),
        ("hf:me/Repo-GGUF:m-Q8_0.gguf".to_owned(), 5),
    ];
    assert_eq!(listed, expected);
}

#[test]
#[cfg(unix)]
fn a_link_that_leads_out_of_the_cache_is_not_followed() {
    use std::os::unix::fs::symlink;
    let built = Built::new();
    let outside = built.folder.path().join("secret");
    fs::write(&outside, b"GGUF").unwrap();
    for target in [
        outside.as_path(),
        Path::new("/dev/zero"),
        Path::new("../../../../secret"),
    ] {
        let link = built.snapshot().join("m.gguf");
        symlink(target, &link).unwrap();
        built.check_refused("hf:me/Repo-GGUF", "lies outside of the cache");
        assert!(built.cache.list().is_empty());
        fs::remove_file(link).unwrap();
    }
    let link = built.snapshot().join("m.gguf");
    symlink(built.repo().join("blobs"), &link).unwrap();
    built.check_refused("hf:me/Repo-GGUF", "is no regular file");
    fs::remove_file(&link).unwrap();
    symlink(built.repo().join("blobs/gone"), &link).unwrap();
    built.check_refused("hf:me/Repo-GGUF", "is missing");
}

#[test]
fn a_revision_that_is_no_commit_is_refused() {
    let built = Built::new();
    for text in ["../../../etc", "", "main", "\u{0}", "/"] {
        fs::write(built.repo().join("refs/main"), text).unwrap();
        built.check_refused("hf:me/Repo-GGUF", "names no commit");
    }
    fs::remove_file(built.repo().join("refs/main")).unwrap();
    built.check_refused("hf:me/Repo-GGUF", "is not in");
}

#[test]
fn the_cache_is_where_the_variables_say() {
    let path = |text: &str| Some(PathBuf::from(text));
    let home = Path::new("/home/me");
    let usual = |hub, hf, home| HubCache::usual(hub, hf, home).map(|cache| cache.root().to_owned());
    assert_eq!(usual(path("/hub"), path("/hf"), Some(home)), path("/hub"));
    assert_eq!(usual(None, path("/hf"), Some(home)), path("/hf/hub"));
    assert_eq!(usual(None, None, Some(home)), path("/home/me/.cache/huggingface/hub"));
    assert_eq!(usual(None, None, None), None);
}

proptest! {
    #[test]
    fn no_accepted_name_leads_out_of_a_folder(rest in "[a-zA-Z0-9._:/\\\\~%+-]{0,24}|\\PC{0,12}") {
        if let Ok(name) = format!("hf:{rest}").parse::<HubName>() {
            for part in [name.owner(), name.repo(), name.file().unwrap_or("file")] {
                let path = Path::new("/cache").join(part);
                let is_below = path.strip_prefix("/cache").unwrap().components()
                    .all(|part| matches!(part, std::path::Component::Normal(_)));
                prop_assert!(is_below && !part.contains(['\\', ':', '%', '\0']), "{part:?}");
            }
        }
    }
}
