//! `tandem completions`: what a shell needs to complete our commands and options.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use crate::failure::Failure;

/// For the command line's parser.
pub(super) fn command() -> Command {
    Command::new("completions")
        .about("Print a script that completes commands and options in a shell")
        .arg(
            Arg::new("shell")
                .value_name("SHELL")
                .required(true)
                .value_parser(value_parser!(Shell)),
        )
        .after_help(
            "bash:  tandem completions bash > ~/.local/share/bash-completion/completions/tandem\n\
             zsh:   tandem completions zsh > ~/.zfunc/_tandem, a folder of $fpath\n\
             fish:  tandem completions fish > ~/.config/fish/completions/tandem.fish",
        )
}

/// Which shell was asked for.
pub(super) fn shell(given: &ArgMatches) -> Option<Shell> {
    given.get_one::<Shell>("shell").copied()
}

/// Prints the script.
///
/// # Errors
/// None that are known.
pub(super) fn run(shell: Shell) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::cli::command(), "tandem", &mut script);
    crate::print(&String::from_utf8_lossy(&script))
}
