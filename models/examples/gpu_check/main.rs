//! The check of a CUDA card: is everything right on it, and how fast is it.
//!
//!     .ci/gpu_check                                     packs this and all it needs for a machine with a card
//!     cargo run -p models --example gpu_check --features cuda-emulator -- --quick
//!
//! The second line runs all of it here, on the emulator and at tiny sizes. It needs no model file: it writes models of
//! random weights in the shapes of the real ones. It goes on when a part fails, ends with a table for
//! `kernels/RESULTS.md`, and with a status that is not 0 if something is wrong.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    unreachable_pub
)]

mod agree;
mod file;
mod plan;
mod report;
mod run;
mod sections;
mod shape;
mod speed;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use plan::Plan;
use report::Report;
use run::{Outcome, timed};
use shape::{Shape, TINY};

/// Of every model that is made.
const SEED: u64 = 20_251_123;

fn main() -> ExitCode {
    let plan = match Plan::of(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(error) => {
            println!("{error}");
            return ExitCode::from(2);
        }
    };
    let heading = heading(&plan);
    println!("{heading}\n");
    let mut report = Report::default();
    run_all(&plan, &mut report);
    println!("\n{heading}\n\n{}", report.tables());
    ExitCode::from(u8::from(!report.is_good()))
}

fn run_all(plan: &Plan, report: &mut Report) {
    if plan.has("kernels") {
        match &plan.kernel_tests {
            Some(program) => {
                let done = sections::kernels(program, report);
                report.catch("kernels", done);
            }
            None => report.skip("kernels", "left out: --kernel-tests names their program"),
        }
    }
    if plan.has("logits") || plan.has("placements") {
        with_model(plan, &plan.model, report, |path, report| {
            if plan.has("logits") {
                let done = sections::logits(plan, path, report);
                report.catch("logits", done);
            }
            if plan.has("placements") {
                let done = sections::placements(plan, path, report);
                report.catch("placements", done);
            }
        });
    }
    if plan.has("soak") {
        with_model(plan, &TINY, report, |path, report| {
            let done = sections::soak(plan, path, &TINY, report);
            report.catch("soak", done);
        });
    }
    for shape in plan.shapes.iter().filter(|_| plan.has("speed")) {
        with_model(plan, shape, report, |path, report| {
            let done = speed::measure(plan, path, shape, report);
            report.catch("speed", done);
        });
    }
}

/// Makes the model, works with its file, and deletes it.
fn with_model(plan: &Plan, shape: &Shape, report: &mut Report, work: impl FnOnce(&Path, &mut Report)) {
    let made = Made(
        plan.folder
            .join(format!("tandem-gpu-check-{}-{}.gguf", std::process::id(), shape.name)),
    );
    let written = timed(|| Ok(file::write(shape, &made.0, SEED)?));
    let what = format!("writing {}", made.0.display());
    if let Some((bytes, seconds)) = report.catch(&what, written) {
        println!(
            "\nmade a {} of {:.2} GB in {seconds:.1} s",
            shape.name,
            bytes as f64 / 1e9
        );
        work(&made.0, report);
    }
}

/// A file that is deleted when it is no longer used.
struct Made(PathBuf);

impl Drop for Made {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Which card, driver and day.
fn heading(plan: &Plan) -> String {
    let card = match plan.cards() {
        Ok((card, _)) => {
            let (major, minor) = card.compute_capability;
            let limit = |limit: Option<f64>, scale: f64, unit: &str| match limit {
                Some(limit) => format!("{:.0} {unit}", limit / scale),
                None => "unknown".to_owned(),
            };
            let read = limit(speed::read_limit(&card), 1e9, "GB/s");
            let int8 = limit(speed::int8_limit(&card), 1e12, "TOP/s");
            let memory = card.memory_bytes as f64 / 1e9;
            let name = &card.name;
            format!(
                "{name} ({}): {memory:.1} GB, compute capability {major}.{minor}, bandwidth {read}, int8 peak {int8}",
                plan.device
            )
        }
        Err(reason) => format!("{}: {reason}", plan.device),
    };
    let driver = std::fs::read_to_string("/proc/driver/nvidia/version").unwrap_or_default();
    let driver = driver
        .lines()
        .next()
        .unwrap_or("no driver's version is known")
        .trim()
        .to_owned();
    format!(
        "{card}. {driver}. {}{}.",
        today().unwrap_or_default(),
        if plan.is_quick { ", quick" } else { "" }
    )
}

/// As the system says it.
fn today() -> Outcome<String> {
    let run = Command::new("date").args(["-u", "+%Y-%m-%d"]).output()?;
    Ok(String::from_utf8(run.stdout)?.trim().to_owned())
}
