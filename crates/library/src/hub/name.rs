//! The name of a model on the hub: parts that are each fit to be a file's name, none of which leads out of a folder.

use std::fmt;
use std::str::FromStr;

use super::error::HubError;
use crate::Quoted;

/// What every such name begins with.
const PREFIX: &str = "hf:";
/// Characters of an owner or a repository at most; the hub's own limit.
const PART_CHARS_MAX: usize = 96;
/// Characters of the file's path at most.
const FILE_CHARS_MAX: usize = 255;
/// Folders and file in it at most.
const FILE_PARTS_MAX: usize = 4;

/// `hf:owner/repo`, or `hf:owner/repo:file` with a file such as `Q4_K_M/model.gguf`, or a word that is in the file's name,
/// such as `Q4_K_M`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HubName {
    owner: String,
    repo: String,
    file: Option<String>,
}

impl HubName {
    /// Whether `text` is meant to be such a name: then it is nothing else.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// The name of a file in a repository, if both are as the rules want it.
    pub fn of_parts(owner: &str, repo: &str, file: Option<&str>) -> Option<HubName> {
        let is_good = is_repo_part(owner) && is_repo_part(repo) && file.is_none_or(is_file);
        is_good.then(|| HubName {
            owner: owner.to_owned(),
            repo: repo.to_owned(),
            file: file.map(str::to_owned),
        })
    }

    /// The user or organisation.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The repository, without its owner.
    pub fn repo(&self) -> &str {
        &self.repo
    }

    /// What is said of the file: a path with `/` that ends in `.gguf`, or a word that is in its name.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// The same with this file, if it is fit to be one.
    pub fn with_file(&self, file: &str) -> Option<HubName> {
        HubName::of_parts(&self.owner, &self.repo, Some(file))
    }
}

impl FromStr for HubName {
    type Err = HubError;

    fn from_str(text: &str) -> Result<HubName, HubError> {
        let understood = || {
            let (owner, rest) = text.strip_prefix(PREFIX)?.split_once('/')?;
            match rest.split_once(':') {
                Some((repo, file)) => HubName::of_parts(owner, repo, Some(file)),
                None => HubName::of_parts(owner, rest, None),
            }
        };
        understood().ok_or_else(|| HubError::Name {
            found: Quoted::new(text),
        })
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}/{}", self.owner, self.repo)?;
        match &self.file {
            Some(file) => write!(f, ":{file}"),
            None => Ok(()),
        }
    }
}

/// By the hub's rules: letters, digits, `-`, `_` and `.`, without `--` and `..`, and none of the signs at either end.
fn is_repo_part(part: &str) -> bool {
    let is_sign = |c: char| "-.".contains(c);
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || is_sign(c);
    (1..=PART_CHARS_MAX).contains(&part.len())
        && part.chars().all(is_allowed)
        && !part.starts_with(is_sign)
        && !part.ends_with(is_sign)
        && !part.contains("--")
        && !part.contains("..")
}

/// A path of few folders, or one word. No part begins with a sign, so that none is hidden, `.` or `..`.
pub(crate) fn is_file(file: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_part = |part: &str| {
        part.starts_with(is_plain) && !part.ends_with('.') && part.chars().all(|c| is_plain(c) || "-.+".contains(c))
    };
    file.len() <= FILE_CHARS_MAX
        && file.split('/').count() <= FILE_PARTS_MAX
        && file.split('/').all(is_part)
        && (is_gguf(file) || !file.contains('/'))
}

/// Whether the file's name ends as a GGUF file's does.
pub(super) fn is_gguf(file: &str) -> bool {
    file.strip_suffix(".gguf")
        .is_some_and(|stem| !stem.is_empty() && !stem.ends_with('/'))
}
