//! How far loading is: a bar on a terminal, a few plain lines in a log, nothing for what takes no time.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::units;

/// Files below this load before anybody could read a line about it.
const SMALL_BYTES: u64 = 64_000_000;

/// Plain lines from start to end.
const PLAIN_LINES: u64 = 5;

/// Shows the progress of one load; told from any thread.
pub(crate) enum Progress {
    Silent,
    Bar(ProgressBar),
    Lines { bytes: u64, said: AtomicU64 },
}

impl Progress {
    /// For a load of `bytes`.
    pub(crate) fn of(bytes: u64) -> Progress {
        if bytes < SMALL_BYTES {
            return Progress::Silent;
        }
        if !std::io::stderr().is_terminal() {
            return Progress::Lines {
                bytes,
                said: AtomicU64::new(0),
            };
        }
        let template = "  loading {bar:28.cyan/dim} {percent:>3} %  {decimal_bytes} of {decimal_total_bytes}  \
                        {eta} left";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
        bar.set_style(style.progress_chars("━╸─"));
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress::Bar(bar)
    }

    /// `done` bytes are read.
    pub(crate) fn at(&self, done: u64) {
        match self {
            Progress::Silent => {}
            Progress::Bar(bar) => bar.set_position(done),
            Progress::Lines { bytes, said } => {
                let part = done.saturating_mul(PLAIN_LINES) / (*bytes).max(1);
                if said.fetch_max(part, Ordering::Relaxed) < part {
                    tracing::info!(loaded = units::bytes(done), of = units::bytes(*bytes), "loading");
                }
            }
        }
    }

    /// Takes the bar away; the start-up lines say the rest.
    pub(crate) fn end(&self) {
        if let Progress::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
