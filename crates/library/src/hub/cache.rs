//! The cache of the hub's own tools: `models--owner--repo/refs/main` names a commit, `snapshots/<commit>/<file>` is a link
//! into `blobs`. A link that leads out of the cache is not followed.

use std::fs::{self, Metadata};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::choose::{choose, is_model};
use super::error::HubError;
use super::name::HubName;
use crate::SplitName;
use crate::regular::other_kind;

/// Bytes of a file that names a commit at most; they have 40.
const REF_BYTES_MAX: u64 = 128;
/// Folders below a snapshot that are looked into.
const DEPTH_MAX: usize = 3;
/// Files of one snapshot, and repositories of the cache, that are looked at.
const ENTRIES_MAX: usize = 10_000;

/// The folder in which the hub's own tools keep what they have downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubCache {
    root: PathBuf,
}

/// One model in the cache.
#[derive(Clone, Debug)]
pub struct Cached {
    /// With its file.
    pub name: HubName,
    /// The file, or the first part.
    pub path: PathBuf,
    /// The length of all its parts.
    pub bytes: u64,
    /// When it was written.
    pub modified: SystemTime,
}

impl HubCache {
    /// The cache in the folder `root`, whether or not it is there.
    pub fn at(root: impl Into<PathBuf>) -> HubCache {
        HubCache { root: root.into() }
    }

    /// Where the hub's own tools have it.
    ///
    /// * `hub_cache`, `hf_home`  what the variables `HF_HUB_CACHE` and `HF_HOME` say, if anything
    /// * `home`  the user's own folder, if there is one
    pub fn usual(hub_cache: Option<PathBuf>, hf_home: Option<PathBuf>, home: Option<&Path>) -> Option<HubCache> {
        let root = hub_cache
            .or_else(|| Some(hf_home?.join("hub")))
            .or_else(|| Some(home?.join(".cache/huggingface/hub")));
        root.map(HubCache::at)
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file that `name` means, or its first part; all parts are there.
    ///
    /// # Errors
    /// The cache has nothing of the repository, or no such file, or several; or a file lies outside of the cache or is
    /// none.
    pub fn find(&self, name: &HubName) -> Result<PathBuf, HubError> {
        let not_cached = || HubError::NotCached {
            name: name.to_string(),
            cache: self.root.clone(),
        };
        let snapshot = self.snapshot(name)?.ok_or_else(not_cached)?;
        let file = choose(name, &files(&snapshot))?;
        self.parts(&snapshot, &file)?;
        Ok(snapshot.join(file))
    }

    /// The models in the cache, in the order of their names; what is not as it should be is left out.
    pub fn list(&self) -> Vec<Cached> {
        let mut models = Vec::new();
        for folder in entries(&self.root) {
            let parts = folder.strip_prefix("models--").and_then(|rest| rest.split_once("--"));
            let name = parts.and_then(|(owner, repo)| HubName::of_parts(owner, repo, None));
            let Some(name) = name else { continue };
            let Ok(Some(snapshot)) = self.snapshot(&name) else {
                continue;
            };
            for file in files(&snapshot).iter().filter(|file| is_model(file)) {
                let parts = self.parts(&snapshot, file).ok();
                models.extend(name.with_file(file).zip(parts).map(|(name, parts)| {
                    Cached {
                        name,
                        path: snapshot.join(file),
                        bytes: parts.iter().map(Metadata::len).fold(0, u64::saturating_add),
                        modified: parts
                            .iter()
                            .filter_map(|part| part.modified().ok())
                            .max()
                            .unwrap_or(UNIX_EPOCH),
                    }
                }));
            }
        }
        models.sort_by(|a, b| a.name.cmp(&b.name));
        models
    }

    /// The folder of the repository's main revision.
    fn snapshot(&self, name: &HubName) -> Result<Option<PathBuf>, HubError> {
        let repo = self.root.join(format!("models--{}--{}", name.owner(), name.repo()));
        let reference = repo.join("refs/main");
        if self.look(&reference)?.is_none() {
            return Ok(None);
        }
        let mut commit = String::new();
        let read = fs::File::open(&reference).and_then(|file| file.take(REF_BYTES_MAX).read_to_string(&mut commit));
        read.map_err(|cause| HubError::Unreadable {
            path: reference.clone(),
            cause,
        })?;
        let commit = commit.trim();
        let is_commit = !commit.is_empty() && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_commit {
            let problem = "names no commit";
            return Err(HubError::Odd {
                path: reference,
                problem,
            });
        }
        let snapshot = repo.join("snapshots").join(commit);
        Ok(snapshot.is_dir().then_some(snapshot))
    }

    /// What is known of the model's file and of its other parts, all of which are there.
    fn parts(&self, snapshot: &Path, file: &str) -> Result<Vec<Metadata>, HubError> {
        let files = SplitName::of(file).map_or_else(|| vec![file.to_owned()], |split| split.all());
        let part = |file: &String| {
            let path = snapshot.join(file);
            let found = self.look(&path)?;
            found.ok_or(HubError::Odd {
                path,
                problem: "is missing",
            })
        };
        files.iter().map(part).collect()
    }

    /// What is known of the regular file at `path`, which lies in the cache when all links are followed.
    fn look(&self, path: &Path) -> Result<Option<Metadata>, HubError> {
        let found = || -> std::io::Result<(bool, Metadata)> {
            let place = path.canonicalize()?;
            Ok((place.starts_with(self.root.canonicalize()?), fs::metadata(&place)?))
        };
        let odd = |problem| {
            Err(HubError::Odd {
                path: path.to_owned(),
                problem,
            })
        };
        match found() {
            Ok((false, _)) => odd("lies outside of the cache"),
            Ok((true, metadata)) => match other_kind(metadata.file_type()) {
                None => Ok(Some(metadata)),
                Some(_) => odd("is no regular file"),
            },
            Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(HubError::Unreadable {
                path: path.to_owned(),
                cause,
            }),
        }
    }
}

/// The files of a snapshot as paths with `/`, in their order.
fn files(snapshot: &Path) -> Vec<String> {
    let mut files = Vec::new();
    // Folders to look into, with what comes before the names in them.
    let mut folders = vec![(snapshot.to_owned(), String::new(), 0)];
    while let Some((folder, prefix, depth)) = folders.pop() {
        for name in entries(&folder) {
            let path = folder.join(&name);
            let is_folder = path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
            if !is_folder {
                files.push(format!("{prefix}{name}"));
            } else if depth < DEPTH_MAX && folders.len() < ENTRIES_MAX {
                folders.push((path, format!("{prefix}{name}/"), depth + 1));
            }
        }
        if files.len() > ENTRIES_MAX {
            break;
        }
    }
    files.sort();
    files
}

/// The names in a folder that are texts; none if it cannot be read.
fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.take(ENTRIES_MAX).collect()
}
