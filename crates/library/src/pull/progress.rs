//! How far a pull is, in Ollama's steps and words.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::error::PullError;
use crate::store::Digest;

/// The shortest time between two reports of the same file.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// One report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is asked what the model is made of.
    Manifest,
    /// One of its files.
    File {
        /// Its digest, by which it is called.
        digest: Digest,
        /// Its length.
        total_bytes: u64,
        /// What there is of it.
        completed_bytes: u64,
    },
    /// All files are there.
    Verifying,
    /// The model is given its name.
    Writing,
    /// It can be used.
    Success,
}

impl Progress {
    /// Ollama's words for it.
    pub fn status(&self) -> String {
        match self {
            Progress::Manifest => "pulling manifest".to_owned(),
            Progress::File { digest, .. } => format!("pulling {}", digest.short()),
            Progress::Verifying => "verifying sha256 digest".to_owned(),
            Progress::Writing => "writing manifest".to_owned(),
            Progress::Success => "success".to_owned(),
        }
    }
}

/// Is told of each step, and says whether to go on.
pub type Report<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

/// Tells one step.
pub(super) fn tell(report: Report<'_>, progress: Progress) -> Result<(), PullError> {
    match report(progress) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(PullError::Stopped),
    }
}

/// The reports of one file: its beginning, its end, and now and then between.
pub(super) struct FileReport<'a> {
    report: Report<'a>,
    digest: Digest,
    total_bytes: u64,
    told: Option<(Instant, u64)>,
}

impl<'a> FileReport<'a> {
    pub(super) fn new(report: Report<'a>, digest: &Digest, total_bytes: u64) -> FileReport<'a> {
        FileReport {
            report,
            digest: digest.clone(),
            total_bytes,
            told: None,
        }
    }

    pub(super) fn at(&mut self, completed_bytes: u64) -> Result<(), PullError> {
        let is_due = self.told.is_none_or(|(at, bytes)| {
            let is_end = completed_bytes == self.total_bytes && bytes != completed_bytes;
            is_end || completed_bytes < bytes || at.elapsed() >= REPORT_EVERY
        });
        if !is_due {
            return Ok(());
        }
        self.told = Some((Instant::now(), completed_bytes));
        let progress = Progress::File {
            digest: self.digest.clone(),
            total_bytes: self.total_bytes,
            completed_bytes,
        };
        tell(self.report, progress)
    }
}
