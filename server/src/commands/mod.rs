//! The commands that Ollama's users know: models looked at, fetched, run, and what a server holds of them.

mod change;
mod completions;
mod list;
mod loaded;
mod pull;
mod run;
mod server;
mod show;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::Said;
use crate::failure::Failure;
pub(crate) use pull::PullWords;
pub(crate) use run::RunWords;
use server::Server;
pub(crate) use show::ShowWords;

/// What one of them was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Words {
    /// Print a completion script.
    Completions(clap_complete::Shell),
    /// Give a model a second name.
    Copy {
        from: String,
        to: String,
        host: Option<String>,
    },
    /// List the models of the stores whose names begin so.
    List { prefix: String },
    /// List the models that a server has loaded.
    Ps { host: Option<String> },
    /// Fetch a model.
    Pull(PullWords),
    /// Remove models.
    Remove { models: Vec<String>, host: Option<String> },
    /// Talk to a model.
    Run(Box<RunWords>),
    /// Tell what a model is.
    Show(ShowWords),
    /// Let go of a loaded model.
    Stop { model: String, host: Option<String> },
}

impl Words {
    /// The command's name.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Words::Completions(_) => "completions",
            Words::Copy { .. } => "cp",
            Words::List { .. } => "list",
            Words::Ps { .. } => "ps",
            Words::Pull(_) => "pull",
            Words::Remove { .. } => "rm",
            Words::Run(_) => "run",
            Words::Show(_) => "show",
            Words::Stop { .. } => "stop",
        }
    }

    /// Whether it may load a model itself, so that the settings in front of it mean something.
    pub(crate) fn takes_settings(&self) -> bool {
        matches!(self, Words::Run(_))
    }
}

/// The code of a command that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

const HERE: &str = "Asks the server, which lets go of what it has loaded. Where none was named and none answers, or the usual one does \
     not know the model, our own store is changed directly.";

/// The subcommands for the command line's parser.
pub(crate) fn commands() -> Vec<Command> {
    let list = Command::new("list")
        .visible_alias("ls")
        .about("List the models of the model stores of this machine")
        .arg(
            Arg::new("prefix")
                .value_name("PREFIX")
                .help("Only models whose names begin so"),
        )
        .after_help(
            "Looks in our own store, the Hugging Face hub's cache, OLLAMA_MODELS, ~/.ollama/models, and the folders of \
             Ollama's service; changes nothing.",
        );
    let ps = Command::new("ps")
        .about("List the models that a server has loaded")
        .arg(host());
    let stop = Command::new("stop")
        .about("Let go of a model that a server has loaded")
        .arg(model("A loaded model"))
        .arg(host());
    let copy = Command::new("cp")
        .about("Give a model a second name; its files are not copied")
        .arg(model("A model that is there"))
        .arg(Arg::new("to").value_name("NAME").required(true).help("Its second name"))
        .arg(host())
        .after_help(HERE);
    let remove = Command::new("rm")
        .about("Remove models, and the files that no other one needs")
        .arg(model("Models of our own store; other stores are only read").num_args(1..))
        .arg(host())
        .after_help(HERE);
    vec![
        run::command(),
        pull::command(),
        list,
        show::command(),
        ps,
        stop,
        copy,
        remove,
        completions::command(),
    ]
}

/// What the parser found for the command called `name`; none if it is not one of these.
pub(crate) fn words(name: &str, given: &ArgMatches) -> Option<Words> {
    let text = |id: &str| given.get_one::<String>(id).cloned();
    let words = match name {
        "completions" => Words::Completions(completions::shell(given)?),
        "cp" => Words::Copy {
            from: text("name")?,
            to: text("to")?,
            host: text("host"),
        },
        "pull" => Words::Pull(pull::words(given)),
        "rm" => Words::Remove {
            models: given
                .get_many::<String>("name")
                .into_iter()
                .flatten()
                .cloned()
                .collect(),
            host: text("host"),
        },
        "list" => Words::List {
            prefix: text("prefix").unwrap_or_default(),
        },
        "ps" => Words::Ps { host: text("host") },
        "run" => Words::Run(Box::new(run::words(given))),
        "show" => Words::Show(show::words(given)),
        "stop" => Words::Stop {
            model: text("name")?,
            host: text("host"),
        },
        _ => return None,
    };
    Some(words)
}

/// Does what `words` ask.
///
/// # Errors
/// What kept it from being done.
pub(crate) fn run(words: &Words, said: &Said) -> Result<ExitCode, Failure> {
    match words {
        Words::Completions(shell) => completions::run(*shell),
        Words::List { prefix } => list::run(prefix, said),
        Words::Show(words) => show::run(words, said),
        Words::Run(words) => run::run(words, said),
        Words::Pull(words) => pull::run(words, said),
        Words::Copy { from, to, host } => {
            let server = Server::of(host.as_deref(), said)?;
            io()?.block_on(change::copy(&server, said, from, to))
        }
        Words::Remove { models, host } => {
            let server = Server::of(host.as_deref(), said)?;
            io()?.block_on(change::remove(&server, said, models))
        }
        Words::Ps { host } => {
            let server = Server::of(host.as_deref(), said)?;
            io()?.block_on(loaded::ps(&server.client))
        }
        Words::Stop { model, host } => {
            let server = Server::of(host.as_deref(), said)?;
            io()?.block_on(loaded::stop(&server.client, model))
        }
    }
}

/// Threads to wait for sockets on.
fn io() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("tandem-io")
        .build();
    Ok(runtime.context("cannot start the I/O threads")?)
}

/// The model that a command is about.
fn model(help: &'static str) -> Arg {
    Arg::new("name").value_name("MODEL").required(true).help(help)
}

/// Which server to ask.
fn host() -> Arg {
    Arg::new("host")
        .long("host")
        .value_name("URL")
        .help("The server to ask [default: OLLAMA_HOST, else where `tandem serve` listens]")
}

/// `--name`, true or false.
fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// The process's variables, or a test's.
type Environment = [(OsString, OsString)];

/// A variable's text without spaces and quotes around it; none if it is empty.
fn variable(environment: &Environment, name: &str) -> Option<String> {
    let (_, value) = environment.iter().find(|(variable, _)| variable == name)?;
    let value = value.to_string_lossy().trim().trim_matches(['"', '\'']).to_owned();
    (!value.is_empty()).then_some(value)
}

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
