//! From the Hugging Face hub into its cache: the repository's list, then each GGUF file that is not there yet, then the
//! links that give them their names.
//!
//! Of `hf-hub` this takes the addresses of the interface and the layout of the cache. Its own requests are not used: they
//! follow whatever redirection they get, panic at some, make paths of whatever the server says, and compare no digest.

mod cache;
mod listing;

use std::path::PathBuf;

use hf_hub::Repo;

use self::cache::Written;
use self::listing::{HubFile, Listing};
use super::client::{Ask, Client};
use super::error::PullError;
use super::progress::{FileReport, Progress, Report, tell};
use super::transfer;
use super::url::encoded;
use crate::hub::{HubCache, HubName};

/// Bytes of a repository's list at most.
const LISTING_BYTES_MAX: u64 = 8 << 20;

/// Pulls what `name` means into the folder `cache`.
pub(super) fn pull(
    client: &Client,
    name: &HubName,
    cache: &HubCache,
    report: Report<'_>,
) -> Result<Vec<PathBuf>, PullError> {
    tell(report, Progress::Manifest)?;
    let repository = Repository {
        client,
        id: format!("{}/{}", name.owner(), name.repo()),
    };
    let listing = client.patiently(|| repository.list())?;
    let files = listing.choose(name)?;
    let cache = Written::new(cache, &repository.id);
    for file in &files {
        repository.fetch(file, &listing.commit, &cache, report)?;
    }
    tell(report, Progress::Verifying)?;
    tell(report, Progress::Writing)?;
    let mut paths = Vec::new();
    for file in &files {
        paths.push(cache.link(file, &listing.commit)?);
    }
    // What was pulled at an earlier commit and is the same at this one stays to be found.
    for file in listing.files() {
        if cache.has(file)? {
            cache.link(file, &listing.commit)?;
        }
    }
    cache.name_commit(&listing.commit)?;
    tell(report, Progress::Success)?;
    Ok(paths)
}

/// One repository of the hub.
struct Repository<'a> {
    client: &'a Client,
    id: String,
}

impl Repository<'_> {
    fn list(&self) -> Result<Listing, PullError> {
        let access = &self.client.access;
        let path = format!("api/{}", Repo::model(self.id.clone()).api_url());
        let reply = self.client.get(&Ask {
            url: &access.hub.below(&path).with_query("blobs=true"),
            accept: "application/json",
            bearer: access.hub_token.as_ref(),
            from: 0,
            is_small: true,
        })?;
        let host = reply.origin.to_string();
        match reply.status() {
            200 => Listing::parse(&host, &reply.read("the repository's list", LISTING_BYTES_MAX)?),
            status => Err(self.refusal(host, status)),
        }
    }

    fn fetch(&self, file: &HubFile, commit: &str, cache: &Written, report: Report<'_>) -> Result<(), PullError> {
        let mut report = FileReport::new(report, &file.digest, file.bytes);
        if cache.has(file)? {
            return report.at(file.bytes);
        }
        let access = &self.client.access;
        let repo = Repo::model(self.id.clone());
        let path = format!("{}/resolve/{commit}/{}", repo.url(), encoded(&file.path, "/"));
        let url = access.hub.below(&path);
        let mut open = |from| {
            let reply = self.client.get(&Ask {
                url: &url,
                accept: "*/*",
                bearer: access.hub_token.as_ref(),
                from,
                is_small: false,
            })?;
            match reply.status() {
                // By the hub itself; where it sends to knows nobody.
                status @ (401 | 403 | 404) if reply.origin == url.origin => {
                    Err(self.refusal(reply.origin.to_string(), status))
                }
                _ => Ok(reply),
            }
        };
        let mut partial = cache.partial(file)?;
        transfer::fetch(self.client, file.bytes, &mut open, &mut partial, &mut report)?;
        let finished = partial.finish(file.bytes);
        finished.map(drop).map_err(|error| PullError::of_store(error, 0))
    }

    fn refusal(&self, host: String, status: u16) -> PullError {
        let repo = self.id.clone();
        match status {
            401 | 404 => PullError::NoSuchRepo { host, repo },
            403 => PullError::Gated { host, repo },
            status => PullError::Status { host, status },
        }
    }
}
