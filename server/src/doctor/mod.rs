//! `tandem doctor gpu`: whether this program can use a graphics card of this machine, and what is missing if not.

mod diagnosis;
mod machine;

use std::process::ExitCode;

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::failure::Failure;
use crate::paint::Paint;
use diagnosis::Diagnosis;
use machine::Machine;

/// The subcommand for the command line's parser.
pub(crate) fn command() -> Command {
    let gpu = Command::new("gpu")
        .about("Say whether this program can use a graphics card of this machine, and what is missing if not")
        .after_help("Exit code 0 if at least one card can be used by this very program, else 1.")
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print one JSON object instead of lines"),
        );
    Command::new("doctor")
        .about("Say what this machine lacks")
        .subcommand_required(true)
        .subcommand(gpu)
}

/// Whether the parser found `--json`.
pub(crate) fn wants_json(given: &ArgMatches) -> bool {
    given
        .subcommand_matches("gpu")
        .is_some_and(|inner| inner.get_flag("json"))
}

/// Looks and says what it finds.
///
/// # Errors
/// None that are known.
pub(crate) fn run(is_json: bool) -> Result<ExitCode, Failure> {
    let diagnosis = Diagnosis::of(Machine::look());
    let page = if is_json {
        serde_json::to_string_pretty(&diagnosis).context("the diagnosis is not JSON")? + "\n"
    } else {
        diagnosis.page(Paint::on(&std::io::stdout()))
    };
    crate::print(&page)?;
    Ok(ExitCode::from(u8::from(!diagnosis.is_usable)))
}
