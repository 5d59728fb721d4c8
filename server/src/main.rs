//! The program `tandem`: one process that loads a model, runs it on several engines and answers HTTP.

mod api;
mod app;
mod bench;
mod cli;
mod client;
mod commands;
mod config;
mod date;
mod doctor;
mod drain;
mod failure;
mod http;
mod logging;
mod metrics;
mod pace;
mod paint;
mod plan;
mod roster;
mod shelf;
mod start;
mod units;

use std::io::Write;
use std::process::ExitCode;

use cli::Task;
use config::Config;
use failure::Failure;
use paint::Paint;

fn main() -> ExitCode {
    let (task, said) = match cli::parse(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(error) => error.exit(),
    };
    let done = match task {
        Task::Bench(words) => bench::run(&words),
        Task::Doctor { json } => doctor::run(json),
        Task::Command(words) => commands::run(&words, &said),
        Task::Plan { json } => plan::run(said, json),
        Task::ShowConfig => Config::resolve(&said)
            .map_err(Failure::from)
            .and_then(|config| print(&config.as_toml())),
        Task::Serve => Config::resolve(&said).map_err(Failure::from).and_then(|config| {
            logging::start(&config.log_filter, config.log_format);
            for name in said.unknown_variables() {
                tracing::warn!(name, "no setting has this variable: `tandem --help` lists the settings");
            }
            for warning in said.ollama_warnings() {
                tracing::warn!("{warning}");
            }
            start::run(config)
        }),
    };
    done.unwrap_or_else(|failure| {
        complain(&failure);
        ExitCode::from(failure.code())
    })
}

fn print(page: &str) -> Result<ExitCode, Failure> {
    // A reader that has seen enough, such as `head`, is no failure.
    let _ = std::io::stdout().write_all(page.as_bytes());
    Ok(ExitCode::SUCCESS)
}

/// One line on stderr of something that ends nothing.
fn warn(text: &dyn std::fmt::Display) {
    let line = logging::safe(&text.to_string(), 2048);
    let _ = writeln!(std::io::stderr(), "warning: {line}");
}

/// One line on stderr, whatever the log's filter and format: there may be no log yet.
fn complain(failure: &Failure) {
    let error = Paint::on(&std::io::stderr()).alarm("error:");
    let line = logging::safe(&failure.to_string(), 2048);
    let _ = writeln!(std::io::stderr(), "{error} {line}");
}
