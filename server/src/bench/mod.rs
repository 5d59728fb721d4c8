//! `tandem bench`: how fast this machine runs a model, in this process and without HTTP, beside what it could do at most.

mod arguments;
mod error;
mod memory;
mod plan;
mod plot;
mod progress;
mod report;
mod steps;
mod table;
mod turns;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use models::{Simd, Weights, Work, ceiling};

pub(crate) use arguments::{Words, command, words};
pub(crate) use error::BenchError;

use crate::failure::Failure;
use crate::paint::Paint;
use crate::start;
use arguments::Arguments;
use plan::Plan;
use progress::Progress;
use report::{Facts, Load, Measured, Report};

/// Begins the pseudo-random prompts: every run computes the same tokens.
const SEED: u64 = 20_251_123;

/// Measures, prints the report, draws the plot.
///
/// # Errors
/// A wrong argument, a model that cannot be used, a plot that cannot be written.
pub(crate) fn run(words: &Words) -> Result<ExitCode, Failure> {
    let arguments = Arguments::check(words)?;
    Simd::limit(arguments.simd);
    let report = measure(&arguments)?;
    let page = if arguments.json {
        report.json().context("the report is not JSON")?
    } else {
        table::page(&report, Paint::on(&std::io::stdout()))
    };
    // Before the plot, so that figures that took minutes are not lost with it.
    let done = crate::print(&page)?;
    if let Some(path) = &arguments.plot {
        let drawing = plot::svg(&report)?;
        let unwritable = |cause| BenchError::PlotUnwritable {
            file: path.clone(),
            cause,
        };
        std::fs::write(path, drawing).map_err(unwritable)?;
    }
    Ok(done)
}

/// Everything in turn: first what the memory's peak is made of, the machine's limits last.
fn measure(arguments: &Arguments) -> Result<Report, Failure> {
    let begin = Instant::now();
    let gguf = start::open_file(&arguments.model)?;
    let wrong = |error: models::ModelsError| Failure::Model(error.to_string());
    let config = models::Config::from_gguf(&gguf).map_err(wrong)?;
    let plan = Plan::new(arguments, config.context_tokens)?;
    let bar = start::Progress::of(gguf.file_bytes());
    let loaded = Weights::load(&gguf, &|done| bar.at(done));
    bar.end();
    let weights = loaded.map_err(wrong)?;
    let load = Load::new(begin.elapsed().as_secs_f64(), weights.bytes());

    let progress = Progress::of(&plan);
    let steps = steps::measure(&weights, &plan, &progress)?;
    let turns = turns::measure(&weights, &plan, &progress)?;
    let peak_memory_bytes = memory::peak_bytes();
    let weight_bytes = weights.bytes();
    // The limits want a large buffer, and nobody needs the model any more.
    drop(weights);
    progress.next("the limits of this machine");
    let ceiling = ceiling::measure(plan.threads).context("cannot measure the memory's speed")?;
    progress.end();

    let facts = Facts {
        name: start::id(&arguments.model, &gguf),
        architecture: config.architecture.name(),
        quantisation: gguf.quantisation().to_owned(),
        parameters: gguf.tensors().iter().map(library::TensorInfo::elements).sum(),
        weight_bytes,
        work: Work::of(&gguf),
        processor: memory::processor(),
    };
    let measured = Measured {
        load,
        peak_memory_bytes,
        steps,
        turns,
    };
    Ok(Report::new(facts, &plan, measured, ceiling))
}
