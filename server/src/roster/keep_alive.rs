//! How long a model stays loaded after its last request.

use std::str::FromStr;
use std::time::Duration;

/// A time, or for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeepAlive {
    /// This long after the last request has ended.
    For(Duration),
    /// Until the program ends, or room is needed.
    Forever,
}

impl KeepAlive {
    /// Not at all.
    pub(crate) const NONE: KeepAlive = KeepAlive::For(Duration::ZERO);

    /// So many seconds; less than none is for ever.
    pub(crate) fn seconds(seconds: f64) -> KeepAlive {
        match Duration::try_from_secs_f64(seconds) {
            Ok(time) => KeepAlive::For(time),
            Err(_) => KeepAlive::Forever,
        }
    }
}

/// As Go writes durations, `1h30m` or `-1s`, or a number of seconds.
impl FromStr for KeepAlive {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<KeepAlive, &'static str> {
        const ALLOWED: &str = "a time such as 10m or 1h30m, a number of seconds, or -1 for ever";
        let text = text.trim();
        if let Ok(seconds) = text.parse::<f64>() {
            return if seconds.is_nan() {
                Err(ALLOWED)
            } else {
                Ok(KeepAlive::seconds(seconds))
            };
        }
        let is_negative = text.starts_with('-');
        let mut rest = text.trim_start_matches(['-', '+']);
        let mut seconds = 0.0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(ALLOWED)?;
            let (number, after) = rest.split_at(digits);
            let unit_end = after
                .find(|c: char| c.is_ascii_digit() || c == '.')
                .unwrap_or(after.len());
            let (unit, after) = after.split_at(unit_end);
            let unit = match unit {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" | "μs" => 1e-6,
                "ns" => 1e-9,
                _ => return Err(ALLOWED),
            };
            seconds += number.parse::<f64>().map_err(|_| ALLOWED)? * unit;
            rest = after;
        }
        match (text.is_empty(), is_negative) {
            (true, _) => Err(ALLOWED),
            (false, true) => Ok(KeepAlive::Forever),
            (false, false) => Ok(KeepAlive::seconds(seconds)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_go_writes_them() {
        for (text, seconds) in [
            ("5m", 300.0),
            ("1h30m", 5400.0),
            ("90", 90.0),
            ("1.5s", 1.5),
            ("300ms", 0.3),
            ("0", 0.0),
        ] {
            assert_eq!(text.parse(), Ok(KeepAlive::seconds(seconds)), "{text}");
        }
        for text in ["-1", "-1s", "-10m", "1e300"] {
            assert_eq!(text.parse(), Ok(KeepAlive::Forever), "{text}");
        }
        for text in ["", "m", "5x", "5m3", "five", "1..2s", "-", "NaN", "5 m"] {
            assert!(text.parse::<KeepAlive>().is_err(), "{text}");
        }
    }
}
