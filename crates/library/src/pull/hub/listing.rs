//! What a repository has, and which of it is meant.

use serde::Deserialize;

use super::super::error::PullError;
use crate::hub::{self, HubName};
use crate::store::Digest;
use crate::{Quoted, SplitName};

/// A file of the repository, its name and its digest fit for a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HubFile {
    /// Within the repository.
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) digest: Digest,
}

/// The files of a repository at one commit.
#[derive(Debug)]
pub(super) struct Listing {
    /// Forty hexadecimal digits.
    pub(super) commit: String,
    files: Vec<HubFile>,
}

#[derive(Deserialize)]
struct Written {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    lfs: Option<LargeFile>,
}

#[derive(Deserialize)]
struct LargeFile {
    sha256: String,
    size: u64,
}

impl Listing {
    /// Reads the hub's list. A file whose name is not fit for a path, or that has no digest, does not count as there.
    pub(super) fn parse(host: &str, text: &[u8]) -> Result<Listing, PullError> {
        let malformed = |cause: &str| PullError::Malformed {
            host: host.to_owned(),
            what: "a repository's list",
            cause: Quoted::new(cause),
        };
        let written: Written = serde_json::from_slice(text).map_err(|error| malformed(&error.to_string()))?;
        let commit = written.sha;
        if commit.len() != 40 || !commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(malformed("its commit is not forty hexadecimal digits"));
        }
        let file = |sibling: Sibling| {
            let LargeFile { sha256, size: bytes } = sibling.lfs?;
            let path = sibling.rfilename;
            let digest = Digest::parse(&format!("sha256:{sha256}"))?;
            hub::is_file(&path).then_some(HubFile { path, bytes, digest })
        };
        let files = written.siblings.into_iter().filter_map(file).collect();
        Ok(Listing { commit, files })
    }

    /// All that it has.
    pub(super) fn files(&self) -> &[HubFile] {
        &self.files
    }

    /// The file that `name` means; all parts of it, in order.
    pub(super) fn choose(&self, name: &HubName) -> Result<Vec<HubFile>, PullError> {
        let paths: Vec<String> = self.files.iter().map(|file| file.path.clone()).collect();
        let chosen = hub::choose(name, &paths)?;
        let parts = SplitName::of(&chosen).map_or_else(|| vec![chosen], |split| split.all());
        let find = |path: &String| self.files.iter().find(|file| file.path == *path).cloned();
        let found: Vec<HubFile> = parts.iter().filter_map(find).collect();
        if found.len() < parts.len() {
            return Err(PullError::Parts {
                name: name.to_string(),
                found: found.len(),
                expected: parts.len(),
            });
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(files: &[&str]) -> Listing {
        let lfs = serde_json::json!({ "sha256": "ab".repeat(32), "size": 3 });
        let siblings: Vec<_> = files
            .iter()
            .map(|file| serde_json::json!({ "rfilename": file, "lfs": lfs }))
            .collect();
        let text = serde_json::json!({ "sha": "0a".repeat(20), "siblings": siblings }).to_string();
        Listing::parse("hub", text.as_bytes()).unwrap()
    }

    fn choose(files: &[&str], name: &str) -> Result<Vec<HubFile>, PullError> {
        listing(files).choose(&name.parse().unwrap())
    }

    #[test]
    fn all_parts_of_a_split_file_are_chosen() {
        let files = [
            "q/m-00002-of-00002.gguf",
            "q/m-00001-of-00002.gguf",
            "other.gguf",
            "README.md",
        ];
        for name in [
            "hf:o/r:q/m-00001-of-00002.gguf",
            "hf:o/r:q/m-00002-of-00002.gguf",
            "hf:o/r:m",
        ] {
            let chosen = choose(&files, name).unwrap();
            let paths: Vec<&str> = chosen.iter().map(|file| file.path.as_str()).collect();
            assert_eq!(paths, ["q/m-00001-of-00002.gguf", "q/m-00002-of-00002.gguf"]);
        }
        let error = choose(&files[1..], "hf:o/r:m").unwrap_err();
        assert_eq!(
            error.to_string(),
            "hf:o/r:m has 1 of the 2 parts of this model: pull another variant of it"
        );
    }

    #[test]
    fn what_is_not_there_is_told_with_what_there_is() {
        let error = choose(&["a.gguf", "b.gguf"], "hf:o/r:c.gguf").unwrap_err().to_string();
        assert_eq!(error, "hf:o/r:c.gguf has no such file; it has a.gguf, b.gguf");
    }

    #[test]
    fn a_name_that_leads_elsewhere_does_not_count() {
        for name in [
            "../m.gguf",
            "a/../../m.gguf",
            "/etc/m.gguf",
            "a//m.gguf",
            "./m.gguf",
            ".m.gguf",
            "a\\m.gguf",
            "C:m.gguf",
            "a\0m.gguf",
            "a\nm.gguf",
            "a./m.gguf",
            "",
        ] {
            assert!(listing(&[name]).files.is_empty(), "{name:?}");
        }
        assert!(listing(&["x".repeat(300).as_str()]).files.is_empty());
        assert_eq!(listing(&["a/b-Q4.gguf"]).files.len(), 1);
    }

    #[test]
    fn a_commit_and_a_digest_are_hexadecimal() {
        for commit in ["", "../../../../etc", "0a0a", &"zz".repeat(20)] {
            let text = serde_json::json!({ "sha": commit }).to_string();
            let error = Listing::parse("hub", text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("its commit is not forty hexadecimal digits"), "{error}");
        }
        for sha256 in ["", "../../x", &"zz".repeat(32)] {
            let lfs = serde_json::json!({ "sha256": sha256, "size": 3 });
            let siblings = serde_json::json!([{ "rfilename": "m.gguf", "lfs": lfs }, { "rfilename": "n.gguf" }]);
            let text = serde_json::json!({ "sha": "0a".repeat(20), "siblings": siblings }).to_string();
            assert!(Listing::parse("hub", text.as_bytes()).unwrap().files.is_empty());
        }
    }
}
