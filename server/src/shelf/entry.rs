//! The list of all models that may be asked for, each with what a list tells of it.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use library::Gguf;
use library::hub::Cached;
use library::store::{self, Details, Digest, Listed, StoredModel};

use super::Shelf;
use super::facts::{Facts, THINKING};
use crate::config::ModelChoice;
use crate::roster::Names;
use crate::start;

/// One model of a list.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// By which it may be asked for.
    pub(crate) name: String,
    pub(crate) modified: SystemTime,
    /// All its files together.
    pub(crate) bytes: u64,
    /// Of its manifest; of its content where there is none; of its place, length and time where reading the content would
    /// take minutes. It changes when the model does.
    pub(crate) digest: Digest,
    /// In Ollama's words.
    pub(crate) details: Details,
    pub(crate) context_length: Option<u64>,
    pub(crate) embedding_length: Option<u64>,
    /// Nothing where its file cannot be read.
    pub(crate) capabilities: Vec<&'static str>,
}

/// A model under one of the names by which it may be asked for.
#[derive(Clone, Debug)]
pub(crate) struct Offered {
    pub(crate) entry: Entry,
    /// The name that the operator gave it, if it is listed for that.
    pub(crate) alias: Option<String>,
}

impl Shelf {
    /// All models that may be asked for, the latest first, then the operator's names for them.
    pub(crate) fn list(&self, names: &Names) -> Vec<Offered> {
        let is_offered = |entry: &Entry| names.on_demand || entry.name == tagged(names.own_name().to_owned());
        let mut entries = self.entries();
        entries.retain(|entry| is_offered(entry) && names.alias(&entry.name).is_none());
        let own = entries.into_iter().map(|entry| Offered { entry, alias: None });
        let aliases = names.aliases.iter().filter_map(|alias| {
            let (choice, skips_thought) = self.meant(names, &alias.name)?;
            let mut entry = self.entry(&choice).map_err(|error| self.warn_once(&error)).ok()?;
            if skips_thought {
                entry.capabilities.retain(|capability| *capability != THINKING);
            }
            let alias = Some(alias.name.clone());
            is_offered(&entry).then_some(Offered { entry, alias })
        });
        own.chain(aliases).collect()
    }

    fn entries(&self) -> Vec<Entry> {
        let listing = store::list(&self.places.stores);
        listing.refused.iter().for_each(|refused| self.warn_once(refused));
        let stored = listing.models.into_iter().map(|model| self.of_listed(model));
        let cached = self.places.hub.iter().flat_map(|hub| hub.list());
        let cached = cached.filter_map(|model| self.of_cached(model));
        let mut entries: Vec<Entry> = stored.chain(cached).collect();
        entries.extend(self.of_configured());
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.modified));
        entries
    }

    fn of_listed(&self, model: Listed) -> Entry {
        let found = store::find(&self.places.stores, &model.name).map_err(|error| self.warn_once(&error));
        let facts = found.ok().and_then(|found| self.facts_of_file(&found.path));
        let entry = Entry {
            name: model.name.to_string(),
            modified: model.modified,
            bytes: model.bytes,
            digest: model.id,
            details: model.details,
            context_length: None,
            embedding_length: None,
            capabilities: Vec::new(),
        };
        match facts {
            Some(facts) => entry.with(facts),
            None => entry,
        }
    }

    fn of_cached(&self, model: Cached) -> Option<Entry> {
        let facts = self.facts_of_file(&model.path)?;
        Some(Entry {
            name: model.name.to_string(),
            modified: model.modified,
            bytes: model.bytes,
            digest: digest_of_cached(&model.path).unwrap_or_else(|| stand_in(&model.path, model.bytes, model.modified)),
            details: facts.details.clone(),
            context_length: facts.context_length,
            embedding_length: facts.embedding_length,
            capabilities: facts.capabilities,
        })
    }

    /// The configured model, where it is in no store and so not listed already.
    fn of_configured(&self) -> Option<Entry> {
        match &self.places.configured {
            ModelChoice::Stored { .. } | ModelChoice::Hub { .. } => None,
            ModelChoice::Tiny | ModelChoice::File(_) => {
                let (gguf, _) = start::open_with_store(&self.places.configured)
                    .map_err(|error| self.warn_once(&error))
                    .ok()?;
                Some(Entry::of_file(&self.places.configured, &gguf))
            }
        }
    }

    fn facts_of_file(&self, path: &Path) -> Option<Facts> {
        self.known.of_file(path).map_err(|error| self.warn_once(&error)).ok()
    }
}

impl Entry {
    /// Of a model whose files are gone, although it is still loaded.
    pub(crate) fn unknown(name: &str) -> Entry {
        Entry {
            name: tagged(name.to_owned()),
            modified: UNIX_EPOCH,
            bytes: 0,
            digest: Digest::of(name.as_bytes()),
            details: Details::default(),
            context_length: None,
            embedding_length: None,
            capabilities: Vec::new(),
        }
    }

    /// By its manifest and its config alone.
    pub(super) fn of_stored(stored: &StoredModel) -> Entry {
        Entry {
            name: stored.name.to_string(),
            modified: stored.modified,
            bytes: stored.bytes,
            digest: stored.id.clone(),
            details: stored.details.clone(),
            context_length: None,
            embedding_length: None,
            capabilities: Vec::new(),
        }
    }

    /// Of a model that is in no store.
    pub(super) fn of_file(choice: &ModelChoice, gguf: &Gguf) -> Entry {
        let facts = Facts::of(gguf);
        let (digest, modified) = match choice {
            ModelChoice::File(path) => {
                let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified());
                let modified = modified.unwrap_or(UNIX_EPOCH);
                (stand_in(path, gguf.file_bytes(), modified), modified)
            }
            _ => (Digest::of(models::tiny::GGUF), program_time()),
        };
        Entry {
            name: tagged(start::id(choice, gguf)),
            modified,
            bytes: gguf.file_bytes(),
            digest,
            details: facts.details.clone(),
            context_length: facts.context_length,
            embedding_length: facts.embedding_length,
            capabilities: facts.capabilities,
        }
    }

    /// With what the file says, in which the manifest's own words stand.
    pub(super) fn with(mut self, facts: Facts) -> Entry {
        let fill = |word: &mut String, known: String| {
            if word.is_empty() {
                *word = known;
            }
        };
        fill(&mut self.details.format, facts.details.format);
        fill(&mut self.details.family, facts.details.family);
        fill(&mut self.details.parameter_size, facts.details.parameter_size);
        fill(&mut self.details.quantization_level, facts.details.quantization_level);
        if self.details.families.is_empty() {
            self.details.families = facts.details.families;
        }
        self.context_length = facts.context_length;
        self.embedding_length = facts.embedding_length;
        self.capabilities = facts.capabilities;
        self
    }
}

/// A name as clients expect one: they take what is before the colon for the model and what is behind for its variant.
pub(crate) fn tagged(id: String) -> String {
    let last = id.rsplit('/').next().unwrap_or_default();
    if last.contains(':') { id } else { format!("{id}:latest") }
}

/// The hub's tools name a file of theirs by its content's digest, and link to it.
fn digest_of_cached(path: &Path) -> Option<Digest> {
    let target = path.canonicalize().ok()?;
    Digest::parse(&format!("sha256:{}", target.file_name()?.to_str()?))
}

/// Changes when the file does, as far as can be seen without reading it.
fn stand_in(path: &Path, bytes: u64, modified: SystemTime) -> Digest {
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    let said = format!("{}\n{bytes}\n{}", path.display(), since.as_nanos());
    Digest::of(said.as_bytes())
}

/// When this program was built or installed: its embedded model is as old.
fn program_time() -> SystemTime {
    let modified = std::env::current_exe().and_then(std::fs::metadata);
    let modified = modified.and_then(|metadata| metadata.modified());
    modified.unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn names_have_a_tag() {
        for (id, expected) in [
            ("tandem-tiny", "tandem-tiny:latest"),
            ("deepseek-r1:32b", "deepseek-r1:32b"),
            ("host:5000/a/b", "host:5000/a/b:latest"),
        ] {
            assert_eq!(tagged(id.to_owned()), expected);
        }
    }

    #[test]
    fn a_file_whose_content_is_not_read_has_another_digest_when_it_has_changed() {
        let at = UNIX_EPOCH + Duration::from_secs(1);
        let digest = |path: &str, bytes, at| stand_in(Path::new(path), bytes, at);
        let first = digest("a", 1, at);
        assert_eq!(first, digest("a", 1, at));
        for other in [digest("b", 1, at), digest("a", 2, at), digest("a", 1, UNIX_EPOCH)] {
            assert_ne!(first, other);
        }
    }
}
