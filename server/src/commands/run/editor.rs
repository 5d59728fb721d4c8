//! The person at the terminal: an editor for lines, and what was typed before.

use std::future::Future;
use std::path::PathBuf;

use anyhow::anyhow;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};

use super::Interrupts;
use super::chat::{Line, Person};
use crate::failure::Failure;

/// Lines that are remembered at most.
const HISTORY_LINES: usize = 1000;

/// A terminal with a person at it. The editor changes the terminal's mode only while it reads a line.
pub(super) struct Terminal {
    editor: Editor<(), FileHistory>,
    history: Option<PathBuf>,
    remembers: bool,
    interrupts: Interrupts,
}

impl Terminal {
    /// With the lines of earlier chats, unless `OLLAMA_NOHISTORY` is set.
    ///
    /// # Errors
    /// The terminal cannot be used.
    pub(super) fn open(interrupts: Interrupts) -> Result<Terminal, Failure> {
        let broken = |error: ReadlineError| anyhow!("the terminal cannot be used: {error}");
        let config = Config::builder()
            .max_history_size(HISTORY_LINES)
            .map_err(broken)?
            .build();
        let history = FileHistory::with_config(&config);
        let mut editor = Editor::with_history(config, history).map_err(broken)?;
        let remembers = !is_on("OLLAMA_NOHISTORY");
        let history = std::env::home_dir().map(|home| home.join(".tandem/history"));
        if let Some(path) = history.as_ref().filter(|_| remembers) {
            // The first chat has none.
            let _ = editor.load_history(path);
        }
        Ok(Terminal {
            editor,
            history,
            remembers,
            interrupts,
        })
    }

    fn keep(&mut self, line: &str) {
        if !self.remembers || line.trim().is_empty() {
            return;
        }
        // A chat without a memory is still a chat.
        let _ = self.editor.add_history_entry(line);
        if let Some(path) = &self.history {
            let _ = path.parent().map(std::fs::create_dir_all);
            let _ = self.editor.append_history(path);
        }
    }
}

impl Person for Terminal {
    fn line(&mut self, prompt: &str) -> Line {
        // The runtime's other threads go on while this one waits for keys.
        let read = tokio::task::block_in_place(|| self.editor.readline(prompt));
        self.interrupts.forget();
        match read {
            Ok(line) => {
                self.keep(&line);
                Line::Text(line)
            }
            Err(ReadlineError::Interrupted) => Line::Interrupted,
            Err(_) => Line::End,
        }
    }

    fn remember(&mut self, remembers: bool) {
        self.remembers = remembers;
    }

    fn interrupt(&mut self) -> impl Future<Output = ()> {
        self.interrupts.next()
    }
}

/// Whether a variable is set to something that is not false.
fn is_on(name: &str) -> bool {
    let value = std::env::var(name).unwrap_or_default();
    !matches!(value.trim().to_ascii_lowercase().as_str(), "" | "0" | "f" | "false")
}
