//! `tandem pull`: a model fetched into our own store, or from the hub into its cache, with a bar for each file.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;

use anyhow::Context;
use clap::{ArgMatches, Command};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use library::pull::{Progress, PullError, Puller, Settings};
use serde_json::{Value, json};

use super::{INTERRUPTED, model, switch};
use crate::client::{Client, ClientError};
use crate::config::{Config, Said};
use crate::failure::Failure;
use crate::logging::safe;
use crate::shelf::{Places, PullName};
use crate::units;

/// Characters of a file's name at most.
const NAME_CHARS: usize = 60;

/// What `tandem pull` was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PullWords {
    model: String,
    is_insecure: bool,
}

/// For the command line's parser.
pub(super) fn command() -> Command {
    Command::new("pull")
        .about("Fetch a model; what an earlier pull has fetched of it is kept and gone on from")
        .arg(model("deepseek-r1:32b, host/namespace/model:tag, or hf:owner/repo:file"))
        .arg(switch("insecure", "Speak plain HTTP to the host in the model's name"))
        .after_help(
            "Names as Ollama's come from its registry, or from the host in front of them, into our own store; hf: names \
             from the Hugging Face hub, or the mirror in HF_ENDPOINT, as whom HF_TOKEN says, into its usual cache.",
        )
}

/// What the parser found.
pub(super) fn words(given: &ArgMatches) -> PullWords {
    PullWords {
        model: given.get_one::<String>("name").cloned().unwrap_or_default(),
        is_insecure: given.get_flag("insecure"),
    }
}

/// Fetches the model, until it is there or Ctrl-C.
///
/// # Errors
/// There is no such model, or it cannot be fetched.
pub(super) fn run(words: &PullWords, said: &Said) -> Result<ExitCode, Failure> {
    let config = Config::resolve(said)?;
    let fetched = super::io()?.block_on(fetch(&words.model, words.is_insecure, &config))?;
    Ok(fetched.map_or(ExitCode::SUCCESS, |Interrupted| ExitCode::from(INTERRUPTED)))
}

/// Ctrl-C came first.
pub(super) struct Interrupted;

/// Fetches a model onto this machine. Returns why it is not there, if that is not an error.
///
/// # Errors
/// There is no such model, or it cannot be fetched.
pub(super) async fn fetch(model: &str, is_insecure: bool, config: &Config) -> Result<Option<Interrupted>, Failure> {
    let name: PullName = model.parse().map_err(|error| Failure::Usage(format!("{error}")))?;
    let settings = allowing(config.rules.pull.clone(), &name, is_insecure);
    let puller = Puller::new(&settings).map_err(|error| failure(&error))?;
    let stopper = puller.stopper();
    let places = config.places();
    let pulling = tokio::task::spawn_blocking(move || pull(&puller, &name, &places));
    let stopping = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stopper.stop();
        }
    });
    let pulled = pulling.await.context("pulling ended badly")?;
    stopping.abort();
    match pulled {
        Ok(()) => Ok(None),
        Err(PullError::Stopped) => {
            let again = safe(model, NAME_CHARS);
            let _ = writeln!(io::stderr(), "stopped: `tandem pull {again}` goes on from here");
            Ok(Some(Interrupted))
        }
        Err(error) => Err(failure(&error)),
    }
}

/// Has a server fetch a model. To be dropped if nobody wants it any more: the server then keeps what it has of it.
///
/// # Errors
/// It does not, or cannot.
pub(super) async fn by_server(client: &Client, model: &str, is_insecure: bool) -> Result<(), ClientError> {
    let request = json!({"model": model, "insecure": is_insecure});
    let mut lines = client.lines("/api/pull", &request).await?;
    let mut shown = Shown::begin();
    while let Some(line) = lines.next().await? {
        let number = |key: &str| line.get(key).and_then(Value::as_u64);
        let file = number("total").map(|total| (total, number("completed").unwrap_or_default()));
        let status = line.get("status").and_then(Value::as_str);
        shown.step(status.unwrap_or_default(), file);
    }
    Ok(())
}

/// The settings, and the host that whoever typed the name has named.
fn allowing(mut settings: Settings, name: &PullName, is_insecure: bool) -> Settings {
    if let PullName::Registry(name) = name {
        let [host, ..] = name.parts();
        let usual = || {
            ["registry.ollama.ai".to_owned()]
                .into_iter()
                .chain(settings.hub.clone())
                .collect()
        };
        let mut hosts: Vec<String> = settings.hosts.take().unwrap_or_else(usual);
        hosts.push(if is_insecure {
            format!("http://{host}")
        } else {
            host.to_owned()
        });
        settings.hosts = Some(hosts);
    }
    settings
}

fn pull(puller: &Puller, name: &PullName, places: &Places) -> Result<(), PullError> {
    let mut shown = Shown::begin();
    let mut report = |step: Progress| {
        let file = match &step {
            Progress::File {
                total_bytes,
                completed_bytes,
                ..
            } => Some((*total_bytes, *completed_bytes)),
            _ => None,
        };
        shown.step(&step.status(), file);
        ControlFlow::Continue(())
    };
    match name {
        PullName::Registry(name) => puller.from_registry(name, &places.own, &mut report).map(drop),
        PullName::Hub(name) => match &places.hub {
            Some(cache) => puller.from_hub(name, cache, &mut report).map(drop),
            None => Err(PullError::Disk(io::ErrorKind::NotFound.into())),
        },
    }
}

/// The error and the one beneath it, which has the path: it is the operator who reads it.
fn failure(error: &PullError) -> Failure {
    let cause = std::error::Error::source(error);
    Failure::Model(cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}")))
}

/// What is seen of it, on stderr.
enum Shown {
    Bars {
        all: MultiProgress,
        files: BTreeMap<String, ProgressBar>,
    },
    /// Each step once, and each file's beginning and end.
    Lines { said: Vec<String> },
}

impl Shown {
    fn begin() -> Shown {
        if io::stderr().is_terminal() {
            Shown::Bars {
                all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
                files: BTreeMap::new(),
            }
        } else {
            Shown::Lines { said: Vec::new() }
        }
    }

    /// * `file`  the bytes of the file that it is about, and how many are there
    fn step(&mut self, status: &str, file: Option<(u64, u64)>) {
        let status = safe(status, NAME_CHARS);
        match self {
            Shown::Bars { all, files } => match file {
                Some((total, completed)) => {
                    let bar = files
                        .entry(status.clone())
                        .or_insert_with(|| all.add(bar(status, total, completed)));
                    bar.set_position(completed);
                    if completed == total && !bar.is_finished() {
                        bar.abandon();
                    }
                }
                // A bar too, so that it stands below the files that were before it.
                None => all.add(line(status)).abandon(),
            },
            Shown::Lines { said } => {
                let line = match file {
                    None => status,
                    Some((total, completed)) if completed == total => {
                        format!("{status}: {}, done", units::bytes(total))
                    }
                    Some(_) if said.iter().any(|line| line.starts_with(&status)) => return,
                    Some((total, 0)) => format!("{status}: {}", units::bytes(total)),
                    Some((total, done)) => format!(
                        "{status}: {}, {} of it are here",
                        units::bytes(total),
                        units::bytes(done)
                    ),
                };
                if !said.contains(&line) {
                    let _ = writeln!(io::stderr(), "{line}");
                    said.push(line);
                }
            }
        }
    }
}

impl Drop for Shown {
    /// Leaves the bars as they are, and the cursor below them.
    fn drop(&mut self) {
        if let Shown::Bars { files, .. } = self {
            files
                .values()
                .filter(|bar| !bar.is_finished())
                .for_each(ProgressBar::abandon);
            // Nobody can be told that stderr is gone.
            let _ = writeln!(io::stderr());
        }
    }
}

/// A step that has no measure.
fn line(status: String) -> ProgressBar {
    styled(
        "{msg}",
        status,
        ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()),
    )
}

/// A bar whose speed counts from now: what was fetched before took no time.
fn bar(status: String, total: u64, completed: u64) -> ProgressBar {
    let template = "{msg} {percent:>3} % {wide_bar:.cyan/dim} {decimal_bytes}/{decimal_total_bytes} \
                    {decimal_bytes_per_sec} {eta}";
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
    let bar = styled(template, status, bar);
    bar.set_position(completed);
    bar.reset_eta();
    bar
}

fn styled(template: &str, status: String, bar: ProgressBar) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.progress_chars("━╸─"));
    bar.set_message(status);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_types_a_name_allows_its_host() {
        let hosts = |name: &str, is_insecure| {
            let name: PullName = name.parse().unwrap_or_else(|error| panic!("{error}"));
            allowing(Settings::default(), &name, is_insecure).hosts
        };
        let usual = "registry.ollama.ai".to_owned();
        assert_eq!(hosts("qwen3", false), Some(vec![usual.clone(), usual.clone()]));
        assert_eq!(
            hosts("example.com/a/b", false),
            Some(vec![usual.clone(), "example.com".to_owned()])
        );
        assert_eq!(
            hosts("10.0.0.2:5000/a/b", true),
            Some(vec![usual, "http://10.0.0.2:5000".to_owned()])
        );
        assert_eq!(hosts("hf:owner/repo", false), None);
    }
}
