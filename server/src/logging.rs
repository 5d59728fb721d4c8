//! The log on stderr: one line per event, for people or as JSON. Whatever a client could have put into a field is cut
//! and escaped here, once, so that no line can be forged and no terminal steered.

use std::fmt::{self, Write as _};
use std::time::SystemTime;

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
use crate::date::rfc3339_millis;
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
        let time = rfc3339_millis(SystemTime::now());
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

#[cfg(test)]
mod tests {
    use super::*;

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
