//! The log on stderr: one line per event, for people or as JSON. Whatever a client could have put into a field is cut
//! and escaped here, once, so that no line can be forged and no terminal steered.

use std::fmt::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogFormat;
use crate::paint::Paint;

/// Characters that a field shows at most.
const FIELD_CHARS: usize = 256;

/// Characters that a message shows at most.
const MESSAGE_CHARS: usize = 2048;

/// Sends all events that pass `filter` to stderr from now on, and panics with them.
pub(crate) fn start(filter: &str, format: LogFormat) {
    let targets: Targets = filter
        .parse()
        .unwrap_or_else(|_| Targets::new().with_default(Level::INFO));
    let Paint { is_coloured } = Paint::on(&std::io::stderr());
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .event_format(Lines { format, is_coloured });
    // A second start is a test's; the first one stays.
    let _ = tracing_subscriber::registry().with(targets).with(lines).try_init();
    std::panic::set_hook(Box::new(|panic| {
        // Where, but not with which words: they may hold a prompt.
        let place = panic.location().map_or_else(String::new, ToString::to_string);
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        tracing::error!(place, thread, "the program met a fault of its own");
    }));
}

struct Lines {
    format: LogFormat,
    is_coloured: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let time = timestamp(SystemTime::now());
        let line = match self.format {
            LogFormat::Json => json_line(&time, *event.metadata().level(), &fields),
            LogFormat::Text => text_line(&time, *event.metadata().level(), &fields, self.is_coloured),
        };
        writeln!(out, "{line}")
    }
}

fn json_line(time: &str, level: Level, fields: &Fields) -> String {
    let head: [(&str, Value); 3] = [
        ("time", time.into()),
        ("level", level.as_str().to_lowercase().into()),
        ("message", fields.message.as_str().into()),
    ];
    let mut line = String::from("{");
    for (name, value) in head.iter().chain(&fields.others) {
        let comma = if line.len() > 1 { "," } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(line, "{comma}{}:{value}", Value::from(*name));
    }
    line.push('}');
    line
}

fn text_line(time: &str, level: Level, fields: &Fields, is_coloured: bool) -> String {
    let (dim, plain) = if is_coloured { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
    let colour = match level {
        _ if !is_coloured => "",
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => "\x1b[2m",
    };
    let mut line = format!("{dim}{time}{plain} {colour}{level:>5}{plain} {}", fields.message);
    for (name, value) in &fields.others {
        let shown = match value {
            Value::String(text) if text.is_empty() || text.contains(' ') => format!("\"{text}\""),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        // Writing to a string cannot fail.
        let _ = write!(line, " {dim}{name}={plain}{shown}");
    }
    line
}

/// One event's message and fields, made safe.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn push(&mut self, field: &Field, value: Value) {
        self.others.push((field.name(), value));
    }

    fn push_text(&mut self, field: &Field, text: &str) {
        if field.name() == "message" {
            self.message = safe(text, MESSAGE_CHARS);
        } else {
            self.push(field, safe(text, FIELD_CHARS).into());
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push_text(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push_text(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value.into());
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.push(field, u64::try_from(value).unwrap_or(u64::MAX).into());
    }
}

/// At most `chars_max` characters of `text`, with everything escaped that ends a line, hides or turns text around, or
/// steers a terminal.
pub(crate) fn safe(text: &str, chars_max: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(chars_max));
    for (count, c) in text.chars().enumerate() {
        if count == chars_max {
            shown.push_str("...");
            break;
        }
        if is_unsafe(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

fn is_unsafe(c: char) -> bool {
    let hides = matches!(c, '\u{200b}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let turns = matches!(c, '\u{061c}' | '\u{200c}'..='\u{200f}' | '\u{2028}'..='\u{202e}');
    c.is_control() || hides || turns
}

/// RFC 3339 in UTC, to the millisecond.
fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!(
        "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
        since.subsec_millis()
    )
}

/// Days since 1970 to year, month and day. Years here begin in March, so that the leap day is the last one and the
/// months before it follow one formula: month m (March = 0) begins on day (153 m + 2) / 5.
fn date(days: u64) -> (u64, u64, u64) {
    // 1970-01-01 is day 719 468 counted from 0000-03-01; 400 years have 146 097 days.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march_month = (5 * day + 2) / 153;
    let day = day - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn seconds_since_1970_become_dates() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn what_a_client_sent_can_neither_begin_a_line_nor_steer_a_terminal() {
        assert_eq!(safe("a\r\n2026 ERROR forged", 256), "a\\r\\n2026 ERROR forged");
        assert_eq!(safe("\u{1b}[31mred\u{7}", 256), "\\u{1b}[31mred\\u{7}");
        assert_eq!(safe("\u{202e}txt.exe", 256), "\\u{202e}txt.exe");
        assert_eq!(safe("加法 ok", 256), "加法 ok");
    }

    #[test]
    fn a_field_shows_its_limit_and_says_when_there_was_more() {
        assert_eq!(safe("abcd", 4), "abcd");
        assert_eq!(safe("abcde", 4), "abcd...");
    }

    fn fields() -> Fields {
        let others = vec![
            ("path", Value::from("/v1/chat")),
            ("ms", 12.into()),
            ("why", "too long".into()),
        ];
        Fields {
            message: "request".to_owned(),
            others,
        }
    }

    #[test]
    fn a_text_line_is_plain_where_nobody_sees_colours() {
        let line = text_line("2026-01-02T03:04:05.678Z", Level::INFO, &fields(), false);
        assert_eq!(
            line,
            "2026-01-02T03:04:05.678Z  INFO request path=/v1/chat ms=12 why=\"too long\""
        );
    }

    #[test]
    fn a_json_line_keeps_numbers_numbers() {
        let line = json_line("2026-01-02T03:04:05.678Z", Level::WARN, &fields());
        assert!(line.starts_with("{\"time\":\"2026"), "{line}");
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["level"], "warn");
        assert_eq!(line["message"], "request");
        assert_eq!(line["ms"], 12);
    }
}
