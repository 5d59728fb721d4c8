//! What was found, said as it is found and at the end as a table.

use std::fmt::Write;

use crate::run::Outcome;

/// Everything found so far.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
    speeds: Vec<SpeedRow>,
}

struct Row {
    what: String,
    found: String,
    verdict: &'static str,
}

/// The speed of one model in one place. Shares are parts of 1; none where the card's limit is unknown.
pub struct SpeedRow {
    pub what: String,
    /// What a step reads of the weights.
    pub step_gb: f64,
    pub load_gb_per_s: f64,
    pub prompt_tokens: usize,
    pub prefill_tokens_per_s: f64,
    pub prefill_share: Option<f64>,
    /// Streams, tokens per second of all together, share of the bandwidth.
    pub decode: Vec<(usize, f64, Option<f64>)>,
}

impl Report {
    /// A check and its outcome.
    pub fn add(&mut self, what: &str, found: &str, is_good: bool) {
        self.row(what, found, if is_good { "ok" } else { "WRONG" });
    }

    /// A check that this machine cannot make.
    pub fn skip(&mut self, what: &str, reason: &str) {
        self.row(what, reason, "-");
    }

    fn row(&mut self, what: &str, found: &str, verdict: &'static str) {
        println!("  {verdict:<5} {what}: {found}");
        let (what, found) = (what.to_owned(), found.to_owned());
        self.rows.push(Row { what, found, verdict });
    }

    /// A speed.
    pub fn speed(&mut self, row: SpeedRow) {
        println!("        {}", row.line());
        self.speeds.push(row);
    }

    /// What `outcome` gives; its failure is a wrong check.
    pub fn catch<T>(&mut self, what: &str, outcome: Outcome<T>) -> Option<T> {
        match outcome {
            Ok(found) => Some(found),
            Err(error) => {
                self.add(what, &error.to_string(), false);
                None
            }
        }
    }

    /// Whether something was checked and nothing is wrong.
    pub fn is_good(&self) -> bool {
        let has_run = !self.speeds.is_empty() || self.rows.iter().any(|row| row.verdict == "ok");
        has_run && !self.rows.iter().any(|row| row.verdict == "WRONG")
    }

    /// The tables, in Markdown.
    pub fn tables(&self) -> String {
        let mut page = String::from("| check | found | |\n|---|---|---|\n");
        for row in &self.rows {
            let found = row.found.replace('|', "/").replace('\n', " ");
            let _ = writeln!(page, "| {} | {found} | {} |", row.what, row.verdict);
        }
        let Some(first) = self.speeds.first() else {
            return page;
        };
        let streams: Vec<String> = first.decode.iter().map(|(streams, ..)| streams.to_string()).collect();
        let columns = 4 + streams.len();
        let _ = writeln!(
            page,
            "\nTokens per second of a prompt of {}, and of 1 or more streams together. In brackets the share of the card's \
             limit: of a prompt, of its int8 peak; of streams, of its bandwidth, with the weights and caches that a step reads.\n",
            first.prompt_tokens
        );
        let _ = writeln!(
            page,
            "| model | GB a step | load GB/s | prompt | {} |",
            streams.join(" | ")
        );
        let _ = writeln!(page, "|{}", "---|".repeat(columns));
        for row in &self.speeds {
            let _ = writeln!(page, "{}", row.line());
        }
        page
    }
}

impl SpeedRow {
    fn line(&self) -> String {
        let rate = |rate: f64, share: Option<f64>| match share {
            Some(share) => format!("{rate:.1} ({:.0} %)", 100.0 * share),
            None => format!("{rate:.1} (limit unknown)"),
        };
        let mut cells = vec![
            self.what.clone(),
            format!("{:.2}", self.step_gb),
            format!("{:.2}", self.load_gb_per_s),
            rate(self.prefill_tokens_per_s, self.prefill_share),
        ];
        cells.extend(self.decode.iter().map(|(_, tokens, share)| rate(*tokens, *share)));
        format!("| {} |", cells.join(" | "))
    }
}
