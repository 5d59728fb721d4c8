//! What is being measured just now: one line on a terminal, nothing elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::plan::Plan;

/// The line. It is drawn when something begins and never in between, so that drawing takes nothing from what is measured.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// For everything in `plan`.
    pub(super) fn of(plan: &Plan) -> Progress {
        // Prefill, decode, each batch, the first tokens and second turns round by round; one first turn, the limits.
        let parts = plan.rounds * (4 + plan.batches.len()) + 2;
        let style = ProgressStyle::with_template("  {bar:28.cyan/dim} {msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let target = ProgressDrawTarget::stderr();
        let bar = ProgressBar::with_draw_target(Some(parts as u64), target);
        bar.set_style(style.progress_chars("━╸─"));
        Progress(bar)
    }

    /// `what` begins.
    pub(super) fn next(&self, what: impl Into<String>) {
        self.0.inc(1);
        self.0.set_message(what.into());
    }

    /// Takes the line away; the report says the rest.
    pub(super) fn end(self) {
        self.0.finish_and_clear();
    }
}
