//! The command line, made of the list of settings.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Style, Styles};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::config::{SETTINGS, Said, Setting};
use crate::{bench, commands, doctor, plan};

/// What the program was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Serve the model until told to stop.
    Serve,
    /// Print the configuration as resolved.
    ShowConfig,
    /// Measure a model's speed.
    Bench(bench::Words),
    /// Say what this machine lacks to use its cards.
    Doctor { json: bool },
    /// One of the commands that Ollama's users know.
    Command(commands::Words),
    /// Tell how a model would lie on devices, as a page or as JSON.
    Plan { json: bool },
}

const AFTER_HELP: &str = "\
Every option is also an environment variable (--kv-tokens is TANDEM_KV_TOKENS) and a key of the
--config file (kv_tokens = 16384). A flag wins over a variable, a variable over the file.

Exit codes: 0 stopped in order, 1 a fault of the program, 2 a wrong option or configuration,
3 the address cannot be used, 4 the model cannot be used, 5 no engine could start,
130 a second signal ended it at once.";

const AFTER_SHORT_HELP: &str = "All limits, the file, the environment and the exit codes: --help";

/// Reads the command line.
///
/// # Errors
/// clap's, which also stands for `--help` and `--version`.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<(Task, Said), clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    let (task, given) = match matches.subcommand() {
        Some(("bench", inner)) => (Task::Bench(bench::words(inner)), &matches),
        Some(("doctor", inner)) => {
            let json = doctor::wants_json(inner);
            (Task::Doctor { json }, &matches)
        }
        Some(("config", inner)) => (Task::ShowConfig, inner),
        Some(("plan", inner)) => (plan::task(inner), inner),
        Some((name, inner)) => match commands::words(name, inner) {
            Some(words) => (Task::Command(words), &matches),
            None => (Task::Serve, inner),
        },
        None => (Task::Serve, &matches),
    };
    // `tandem --slots 3 serve` and `tandem serve --slots 3`; the later word wins.
    let either = |key| flag(given, key).or_else(|| flag(&matches, key));
    let said = Said {
        flags: SETTINGS
            .iter()
            .filter_map(|setting| Some((setting.key, either(setting.key)?)))
            .collect(),
        environment: std::env::vars_os().collect(),
        file: [given, &matches]
            .iter()
            .find_map(|given| given.get_one::<PathBuf>("config"))
            .cloned(),
    };
    let setting = said
        .flags
        .first()
        .map(|(key, _)| *key)
        .or(said.file.as_ref().map(|_| "config"));
    let without_settings = match &task {
        Task::Bench(_) => Some("bench"),
        Task::Command(words) if !words.takes_settings() => Some(words.name()),
        _ => None,
    };
    if let (Some(command_name), Some(key)) = (without_settings, setting) {
        let flag = key.replace('_', "-");
        let text = format!("--{flag} is for serving: leave it out of `tandem {command_name}`");
        return Err(command().error(ErrorKind::ArgumentConflict, text));
    }
    Ok((task, said))
}

fn flag(given: &ArgMatches, key: &str) -> Option<String> {
    // Not every subcommand has every setting.
    let is_known = given.try_contains_id(key).is_ok();
    let is_given = is_known && given.value_source(key) == Some(ValueSource::CommandLine);
    if is_given {
        given.get_one::<String>(key).cloned()
    } else {
        None
    }
}

/// The command line's parser.
pub(crate) fn command() -> Command {
    let config = || {
        Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("Settings from a TOML file")
            .help_heading("Serving")
    };
    let with_settings = |command: Command| command.args(SETTINGS.iter().map(argument)).arg(config());
    let serve = Command::new("serve")
        .visible_alias("start")
        .about("Serve the model (what `tandem` alone does)");
    let show = Command::new("config").about("Print the configuration as resolved, as a file for --config");
    let version = Arg::new("version")
        .long("version")
        .short('v')
        .visible_short_alias('V')
        .action(ArgAction::Version)
        .help("Print the version");
    let tandem = Command::new("tandem")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_version_flag(true)
        .arg(version)
        .about("Serves a reasoning model to OpenAI clients: one process, several engines, one copy of the weights.")
        .styles(styles())
        .max_term_width(110)
        .after_help(AFTER_SHORT_HELP)
        .after_long_help(AFTER_HELP)
        .subcommand(with_settings(serve))
        .subcommand(with_settings(show))
        .subcommand(plan::command(SETTINGS.iter().map(argument)).arg(config()))
        .subcommand(bench::command())
        .subcommands(commands::commands())
        .subcommand(doctor::command());
    with_settings(tandem)
}

fn argument(setting: &'static Setting) -> Arg {
    let mut help = setting.help.to_owned();
    if !setting.default.is_empty() {
        help.push_str(&format!(" [default: {}]", setting.default));
    }
    let argument = Arg::new(setting.key)
        // clap wants names that live as long as the program, and the command is built once in it.
        .long(&*setting.flag().leak())
        .value_name(setting.value)
        .action(ArgAction::Set)
        .allow_negative_numbers(true)
        .help(help)
        .help_heading(setting.topic.heading())
        .hide_short_help(!setting.topic.is_everyday());
    if setting.value == "BOOL" {
        // `--insecure` alone means true; `--insecure=false` takes back what a file says.
        return argument
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true");
    }
    argument
}

fn styles() -> Styles {
    let heading = Style::new().bold();
    Styles::styled()
        .header(heading)
        .usage(heading)
        .literal(AnsiColor::Cyan.on_default())
        .placeholder(Style::new().dimmed())
        .error(AnsiColor::Red.on_default().bold())
        .valid(AnsiColor::Green.on_default())
        .invalid(AnsiColor::Yellow.on_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, task: Task, flags: &[(&str, &str)]) {
        let (found, said) = parse(line.split(' ').map(OsString::from)).unwrap();
        let flags: Vec<_> = flags.iter().map(|(key, text)| (*key, (*text).to_owned())).collect();
        assert_eq!((found, said.flags), (task, flags), "{line}");
    }

    #[test]
    fn options_mean_the_same_with_and_without_the_word_serve() {
        check("tandem", Task::Serve, &[]);
        check("tandem --slots 3", Task::Serve, &[("slots", "3")]);
        check("tandem serve --slots 3", Task::Serve, &[("slots", "3")]);
        check("tandem --slots 3 serve", Task::Serve, &[("slots", "3")]);
        check("tandem config --kv-tokens=99", Task::ShowConfig, &[("kv_tokens", "99")]);
    }

    #[test]
    fn a_plan_takes_the_settings_it_depends_on_and_no_others() {
        check("tandem plan", Task::Plan { json: false }, &[]);
        check(
            "tandem --slots 3 plan --devices t4,t4 --json",
            Task::Plan { json: true },
            &[("devices", "t4,t4"), ("slots", "3")],
        );
        let said = parse(["tandem", "plan", "--queue", "1"].map(OsString::from))
            .err()
            .unwrap();
        assert!(said.to_string().contains("--queue"), "{said}");
    }

    #[test]
    fn the_bench_has_arguments_of_its_own_and_takes_no_setting_of_the_server() {
        for line in [
            "tandem --slots 3 bench",
            "tandem bench --slots 3",
            "tandem --config a bench",
        ] {
            let said = parse(line.split(' ').map(OsString::from)).err().unwrap().to_string();
            assert!(said.contains("--slots") || said.contains("--config"), "{said}");
        }
        let (task, _) = parse(["tandem", "bench", "--rounds", "1"].map(OsString::from)).unwrap();
        assert!(matches!(task, Task::Bench(_)), "{task:?}");
    }

    #[test]
    fn insecure_alone_is_true() {
        check("tandem --insecure", Task::Serve, &[("insecure", "true")]);
        check("tandem --insecure=false", Task::Serve, &[("insecure", "false")]);
        check("tandem --insecure serve", Task::Serve, &[("insecure", "true")]);
    }

    #[test]
    fn a_negative_number_is_a_value_to_refuse_not_an_unknown_flag() {
        check("tandem --temperature -1", Task::Serve, &[("temperature", "-1")]);
    }

    #[test]
    fn the_command_is_well_formed_and_help_names_every_setting() {
        command().debug_assert();
        let help = command().render_long_help().to_string();
        for setting in SETTINGS {
            assert!(
                help.contains(&format!("--{} ", setting.flag())) || help.contains(&format!("--{}[", setting.flag())),
                "{}",
                setting.key
            );
        }
    }
}
