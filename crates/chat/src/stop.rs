//! Looks for stop strings in text that arrives in pieces.

/// Lets text through up to the first stop string.
///
/// "First" is the one that is complete first, so that generation can end there; of those complete at the same character
/// the longest. That depends on the text alone, not on how it was cut.
#[derive(Debug, Default)]
pub(crate) struct StopScanner {
    stops: Vec<String>,
    /// The longest end of the text so far that a stop string begins with.
    held: String,
}

impl StopScanner {
    /// Looks for any of `stops`; an empty one never matches.
    pub(crate) fn new(stops: &[String]) -> StopScanner {
        let stops = stops.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        StopScanner {
            stops,
            held: String::new(),
        }
    }

    /// Adds `text` and writes onto `out` what can no longer be part of a stop string.
    ///
    /// Returns the part of `text` behind a complete stop string, if there is one.
    pub(crate) fn push<'t>(&mut self, text: &'t str, out: &mut String) -> Option<&'t str> {
        if self.stops.is_empty() {
            out.push_str(text);
            return None;
        }
        for (at, letter) in text.char_indices() {
            self.held.push(letter);
            let ending = self.stops.iter().filter(|stop| self.held.ends_with(stop.as_str()));
            if let Some(stop_bytes) = ending.map(String::len).max() {
                self.held.truncate(self.held.len() - stop_bytes);
                self.release(out);
                return Some(&text[at + letter.len_utf8()..]);
            }
            self.hold_less(out);
        }
        None
    }

    /// Moves everything before the longest live beginning of a stop string onto `out`.
    fn hold_less(&mut self, out: &mut String) {
        let live = |start: &usize| self.stops.iter().any(|stop| stop.starts_with(&self.held[*start..]));
        let start = self
            .held
            .char_indices()
            .map(|(start, _)| start)
            .find(live)
            .unwrap_or(self.held.len());
        out.push_str(&self.held[..start]);
        self.held.drain(..start);
    }

    /// Gives up what was held back: nothing more comes.
    pub(crate) fn release(&mut self, out: &mut String) {
        out.push_str(&self.held);
        self.held.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The whole-text definition: try every end, the longest stop string there.
    fn until_stop<'t>(text: &'t str, stops: &[String]) -> (&'t str, bool) {
        for (at, letter) in text.char_indices() {
            let read = &text[..at + letter.len_utf8()];
            if let Some(bytes) = stops
                .iter()
                .filter(|s| !s.is_empty() && read.ends_with(s.as_str()))
                .map(String::len)
                .max()
            {
                return (&read[..read.len() - bytes], true);
            }
        }
        (text, false)
    }

    fn scan(pieces: &[String], stops: &[String]) -> (String, bool) {
        let mut scanner = StopScanner::new(stops);
        let mut out = String::new();
        for piece in pieces {
            if scanner.push(piece, &mut out).is_some() {
                return (out, true);
            }
        }
        scanner.release(&mut out);
        (out, false)
    }

    proptest! {
        #[test]
        fn any_cut_stops_where_the_whole_text_does(
            pieces in prop::collection::vec("[ab中]{0,4}", 0..10),
            stops in prop::collection::vec("[ab中]{0,5}", 0..4),
        ) {
            let (text, found) = scan(&pieces, &stops);
            let whole = pieces.concat();
            prop_assert_eq!((text.as_str(), found), until_stop(&whole, &stops));
        }
    }

    #[test]
    fn only_what_may_still_become_a_stop_string_is_held_back() {
        let mut scanner = StopScanner::new(&["\n\nUser:".into()]);
        let mut out = String::new();
        assert_eq!(scanner.push("hi\n", &mut out), None);
        assert_eq!(out, "hi");
        assert_eq!(scanner.push("\nUse", &mut out), None);
        assert_eq!(out, "hi");
        assert_eq!(scanner.push("d", &mut out), None);
        assert_eq!(out, "hi\n\nUsed");
    }

    #[test]
    fn the_stop_string_that_is_complete_first_wins() {
        let stops = ["abcd".to_owned(), "bc".to_owned()];
        assert_eq!(scan(&["xabcd".to_owned()], &stops), ("xa".to_owned(), true));
        assert_eq!(
            scan(&["xabc".to_owned()], &["bc".to_owned(), "abc".to_owned()]),
            ("x".to_owned(), true)
        );
    }
}
