//! What a person sees of an answer: the thought dimmed, the answer after it, lines wrapped at words; times if wanted.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::summary;
use super::wrap::Wrap;
use crate::paint::Paint;

/// Where thoughts go.
enum Thoughts {
    /// Before the answer, dimmed.
    Inline,
    /// Somewhere else, so that the answer stands alone.
    Aside(Box<dyn Write + Send>),
    /// Nowhere.
    Hidden,
}

/// How far an answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing has been written yet.
    Waiting,
    Thinking,
    /// The answer's first letter is still to come: spaces and line ends before it are left out.
    Thought,
    Answering,
}

/// Writes answers.
pub(super) struct Page {
    out: Box<dyn Write + Send>,
    paint: Paint,
    thoughts: Thoughts,
    /// Whether `out` is a terminal: what goes elsewhere is left as it is.
    is_terminal: bool,
    pub(super) wraps: bool,
    pub(super) is_verbose: bool,
    wrap: Wrap,
    stage: Stage,
    ends_line: bool,
}

impl Page {
    /// On stdout, which may be a file.
    pub(super) fn on_terminal(wraps: bool, is_thought_hidden: bool) -> Page {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let thoughts = match (is_thought_hidden, is_terminal) {
            (true, _) => Thoughts::Hidden,
            (false, true) => Thoughts::Inline,
            (false, false) => Thoughts::Aside(Box::new(io::stderr())),
        };
        let paint = Paint::on(&stdout);
        Page::new(Box::new(stdout), thoughts, paint, is_terminal, wraps)
    }

    fn new(out: Box<dyn Write + Send>, thoughts: Thoughts, paint: Paint, is_terminal: bool, wraps: bool) -> Page {
        Page {
            out,
            paint,
            thoughts,
            is_terminal,
            wraps,
            is_verbose: false,
            wrap: Wrap::new(None),
            stage: Stage::Waiting,
            ends_line: true,
        }
    }

    /// Whether the next thing to be seen is the answer.
    pub(super) fn hides_thoughts(&self) -> bool {
        matches!(self.thoughts, Thoughts::Hidden)
    }

    /// More of the thought.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub(super) fn thought(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let is_first = self.stage == Stage::Waiting;
        let text = if is_first { text.trim_start() } else { text };
        if is_first && text.is_empty() {
            return Ok(());
        }
        if is_first {
            self.begin();
            self.stage = Stage::Thinking;
        }
        match &mut self.thoughts {
            Thoughts::Hidden => Ok(()),
            Thoughts::Aside(aside) => {
                let head = if is_first { "Thinking...\n" } else { "" };
                write!(aside, "{head}{}", self.wrap.add(text)).and_then(|()| aside.flush())
            }
            Thoughts::Inline => {
                let head = if is_first { "Thinking...\n" } else { "" };
                self.put(head, true)?;
                self.put(text, true)
            }
        }
    }

    /// More of the answer.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub(super) fn answer(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        if self.stage == Stage::Waiting {
            self.begin();
            self.stage = Stage::Thought;
        }
        self.end_thought()?;
        let text = if self.stage == Stage::Thought {
            text.trim_start()
        } else {
            text
        };
        if text.is_empty() {
            return Ok(());
        }
        self.stage = Stage::Answering;
        self.put(text, false)
    }

    /// The answer has ended, whether or not by itself.
    pub(super) fn finish_answer(&mut self) {
        // Nobody can be told that nobody reads.
        let _ = self.end_thought();
        if !self.ends_line {
            let _ = self.out.write_all(b"\n");
        }
        let _ = self.out.flush();
        (self.stage, self.ends_line) = (Stage::Waiting, true);
    }

    /// Times and speeds, from the last line of an answer.
    pub(super) fn summary(&mut self, last: &Value) {
        if self.is_verbose {
            self.finish_answer();
            let _ = write!(io::stderr(), "\n{}", summary::page(last));
        }
    }

    /// A line of the program's own.
    pub(super) fn say(&mut self, text: &str) {
        let text = text.trim_end();
        let _ = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
    }

    /// Something went wrong, and the chat goes on.
    pub(super) fn complain(&mut self, error: &dyn std::fmt::Display) {
        self.finish_answer();
        let text = crate::logging::safe(&error.to_string(), 2048);
        let head = self.paint.alarm("error:");
        self.say(&format!("{head} {text}"));
    }

    /// A new answer begins; the window may have changed.
    fn begin(&mut self) {
        let columns = || {
            console::Term::stdout()
                .size_checked()
                .map(|(_, columns)| usize::from(columns))
        };
        self.wrap = Wrap::new(if self.wraps && self.is_terminal {
            columns()
        } else {
            None
        });
    }

    fn end_thought(&mut self) -> io::Result<()> {
        if self.stage != Stage::Thinking {
            return Ok(());
        }
        self.stage = Stage::Thought;
        let end = "...done thinking.\n\n";
        match &mut self.thoughts {
            Thoughts::Hidden => Ok(()),
            Thoughts::Aside(aside) => write!(aside, "\n{end}").and_then(|()| aside.flush()),
            Thoughts::Inline => {
                let head = if self.wrap.is_at_start() { "" } else { "\n" };
                self.put(head, true)?;
                self.put(end, true)
            }
        }
    }

    fn put(&mut self, text: &str, is_dim: bool) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.ends_line = text.ends_with('\n');
        let text = if self.is_terminal {
            self.wrap.add(text)
        } else {
            text.to_owned()
        };
        // Each piece begins and ends its own colour, so that the terminal is as it was wherever it ends.
        let text = if is_dim { self.paint.dim(&text) } else { text };
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

/// A turning sign on stderr while there is nothing to read; taken away when dropped.
pub(super) struct Waiting(Option<ProgressBar>);

impl Waiting {
    /// Where stderr is no terminal nothing is shown.
    pub(super) fn begin() -> Waiting {
        if !io::stderr().is_terminal() {
            return Waiting(None);
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{spinner:.dim}").unwrap_or_else(|_| ProgressStyle::default_spinner());
        bar.set_style(style);
        bar.enable_steady_tick(Duration::from_millis(100));
        Waiting(Some(bar))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What was written, readable from outside.
    #[derive(Clone, Default)]
    pub(in crate::commands::run) struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        pub(in crate::commands::run) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A page as on a terminal, without its width.
    pub(in crate::commands::run) fn page(is_coloured: bool) -> (Page, Written) {
        let out = Written::default();
        let page = Page::new(
            Box::new(out.clone()),
            Thoughts::Inline,
            Paint { is_coloured },
            true,
            false,
        );
        (page, out)
    }

    #[test]
    fn the_thought_is_dimmed_and_the_answer_is_not() {
        let (mut page, out) = page(true);
        page.thought("\nIt is").unwrap();
        page.thought(" 85.").unwrap();
        page.answer("\n\n").unwrap();
        page.answer("85").unwrap();
        page.finish_answer();
        let dim = |text: &str| format!("\x1b[2m{text}\x1b[0m");
        let parts = ["Thinking...\n", "It is", " 85.", "\n", "...done thinking.\n\n"].map(dim);
        assert_eq!(out.text(), format!("{}85\n", parts.concat()));
    }

    #[test]
    fn elsewhere_the_answer_stands_alone_and_ends_its_line_once() {
        let (out, aside) = (Written::default(), Written::default());
        let thoughts = Thoughts::Aside(Box::new(aside.clone()));
        let mut page = Page::new(
            Box::new(out.clone()),
            thoughts,
            Paint { is_coloured: false },
            false,
            true,
        );
        page.thought("hm").unwrap();
        page.answer("\u{1b}[1m85\n").unwrap();
        page.finish_answer();
        page.answer("86").unwrap();
        page.finish_answer();
        assert_eq!(out.text(), "\u{1b}[1m85\n86\n");
        assert_eq!(aside.text(), "Thinking...\nhm\n...done thinking.\n\n");
    }

    #[test]
    fn a_thought_that_is_cut_leaves_the_terminal_as_it_was() {
        let (mut page, out) = page(true);
        page.thought("It is").unwrap();
        page.finish_answer();
        assert!(out.text().ends_with("\x1b[0m"), "{:?}", out.text());
        assert!(out.text().contains("done thinking."), "{:?}", out.text());
    }
}
