//! Wraps a text at words while it streams in: a word that does not fit is taken back and begun on the next line.

use std::fmt::Write as _;

/// Where the cursor is, and what may have to move.
#[derive(Debug)]
pub(super) struct Wrap {
    /// Columns to use; none: lines are the terminal's business.
    width: Option<usize>,
    column: usize,
    /// The part of a word that is on the current line.
    word: String,
    word_width: usize,
}

impl Wrap {
    /// For a terminal of `columns`; the last one stays free, since terminals differ in what they do after it.
    pub(super) fn new(columns: Option<usize>) -> Wrap {
        Wrap {
            width: columns
                .map(|columns| columns.saturating_sub(1))
                .filter(|width| *width >= 8),
            column: 0,
            word: String::new(),
            word_width: 0,
        }
    }

    /// Whether the cursor is at the beginning of a line.
    pub(super) fn is_at_start(&self) -> bool {
        self.column == 0
    }

    /// What to write for `text`. Control characters are left out: no answer steers the terminal.
    pub(super) fn add(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                '\n' => self.break_line(&mut out),
                '\t' => (0..4 - self.column % 4).for_each(|_| self.space(&mut out)),
                ' ' => self.space(&mut out),
                c if c.is_control() => {}
                c => self.letter(c, &mut out),
            }
        }
        out
    }

    fn break_line(&mut self, out: &mut String) {
        out.push('\n');
        (self.column, self.word_width) = (0, 0);
        self.word.clear();
    }

    /// Spaces at the end of a full line are not seen.
    fn space(&mut self, out: &mut String) {
        self.end_word();
        if self.width.is_none_or(|width| self.column < width) {
            out.push(' ');
            self.column += 1;
        }
    }

    fn end_word(&mut self) {
        self.word.clear();
        self.word_width = 0;
    }

    fn letter(&mut self, c: char, out: &mut String) {
        let columns = console::measure_text_width(c.encode_utf8(&mut [0; 4]));
        if self.width.is_some_and(|width| self.column + columns > width) {
            self.carry_over(out);
        }
        out.push(c);
        self.column += columns;
        if columns == 2 {
            // Between characters that take two columns a line may break anywhere.
            self.end_word();
        } else {
            self.word.push(c);
            self.word_width += columns;
        }
    }

    /// Begins the next line with the word that did not fit, unless the word has a line of its own already.
    fn carry_over(&mut self, out: &mut String) {
        if self.word_width > 0 && self.word_width < self.column {
            // Writing to a string cannot fail.
            let _ = write!(out, "\x1b[{}D\x1b[K\n{}", self.word_width, self.word);
            self.column = self.word_width;
        } else {
            self.break_line(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a terminal shows of `out`, trailing spaces left out.
    fn shown(out: &str) -> String {
        let mut lines = vec![Vec::new()];
        let mut rest = out;
        while let Some(c) = rest.chars().next() {
            let line = lines.last_mut().unwrap();
            if let Some(after) = rest.strip_prefix("\x1b[K") {
                rest = after;
                continue;
            }
            if let Some(after) = rest.strip_prefix("\x1b[") {
                let (back, after) = after.split_once('D').unwrap();
                line.truncate(line.len() - back.parse::<usize>().unwrap());
                rest = after;
                continue;
            }
            rest = &rest[c.len_utf8()..];
            match c {
                '\n' => lines.push(Vec::new()),
                c => line.push(c),
            }
        }
        let lines = lines
            .into_iter()
            .map(|line| line.into_iter().collect::<String>().trim_end().to_owned());
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The same whatever pieces the text comes in.
    fn check(columns: usize, text: &str, expected: &str) {
        for size in [1, 3, 1000] {
            let mut wrap = Wrap::new(Some(columns));
            let letters: Vec<char> = text.chars().collect();
            let out: String = letters
                .chunks(size)
                .map(|piece| wrap.add(&piece.iter().collect::<String>()))
                .collect();
            assert_eq!(shown(&out), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_word_that_does_not_fit_begins_the_next_line() {
        check(11, "one two three four", "one two\nthree four");
        check(11, "0123456789 abc", "0123456789\nabc");
        check(11, "a\n\nb", "a\n\nb");
    }

    #[test]
    fn a_word_longer_than_a_line_is_cut_at_the_margin() {
        check(11, "ab 012345678901234", "ab\n0123456789\n01234");
    }

    #[test]
    fn wide_characters_break_anywhere() {
        check(11, "函数返回两个数的和", "函数返回两\n个数的和");
        check(11, "abc函数返回两个", "abc函数返\n回两个");
    }

    #[test]
    fn nothing_steers_the_terminal_and_without_a_width_nothing_is_wrapped() {
        let mut wrap = Wrap::new(None);
        assert_eq!(wrap.add("a\u{1b}[2J\u{7}\r\nb c"), "a[2J\nb c");
        let long = "word ".repeat(100);
        assert_eq!(wrap.add(&long), long);
        assert!(Wrap::new(Some(3)).width.is_none(), "too narrow to wrap");
    }
}
