//! The report for people: what ran where, then one line for each speed with its share of what the machine allows.

use std::fmt::Write as _;

use super::report::Report;
use crate::paint::Paint;
use crate::units::{bytes, digits, grouped, parameters, time};

/// Cells of the bar beside a speed.
const BAR_CELLS: usize = 20;

/// One speed.
struct Row {
    what: String,
    tokens_per_s: f64,
    /// How long, and of what.
    seconds: f64,
    memory_share: Option<f64>,
    int8_share: f64,
}

/// The whole page.
pub(super) fn page(report: &Report, paint: Paint) -> String {
    let mut page = format!(
        "\n  {} {}\n\n",
        paint.bold("Tandem bench"),
        paint.dim(report.tandem_version)
    );
    head(&mut page, report, paint);
    speeds(&mut page, report, paint);
    first_tokens(&mut page, report, paint);
    foot(&mut page, report, paint);
    page
}

// Writing to a string cannot fail, here and below.

fn head(page: &mut String, report: &Report, paint: Paint) {
    let (model, machine) = (&report.model, &report.machine);
    let mut line = |name: &str, value: String| {
        let _ = writeln!(page, "  {}  {value}", paint.dim(&format!("{name:<7}")));
    };
    line(
        "model",
        format!(
            "{}: {}, {}, {} parameters, {} of weights",
            paint.bold(&model.name),
            model.architecture,
            model.quantisation,
            parameters(model.parameters),
            bytes(model.weight_bytes),
        ),
    );
    let threads = if machine.threads == 1 { "thread" } else { "threads" };
    line(
        "machine",
        format!(
            "{}, {} {threads}",
            machine.processor.as_deref().unwrap_or("processor unknown"),
            machine.threads,
        ),
    );
    line(
        "limits",
        format!(
            "{} GB/s read from memory, {} GOP/s of 8-bit products ({})",
            digits(machine.memory_read_gb_per_s),
            digits(machine.int8_gop_per_s),
            machine.instructions_shown,
        ),
    );
    line(
        "load",
        format!(
            "{}, {} per GB",
            time(report.load.seconds),
            time(report.load.seconds_per_gb)
        ),
    );
    let peak = match report.peak_memory_bytes {
        Some(peak) => {
            let times = peak as f64 / model.weight_bytes as f64;
            format!("{} at its peak, {times:.2} x the weights", bytes(peak))
        }
        None => "not told by this system".to_owned(),
    };
    line("memory", peak);
}

fn speeds(page: &mut String, report: &Report, paint: Paint) {
    let _ = writeln!(
        page,
        "\n  {}",
        paint.dim(&format!(
            "{:<28}{:>10}{:>12}{:>10}{:>8}   {}",
            "speed", "tokens/s", "time", "memory", "int8", "of the nearer limit"
        ))
    );
    for row in rows(report) {
        let share = row.memory_share.unwrap_or(0.0).max(row.int8_share);
        let _ = writeln!(
            page,
            "  {:<28}{}{:>12}{:>10}{:>8}   {}",
            row.what,
            paint.bold(&format!("{:>10}", digits(row.tokens_per_s))),
            time(row.seconds),
            row.memory_share.map_or_else(|| "-".to_owned(), percent),
            percent(row.int8_share),
            bar(share, paint),
        );
    }
}

fn rows(report: &Report) -> Vec<Row> {
    let (prefill, decode) = (&report.prefill, &report.decode);
    let mut rows = vec![
        Row {
            what: format!("prompt of {}", grouped(prefill.tokens)),
            tokens_per_s: prefill.tokens_per_s,
            seconds: prefill.seconds,
            memory_share: None,
            int8_share: prefill.int8_share,
        },
        Row {
            what: "one stream after it, a token".to_owned(),
            tokens_per_s: decode.tokens_per_s,
            seconds: decode.seconds / decode.tokens as f64,
            memory_share: Some(decode.memory_share),
            int8_share: decode.int8_share,
        },
    ];
    rows.extend(report.batches.iter().map(|batch| Row {
        what: match batch.sequences {
            1 => "1 sequence, a step".to_owned(),
            sequences => format!("{sequences} sequences, a step"),
        },
        tokens_per_s: batch.tokens_per_s,
        seconds: batch.step_seconds,
        memory_share: Some(batch.memory_share),
        int8_share: batch.int8_share,
    }));
    rows
}

/// A share of the whole bar, coloured up to it.
fn bar(share: f64, paint: Paint) -> String {
    let filled = (0..BAR_CELLS)
        .filter(|cell| share >= (*cell as f64 + 0.5) / BAR_CELLS as f64)
        .count();
    let (full, empty) = ("━".repeat(filled), "─".repeat(BAR_CELLS - filled));
    paint.accent(&full) + &paint.dim(&empty)
}

fn first_tokens(page: &mut String, report: &Report, paint: Paint) {
    let (first, turn) = (&report.first_token, &report.second_turn);
    let _ = writeln!(
        page,
        "\n  {}",
        paint.dim(&format!("{:<38}{:>12}", "first token", "time"))
    );
    let mut line = |what: String, seconds: f64, note: String| {
        let time = paint.bold(&format!("{:>12}", time(seconds)));
        let _ = writeln!(page, "  {what:<38}{time}{}", paint.dim(&note));
    };
    line(
        format!("prompt of {}", grouped(first.prompt_tokens)),
        first.seconds,
        String::new(),
    );
    line(
        format!("first turn of {}", grouped(turn.history_tokens)),
        turn.first_turn_seconds,
        String::new(),
    );
    line(
        "second turn after it".to_owned(),
        turn.seconds,
        format!(
            "   {:.1} % of the first turn's; {} of {} tokens were cached",
            100.0 * turn.share_of_first_turn,
            grouped(turn.cached_tokens),
            grouped(turn.prompt_tokens),
        ),
    );
}

fn foot(page: &mut String, report: &Report, paint: Paint) {
    let shares = report.batches.iter().map(|batch| batch.memory_share);
    let is_in_caches = shares.chain([report.decode.memory_share]).any(|share| share > 1.0);
    let rounds = match report.rounds {
        1 => "One round".to_owned(),
        rounds => format!("Medians of {rounds} rounds"),
    };
    let mut notes = vec![
        format!("{rounds}; load and first turn are measured once. memory: share of the read limit that the"),
        format!(
            "matrices of a step ({}) take; int8: share of the multiply limit ({} products a token).",
            bytes(report.model.step_bytes),
            parameters(report.model.token_multiply_adds),
        ),
    ];
    if is_in_caches {
        notes.push("More than 100 % of the memory's limit: this model fits the processor's caches.".to_owned());
    }
    page.push('\n');
    for note in notes {
        let _ = writeln!(page, "  {}", paint.dim(&note));
    }
    page.push('\n');
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::example;
    use super::*;

    const PLAIN: Paint = Paint { is_coloured: false };

    #[test]
    fn the_page_reads_like_this() {
        let found = page(&example(), PLAIN);
        let expected = include_str!("table.txt").replace("VERSION", env!("CARGO_PKG_VERSION"));
        assert_eq!(found, expected, "found:\n{found}");
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        let coloured = page(&example(), Paint { is_coloured: true });
        let mut plain = String::new();
        for part in coloured.split('\x1b') {
            plain.push_str(
                part.split_once('m')
                    .map_or(part, |(code, text)| if code.starts_with('[') { text } else { part }),
            );
        }
        assert_eq!(plain, page(&example(), PLAIN));
    }

    #[test]
    fn what_is_unknown_is_said_to_be() {
        let mut report = example();
        report.peak_memory_bytes = None;
        report.machine.processor = None;
        report.rounds = 1;
        report.decode.memory_share = 1.2;
        let page = page(&report, PLAIN);
        for words in [
            "not told by this system",
            "processor unknown",
            "One round;",
            "fits the processor's caches",
        ] {
            assert!(page.contains(words), "{words} is not in\n{page}");
        }
    }

    #[test]
    fn a_share_is_shown_in_whole_hundredths() {
        assert_eq!(percent(0.805), "80 %");
    }

    #[test]
    fn a_bar_is_never_longer_than_its_cells() {
        for (share, filled) in [
            (0.0, 0),
            (0.02, 0),
            (0.03, 1),
            (0.5, 10),
            (0.99, 20),
            (1.0, 20),
            (7.0, 20),
        ] {
            let bar = bar(share, PLAIN);
            assert_eq!(bar.chars().count(), BAR_CELLS);
            assert_eq!(bar.chars().filter(|cell| *cell == '━').count(), filled, "{share}");
        }
    }
}
