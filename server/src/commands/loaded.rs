//! `tandem ps` and `tandem stop`: what a server holds in memory.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::columns;
use super::list::{duration, size};
use super::server::with_near_names;
use crate::client::Client;
use crate::failure::Failure;
use crate::logging::safe;

/// Characters of one cell at most.
const CELL_CHARS: usize = 120;

/// A model kept so much longer than this is kept for ever: Ollama writes a time in far centuries.
const FOREVER_SECONDS: u64 = 100 * 365 * 86_400;

/// Prints the loaded models.
///
/// # Errors
/// No server, or it refuses.
pub(super) async fn ps(client: &Client) -> Result<ExitCode, Failure> {
    let reply = client.get("/api/ps").await?;
    crate::print(&page(&reply, SystemTime::now()))
}

/// Has the server let go of `model`.
///
/// # Errors
/// No server, or it has no such model.
pub(super) async fn stop(client: &Client, model: &str) -> Result<ExitCode, Failure> {
    let request = json!({"model": model, "keep_alive": 0, "stream": false});
    match client.post("/api/generate", &request).await {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(with_near_names(error, client, model).await),
    }
}

fn page(reply: &Value, now: SystemTime) -> String {
    let heads = ["NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let models = reply.get("models").and_then(Value::as_array);
    rows.extend(models.into_iter().flatten().map(|model| row(model, now)));
    columns(&rows, "")
}

fn row(model: &Value, now: SystemTime) -> Vec<String> {
    let text = |key: &str| model.get(key).and_then(Value::as_str).unwrap_or_default();
    let number = |key: &str| model.get(key).and_then(Value::as_u64);
    let name = if text("name").is_empty() {
        text("model")
    } else {
        text("name")
    };
    let digest = text("digest");
    let id: String = digest
        .strip_prefix("sha256:")
        .unwrap_or(digest)
        .chars()
        .take(12)
        .collect();
    let bytes = number("size").unwrap_or_default();
    let cells = [
        name.to_owned(),
        id,
        size(bytes),
        processor(bytes, number("size_vram").unwrap_or_default()),
        number("context_length").map_or_else(String::new, |tokens| tokens.to_string()),
        until(text("expires_at"), now),
    ];
    cells.iter().map(|cell| safe(cell, CELL_CHARS)).collect()
}

/// `100% GPU`, `100% CPU`, `23%/77% CPU/GPU`.
fn processor(bytes: u64, on_cards: u64) -> String {
    match (bytes, on_cards) {
        (_, 0) => "100% CPU".to_owned(),
        (bytes, on_cards) if on_cards >= bytes => "100% GPU".to_owned(),
        (bytes, on_cards) => {
            let parts = u128::from(bytes - on_cards) * 200 / u128::from(bytes);
            let cpu = parts.div_ceil(2);
            format!("{cpu}%/{}% CPU/GPU", 100 - cpu)
        }
    }
}

/// `4 minutes from now`, `Forever`.
fn until(expires: &str, now: SystemTime) -> String {
    let Some(expires) = seconds_since_1970(expires) else {
        return String::new();
    };
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    match expires.checked_sub(now) {
        None | Some(0) => "Stopping...".to_owned(),
        Some(left) if left > FOREVER_SECONDS => "Forever".to_owned(),
        Some(left) => format!("{} from now", duration(left)),
    }
}

/// Of an RFC 3339 time such as `2026-01-02T03:04:05.678+08:00`; years before 1970 are 1970.
fn seconds_since_1970(text: &str) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let zone = text
        .get(19..)?
        .trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let away = match zone.split_at_checked(1)? {
        ("Z", "") => 0,
        (sign @ ("+" | "-"), offset) => {
            let (hours, minutes) = offset.split_once(':')?;
            let seconds = hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60;
            if sign == "+" { seconds } else { -seconds }
        }
        _ => return None,
    };
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years that begin in March, so that the leap day is the last one: months have 153 days in five, from March on.
    let (year, month) = if month < 3 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - away;
    Some(u64::try_from(seconds).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_read_in_every_zone() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T00:00:00Z", Some(951_782_400)),
            ("2024-02-29T23:59:59.123456789Z", Some(1_709_251_199)),
            ("2024-03-01T07:59:59+08:00", Some(1_709_251_199)),
            ("2024-02-29T18:59:59.5-05:00", Some(1_709_251_199)),
            ("0001-01-01T00:00:00Z", Some(0)),
            ("", None),
            ("2024-02-29T23:59:59", None),
            ("2024-02-29T23:59:59+x", None),
            ("2024-99-29T23:59:59Z", None),
            ("深度求索深度求索深度求索", None),
        ] {
            assert_eq!(seconds_since_1970(text), seconds, "{text}");
        }
    }

    #[test]
    fn the_table_is_as_ollamas() {
        let now = UNIX_EPOCH + Duration::from_secs(1_709_251_199);
        let reply = json!({"models": [
            {"name": "deepseek-r1:32b", "digest": "38056bbcbb2d068501ecb2d5", "size": 21_000_000_000_u64,
             "size_vram": 21_000_000_000_u64, "context_length": 8192, "expires_at": "2024-03-01T00:04:59Z"},
            {"name": "small\u{1b}[2J", "digest": "sha256:ee", "size": 1_000_000_000, "size_vram": 770_000_000,
             "expires_at": "2318-01-01T00:00:00Z"},
            {"model": "cpu:latest", "size": 1_000, "size_vram": 0, "expires_at": "2024-02-29T23:59:00Z"},
        ]});
        let expected = "\
NAME               ID              SIZE     PROCESSOR          CONTEXT    UNTIL
deepseek-r1:32b    38056bbcbb2d    21 GB    100% GPU           8192       5 minutes from now
small\\u{1b}[2J     ee              1 GB     23%/77% CPU/GPU               Forever
cpu:latest                         1 KB     100% CPU                      Stopping...
";
        assert_eq!(page(&reply, now), expected);
        assert_eq!(
            page(&json!({}), now),
            "NAME    ID    SIZE    PROCESSOR    CONTEXT    UNTIL\n"
        );
    }
}
