//! The folder that Hugging Face's programs share: `blobs/<sha256>` has the content, `snapshots/<commit>/<path>` links to
//! it, `refs/main` says which commit is meant.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hf_hub::{Cache, CacheRepo, Repo};

use super::super::error::PullError;
use super::listing::HubFile;
use crate::hub::HubCache;
use crate::store::{Partial, Place};

/// What is written of one repository.
pub(super) struct Written {
    root: PathBuf,
    repo: CacheRepo,
}

impl Written {
    pub(super) fn new(cache: &HubCache, repo: &str) -> Written {
        let root = cache.root();
        Written {
            root: root.to_owned(),
            repo: Cache::new(root.to_owned()).repo(Repo::model(repo.to_owned())),
        }
    }

    /// Whether the file's content is there, as long as it should be.
    pub(super) fn has(&self, file: &HubFile) -> Result<bool, PullError> {
        match fs::metadata(self.blob(file)) {
            Ok(metadata) => Ok(metadata.is_file() && metadata.len() == file.bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(PullError::Disk(error)),
        }
    }

    /// The beginning of the file's content, under the name that Python's client gives it too.
    pub(super) fn partial(&self, file: &HubFile) -> Result<Partial, PullError> {
        let whole = self.blob(file);
        let place = Place {
            root: self.root.clone(),
            partial: whole.with_extension("incomplete"),
            whole,
        };
        Partial::at(place, &file.digest, file.bytes).map_err(|error| PullError::of_store(error, file.bytes))
    }

    /// Gives the content the file's name at `commit`; returns where that is.
    pub(super) fn link(&self, file: &HubFile, commit: &str) -> Result<PathBuf, PullError> {
        let path = self.repo.pointer_path(commit).join(&file.path);
        let folder = path.parent().unwrap_or(&path);
        let made = fs::create_dir_all(folder).and_then(|()| self.link_anew(file, &path));
        made.map_err(PullError::Disk)?;
        Ok(path)
    }

    /// Makes `commit` the one that is meant where none is said.
    pub(super) fn name_commit(&self, commit: &str) -> Result<(), PullError> {
        self.repo.create_ref(commit).map_err(PullError::Disk)
    }

    fn blob(&self, file: &HubFile) -> PathBuf {
        self.repo.blob_path(file.digest.hex())
    }

    #[cfg(unix)]
    fn link_anew(&self, file: &HubFile, path: &Path) -> io::Result<()> {
        // Up from the file's folder to the repository's: a cache that is moved keeps its links.
        let up = "../".repeat(2 + file.path.matches('/').count());
        let target = PathBuf::from(format!("{up}blobs/{}", file.digest.hex()));
        if fs::read_link(path).is_ok_and(|found| found == target) {
            return Ok(());
        }
        remove(path)?;
        std::os::unix::fs::symlink(target, path)
    }

    #[cfg(not(unix))]
    fn link_anew(&self, file: &HubFile, path: &Path) -> io::Result<()> {
        remove(path)?;
        fs::hard_link(self.blob(file), path)
    }
}

/// Removes what stands where a link is to be, if anything does.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
