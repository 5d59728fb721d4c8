//! The plan for people: the choice and why, what lies where, and every placement beside the others.

use std::fmt::Write as _;

use models::Bytes;

use super::report::{Memory, Report, Row, Share};
use crate::paint::Paint;
use crate::units::{digits, grouped, parameters, time};

/// Columns of the page.
const WIDTH: usize = 100;
/// Columns before a value in the head.
const MARGIN: usize = 13;

/// The whole page.
pub(super) fn page(report: &Report, paint: Paint) -> String {
    let mut page = format!(
        "\n  {} {}\n\n",
        paint.bold("Tandem plan"),
        paint.dim(report.tandem_version)
    );
    head(&mut page, report, paint);
    memory(&mut page, report, paint);
    placements(&mut page, report, paint);
    foot(&mut page, report, paint);
    page
}

// Writing to a string cannot fail, here and below.

fn head(page: &mut String, report: &Report, paint: Paint) {
    let model = &report.model;
    let mut line = |name: &str, value: String| {
        let _ = writeln!(page, "  {}  {value}", paint.dim(&format!("{name:<9}")));
    };
    line(
        "model",
        format!(
            "{}: {}, {}, {} parameters, {} layers, {}",
            paint.bold(&model.name),
            model.architecture,
            model.quantisation,
            parameters(model.parameters),
            model.layers,
            Bytes(model.file_bytes),
        ),
    );
    line("devices", wrapped(&report.devices.join(", ")));
    line("placement", paint.accent(report.placement));
    line("because", wrapped(&report.reason));
    let (engines, each, of_each) = match report.engines {
        1 => ("1 engine".to_owned(), "", ""),
        engines => (format!("{engines} engines"), " in each engine", " each"),
    };
    line(
        "engines",
        format!(
            "{engines}, {} conversations at a time{of_each}, of at most {} tokens",
            report.slots,
            grouped(report.context_tokens)
        ),
    );
    let rooms = report.kv_room.iter().map(|room| match room.tokens_per_engine {
        Some(tokens) => format!("{} as {}", grouped(tokens), room.kv),
        None => format!("none as {}", room.kv),
    });
    line(
        "KV cache",
        format!(
            "{} tokens{each} as {}; room for {}",
            grouped(report.kv_tokens_per_engine),
            report.kv,
            rooms.collect::<Vec<_>>().join(", ")
        ),
    );
}

fn memory(page: &mut String, report: &Report, paint: Paint) {
    let title = format!(
        "{:<14}{:>12}{:>12}{:>12}{:>12}   {}",
        "memory", "weights", "KV cache", "buffers", "free", "holds"
    );
    let _ = writeln!(page, "\n  {}", paint.dim(&title));
    for memory in &report.memory {
        let free = memory.free_bytes.map_or_else(|| "unknown".to_owned(), size);
        let _ = writeln!(
            page,
            "  {:<14}{}{:>12}{:>12}{:>12}   {}",
            short(&memory.devices),
            paint.bold(&format!("{:>12}", size(memory.weight_bytes))),
            size(memory.kv_bytes),
            size(memory.buffer_bytes),
            free,
            holds(report, memory),
        );
    }
}

/// What lies in a memory: `33 layers`.
fn holds(report: &Report, memory: &Memory) -> String {
    let all = report.model.layers;
    let shares = memory.shares.iter().filter_map(|index| report.shares.get(*index));
    let shares: Vec<&Share> = shares.collect();
    match shares[..] {
        [share] if share.parts > 1 => format!("part {} of {} of every matrix", share.part_index + 1, share.parts),
        [share] if share.layers == all => "the whole model".to_owned(),
        [share] if share.layer_index + share.layers == all => format!("{} layers, output matrix", share.layers),
        [share] => format!("{} layers", share.layers),
        _ if shares.iter().map(|share| share.layers).sum::<usize>() < all => "some of the layers".to_owned(),
        _ => "the whole model".to_owned(),
    }
}

fn placements(page: &mut String, report: &Report, paint: Paint) {
    let streams = models::Speed::STREAMS.map(|streams| format!("{streams:>9}"));
    let title = format!("{:<18}{}{:>16}", "tokens/s, streams", streams.join(""), "first token");
    let _ = writeln!(page, "\n  {}", paint.dim(&title));
    for row in &report.placements {
        let is_chosen = row.placement == report.placement;
        let mark = if is_chosen {
            paint.accent("▸ ")
        } else {
            "  ".to_owned()
        };
        let _ = writeln!(page, "  {mark}{:<16}{}", row.placement, figures(row, is_chosen, paint));
        if let Some(first) = &row.first_token_s {
            let rates = row.tokens_per_s.iter().map(|rate| cell(rate.has_room, rate.ideal));
            let rates: String = rates.collect();
            let line = format!("{:<18}{rates}{:>16}", "    at most", time(first.ideal));
            let _ = writeln!(page, "  {}", paint.dim(&line));
        }
    }
}

/// What a placement attains, or why it is not possible.
fn figures(row: &Row, is_chosen: bool, paint: Paint) -> String {
    match (&row.refusal, &row.first_token_s) {
        (Some(refusal), _) => paint.dim(&format!("    {refusal}")),
        (None, None) => paint.dim("    possible, speed unknown"),
        (None, Some(first)) => {
            let rates: String = row
                .tokens_per_s
                .iter()
                .map(|rate| cell(rate.has_room, rate.attainable))
                .collect();
            let line = format!("{rates}{:>16}", time(first.attainable));
            if is_chosen { paint.bold(&line) } else { line }
        }
    }
}

fn cell(has_room: bool, rate: f64) -> String {
    match has_room {
        true => format!("{:>9}", digits(rate)),
        false => format!("{:>9}", "-"),
    }
}

fn foot(page: &mut String, report: &Report, paint: Paint) {
    let load = &report.load;
    let notes = [
        format!(
            "Tokens of all streams together, with {} in each one's cache; first token of a prompt of {}.",
            grouped(load.stream_tokens),
            grouped(load.prompt_tokens)
        ),
        "By arithmetic: what a good program attains of reading matrices and caches, multiplying and handing".to_owned(),
        "over, and at most by datasheet or measured limit. Small models lose more to all else than large".to_owned(),
        "ones. -: more streams than caches or slots hold.".to_owned(),
    ];
    page.push('\n');
    for note in notes {
        let _ = writeln!(page, "  {}", paint.dim(&note));
    }
    page.push('\n');
}

/// Broken between words where the page ends, each line below the first.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let is_full =
            |line: &String| !line.is_empty() && MARGIN + line.chars().count() + 1 + word.chars().count() > WIDTH;
        if lines.last().is_some_and(is_full) {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join(&format!("\n{}", " ".repeat(MARGIN)))
}

/// Nothing for zero.
fn size(bytes: u64) -> String {
    match bytes {
        0 => "-".to_owned(),
        bytes => Bytes(bytes).to_string(),
    }
}

/// At most as long as its column.
fn short(names: &str) -> String {
    match names.chars().count() <= 13 {
        true => names.to_owned(),
        false => names.chars().take(10).chain("...".chars()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;

    const PLAIN: Paint = Paint { is_coloured: false };

    #[test]
    fn the_page_reads_like_this() {
        let found = page(&report("t4,t4", &[("placement", "pipeline")]), PLAIN);
        let expected = include_str!("table.txt").replace("VERSION", env!("CARGO_PKG_VERSION"));
        assert_eq!(found, expected, "found:\n{found}");
    }

    #[test]
    fn no_line_is_wider_than_a_terminal() {
        for devices in ["t4", "t4,t4", "t4,t4,t4", &["h100"; 40].join(",")] {
            let found = page(&report(devices, &[]), PLAIN);
            for line in found.lines() {
                assert!(line.chars().count() <= WIDTH, "{line}");
            }
        }
    }
}
