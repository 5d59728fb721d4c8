//! The small commands that look at models and run none: `tandem list` and `tandem show`, familiar to users of Ollama.

mod list;
mod show;

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command};

pub(crate) use list::run as list;
pub(crate) use show::run as show;

/// The subcommands for the command line's parser.
pub(crate) fn commands() -> [Command; 2] {
    let list = Command::new("list")
        .visible_alias("ls")
        .about("List the models of the Ollama model stores of this machine")
        .after_help("Looks in OLLAMA_MODELS, ~/.ollama/models, and the folders of Ollama's service; changes nothing.");
    let show = Command::new("show")
        .about("Tell what a model is, without loading it")
        .arg(
            Arg::new("name")
                .value_name("MODEL")
                .required(true)
                .help("A name in an Ollama model store, a GGUF file, or `tiny`"),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print one JSON object instead of the page"),
        );
    [list, show]
}

/// What `tandem show` was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShowWords {
    model: String,
    json: bool,
}

/// What the parser found.
pub(crate) fn show_words(given: &ArgMatches) -> ShowWords {
    ShowWords {
        model: given.get_one::<String>("name").cloned().unwrap_or_default(),
        json: given.get_flag("json"),
    }
}

/// The process's variables, or a test's.
type Environment = [(OsString, OsString)];

/// Rows of cells as columns with four spaces between them, `margin` before each row.
fn columns(rows: &[Vec<String>], margin: &str) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let mut page = String::new();
    for row in rows {
        let cells = row.iter().enumerate();
        let cells: Vec<String> = cells
            .map(|(column, cell)| format!("{cell:<width$}", width = width(column)))
            .collect();
        page.push_str(format!("{margin}{}", cells.join("    ")).trim_end());
        page.push('\n');
    }
    page
}
