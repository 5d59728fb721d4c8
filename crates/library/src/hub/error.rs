//! What can be wrong with a name of the hub or with what the cache has of it, each in one line with what to do.

use std::path::PathBuf;

use crate::Quoted;

/// A model of the hub that cannot be had, and why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the message above each field says what it holds")]
pub enum HubError {
    /// No name at all.
    #[error(
        "`{found}` is no model of the Hugging Face hub: a name is hf:owner/repo, or hf:owner/repo:file with a .gguf file of \
         it or a word such as Q4_K_M"
    )]
    Name { found: Quoted },
    /// Nothing of the repository is there.
    #[error("{name} is not in {}: download it with `tandem pull {name}`", cache.display())]
    NotCached { name: String, cache: PathBuf },
    /// No variable says where the cache is.
    #[error("{name} cannot be looked for: none of HF_HUB_CACHE, HF_HOME and HOME is set")]
    NoCache { name: String },
    /// The repository is there, the file is not.
    #[error("{name} has no such file; it has {}", listed(files))]
    NoSuchFile { name: String, files: Vec<String> },
    /// Several files may be meant.
    #[error(
        "{name} has several models, say which as {name}:FILE or by a word such as Q4_K_M; it has {}",
        listed(files)
    )]
    Several { name: String, files: Vec<String> },
    /// A file that lies elsewhere or is none.
    #[error("{} {problem}: repair the cache, or download the model again", path.display())]
    Odd { path: PathBuf, problem: &'static str },
    /// The system refuses.
    #[error("{} cannot be read: {cause}; see that this user may read the cache", path.display())]
    Unreadable { path: PathBuf, cause: std::io::Error },
}

impl HubError {
    /// The same without a path of this machine's disk: for those who ask from elsewhere.
    pub fn without_paths(&self) -> String {
        match self {
            HubError::NotCached { name, .. } => format!("{name} is not there: download it with `tandem pull {name}`"),
            HubError::Odd { problem, .. } => format!("a file of the hub's cache {problem}: download the model again"),
            HubError::Unreadable { cause, .. } => format!("a file of the hub's cache cannot be read: {cause}"),
            HubError::Name { .. }
            | HubError::NoCache { .. }
            | HubError::NoSuchFile { .. }
            | HubError::Several { .. } => self.to_string(),
        }
    }
}

/// Files that a message names at most.
const LISTED_MAX: usize = 12;

fn listed(files: &[String]) -> String {
    let shown: Vec<String> = files
        .iter()
        .take(LISTED_MAX)
        .map(|file| Quoted::new(file).to_string())
        .collect();
    match (shown.is_empty(), files.len().saturating_sub(LISTED_MAX)) {
        (true, _) => "no GGUF files".to_owned(),
        (_, 0) => shown.join(", "),
        (_, more) => format!("{} and {more} more", shown.join(", ")),
    }
}
