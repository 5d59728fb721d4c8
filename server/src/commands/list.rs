//! `tandem list`: the models of all stores and of the hub's cache, as Ollama lists them.

use std::cmp::Reverse;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use super::columns;
use crate::config::{Config, Said};
use crate::failure::Failure;

/// One line of the list.
struct Row {
    name: String,
    /// Short; none where there is no manifest that it could be of.
    id: Option<String>,
    bytes: u64,
    modified: SystemTime,
}

/// Prints those whose names begin with `prefix`; a manifest that cannot be read is said on stderr and left out.
///
/// # Errors
/// The settings cannot be understood.
pub(super) fn run(prefix: &str, said: &Said) -> Result<ExitCode, Failure> {
    let places = Config::resolve(said)?.places();
    let listing = library::store::list(&places.stores);
    for refused in &listing.refused {
        crate::warn(refused);
    }
    let stored = listing.models.into_iter().map(|model| Row {
        name: model.name.to_string(),
        id: Some(model.id.short().to_owned()),
        bytes: model.bytes,
        modified: model.modified,
    });
    let cached = places.hub.into_iter().flat_map(|cache| cache.list());
    let cached = cached.map(|model| Row {
        name: model.name.to_string(),
        id: None,
        bytes: model.bytes,
        modified: model.modified,
    });
    let mut rows: Vec<Row> = stored
        .chain(cached)
        .filter(|row| begins_with(&row.name, prefix))
        .collect();
    rows.sort_by_key(|row| Reverse(row.modified));
    crate::print(&page(&rows, SystemTime::now()))
}

/// Upper and lower case are no difference, as in Ollama's list.
fn begins_with(name: &str, prefix: &str) -> bool {
    let head = name.get(..prefix.len());
    head.is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

fn page(models: &[Row], now: SystemTime) -> String {
    let mut rows = vec![["NAME", "ID", "SIZE", "MODIFIED"].map(str::to_owned).to_vec()];
    rows.extend(models.iter().map(|model| {
        vec![
            model.name.clone(),
            model.id.clone().unwrap_or_else(|| "-".to_owned()),
            size(model.bytes),
            ago(now.duration_since(model.modified).unwrap_or_default()),
        ]
    }));
    columns(&rows, "")
}

/// `19 GB`, `1.1 GB`, `512 B`: whole from ten on, cut and not rounded.
pub(super) fn size(bytes: u64) -> String {
    let units = [
        (1_000_000_000_000, "TB"),
        (1_000_000_000, "GB"),
        (1_000_000, "MB"),
        (1000, "KB"),
    ];
    let Some((unit, name)) = units.into_iter().find(|(unit, _)| bytes >= *unit) else {
        return format!("{bytes} B");
    };
    match (bytes / unit, bytes % unit) {
        (whole, rest) if whole >= 10 || rest == 0 => format!("{whole} {name}"),
        _ => format!("{:.1} {name}", bytes as f64 / unit as f64),
    }
}

/// `2 weeks ago`, `About an hour ago`.
fn ago(age: Duration) -> String {
    format!("{} ago", duration(age.as_secs()))
}

/// `2 weeks`, `About an hour`.
pub(super) fn duration(seconds: u64) -> String {
    let hours = (seconds + 1800) / 3600;
    let some = |count: u64, unit: &str| format!("{count} {unit}");
    match seconds {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => some(seconds, "seconds"),
        60..120 => "About a minute".to_owned(),
        120..3600 => some(seconds / 60, "minutes"),
        _ => match hours {
            0..=1 => "About an hour".to_owned(),
            2..48 => some(hours, "hours"),
            48..336 => some(hours / 24, "days"),
            336..1440 => some(hours / 168, "weeks"),
            1440..17_520 => some(hours / 720, "months"),
            _ => some(hours / 8760, "years"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_ollama_writes_them() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1 KB"),
            (1_500, "1.5 KB"),
            (4_683_075_271, "4.7 GB"),
            (19_851_337_640, "19 GB"),
            (404_430_188_519, "404 GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn ages_are_written_as_ollama_writes_them() {
        const HOUR: u64 = 3600;
        for (seconds, text) in [
            (0, "Less than a second ago"),
            (45, "45 seconds ago"),
            (60, "About a minute ago"),
            (600, "10 minutes ago"),
            (HOUR, "About an hour ago"),
            (47 * HOUR, "47 hours ago"),
            (72 * HOUR, "3 days ago"),
            (15 * 24 * HOUR, "2 weeks ago"),
            (70 * 24 * HOUR, "2 months ago"),
            (800 * 24 * HOUR, "2 years ago"),
        ] {
            assert_eq!(ago(Duration::from_secs(seconds)), text);
        }
    }
}
