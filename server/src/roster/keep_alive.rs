//! How long a model stays loaded when nobody uses it, as Ollama's requests and variables say it.

use std::time::Duration;

/// How long a model stays loaded after its last request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeepAlive {
    /// Until somebody unloads it.
    Forever,
    /// So long; zero means that it goes as soon as nobody uses it.
    For(Duration),
}

/// Go's durations end at so many seconds, `i64::MAX` nanoseconds.
const SECONDS_MAX: f64 = 9_223_372_036.0;

impl KeepAlive {
    /// Not at all.
    pub(crate) const NONE: KeepAlive = KeepAlive::For(Duration::ZERO);

    /// So many seconds; any number below zero means forever, as does one that no clock of Go's counts. None for what is
    /// no number.
    pub(crate) fn seconds(seconds: f64) -> Option<KeepAlive> {
        if seconds.is_nan() {
            return None;
        }
        if !(0.0..=SECONDS_MAX).contains(&seconds) {
            return Some(KeepAlive::Forever);
        }
        Some(Duration::try_from_secs_f64(seconds).map_or(KeepAlive::Forever, KeepAlive::For))
    }

    /// Reads a duration as Go writes it, `10m`, `1h30m`, `-1s`, or a bare number of seconds.
    pub(crate) fn parse(text: &str) -> Option<KeepAlive> {
        let text = text.trim();
        let is_bare = text.ends_with(|last: char| last.is_ascii_digit() || last == '.');
        if is_bare {
            return text.parse().ok().and_then(KeepAlive::seconds);
        }
        let (sign, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (-1.0, rest),
            None => (1.0, text.strip_prefix('+').unwrap_or(text)),
        };
        let mut seconds = 0.0;
        loop {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
            let (number, behind) = rest.split_at(digits);
            let letters = behind.find(|c: char| c.is_ascii_digit() || c == '.');
            let (unit, behind) = behind.split_at(letters.unwrap_or(behind.len()));
            seconds += number.parse::<f64>().ok()? * unit_seconds(unit)?;
            if behind.is_empty() {
                return KeepAlive::seconds(sign * seconds);
            }
            rest = behind;
        }
    }

    /// Whether the model is to go as soon as nobody uses it.
    pub(crate) fn is_zero(self) -> bool {
        self == KeepAlive::NONE
    }
}

fn unit_seconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e-9,
        "us" | "µs" | "μs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them_or_as_seconds() {
        let lasting = |seconds: f64| Some(KeepAlive::For(Duration::from_secs_f64(seconds)));
        for (text, expected) in [
            ("0", lasting(0.0)),
            ("0s", lasting(0.0)),
            ("300", lasting(300.0)),
            ("10m", lasting(600.0)),
            ("1h30m", lasting(5400.0)),
            ("1.5s", lasting(1.5)),
            ("250ms", lasting(0.25)),
            (" 24h ", lasting(86_400.0)),
            ("-1", Some(KeepAlive::Forever)),
            ("-1m", Some(KeepAlive::Forever)),
            ("99999999999999999999h", Some(KeepAlive::Forever)),
            ("9223372036s", lasting(9_223_372_036.0)),
            ("9223372037s", Some(KeepAlive::Forever)),
            ("2562048h", Some(KeepAlive::Forever)),
            ("", None),
            ("-", None),
            ("m", None),
            ("10", lasting(10.0)),
            ("10x", None),
            ("10m5", None),
            ("1.2.3s", None),
            (".s", None),
            ("NaN", None),
            ("inf", None),
            ("五分", None),
        ] {
            assert_eq!(KeepAlive::parse(text), expected, "{text:?}");
        }
        assert!(KeepAlive::parse("0").is_some_and(KeepAlive::is_zero));
        assert_eq!(KeepAlive::seconds(f64::INFINITY), Some(KeepAlive::Forever));
    }
}
