//! Colours for people at a terminal; none for files, pipes and whoever set `NO_COLOR`.

use std::io::IsTerminal;

/// Whether to colour.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    pub(crate) is_coloured: bool,
}

impl Paint {
    /// For what is written to `stream`.
    pub(crate) fn on(stream: &impl IsTerminal) -> Paint {
        Paint {
            is_coloured: stream.is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    /// Links, and the filled part of bars.
    pub(crate) fn accent(self, text: &str) -> String {
        self.with("36", text)
    }

    pub(crate) fn alarm(self, text: &str) -> String {
        self.with("1;31", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.is_coloured && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
