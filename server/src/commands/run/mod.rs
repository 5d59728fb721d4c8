//! `tandem run`: one question, or a chat at the terminal, with a model of a running server; without one, with a model of
//! this process.

mod chat;
mod conversation;
mod editor;
mod page;
mod slash;
mod summary;
mod wrap;

use std::io::{IsTerminal, Read};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Arg, ArgMatches, Command};
use futures_util::FutureExt;
use library::hub::HubError;
use library::store::{self, StoreError};
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::server::{Server, near_names};
use super::{INTERRUPTED, host, model, pull, switch};
use crate::client::{Address, Client, ClientError};
use crate::config::{Config, LogFormat, ModelChoice, Said, Source};
use crate::failure::Failure;
use crate::start::Aside;
use conversation::{Conversation, ask};
use editor::Terminal;
use page::Page;

/// Bytes of a question at most, from a pipe.
const QUESTION_BYTES_MAX: u64 = 16 << 20;

/// What `tandem run` was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunWords {
    model: String,
    /// Its words joined; none for a chat.
    prompt: Option<String>,
    host: Option<String>,
    keep_alive: Option<Value>,
    format: Option<Value>,
    think: Option<Value>,
    is_thought_hidden: bool,
    is_verbose: bool,
    wraps: bool,
    is_insecure: bool,
}

/// For the command line's parser.
pub(super) fn command() -> Command {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new("run")
        .about("Chat with a model, or ask it one question")
        .arg(model("A model's name; without a running server also a GGUF file, or `tiny`"))
        .arg(
            Arg::new("prompt")
                .value_name("PROMPT")
                .num_args(0..)
                .help("The question; what is piped in comes before it"),
        )
        .arg(host())
        .arg(text("keepalive", "TIME", "How long the server keeps the model afterwards: 10m, 0, -1 for ever"))
        .arg(text("format", "FORMAT", "`json`, or a JSON schema that the answer follows"))
        .arg(
            text("think", "BOOL", "Think first: true, false, or low, medium, high where the model knows them")
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true"),
        )
        .arg(switch("hidethinking", "Do not show the thought"))
        .arg(switch("verbose", "Show times and speeds after each answer"))
        .arg(switch("nowordwrap", "Do not wrap lines at words"))
        .arg(switch("insecure", "Speak plain HTTP to the host in the model's name, where it is fetched"))
        .after_help(
            "A model that is not there is fetched first, as `tandem pull` does. Asks the server that is named or usual. If none answers there and none was named, the model is loaded in this \
             process, with the settings of the environment, of --config, and in front of the word run: `tandem \
             --devices cuda:0 run MODEL`, which always loads it here. An empty prompt only loads the model. The thought \
             is shown dimmed; where the output is no terminal it goes to stderr, so that stdout has the answer alone.",
        )
}

/// What the parser found.
pub(super) fn words(given: &ArgMatches) -> RunWords {
    let text = |id: &str| given.get_one::<String>(id).cloned();
    let prompt: Vec<String> = given
        .get_many::<String>("prompt")
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    RunWords {
        model: text("name").unwrap_or_default(),
        prompt: (!prompt.is_empty()).then(|| prompt.join(" ")),
        host: text("host"),
        keep_alive: text("keepalive").map(|time| time.parse::<i64>().map_or(Value::String(time), Value::from)),
        format: text("format").map(format_of),
        think: text("think").map(think_of),
        is_thought_hidden: given.get_flag("hidethinking"),
        is_verbose: given.get_flag("verbose"),
        wraps: !given.get_flag("nowordwrap"),
        is_insecure: given.get_flag("insecure"),
    }
}

/// A schema is an object; anything else is a word.
fn format_of(text: String) -> Value {
    match serde_json::from_str(&text) {
        Ok(schema @ Value::Object(_)) => schema,
        _ => Value::String(text),
    }
}

fn think_of(text: String) -> Value {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Value::Bool(true),
        "false" | "0" => Value::Bool(false),
        _ => Value::String(text),
    }
}

/// Answers the question, or chats until the person ends it.
///
/// # Errors
/// There is no such model, or no server; an answer that fails ends one question, but no chat.
pub(super) fn run(words: &RunWords, said: &Said) -> Result<ExitCode, Failure> {
    let asked = Asked::of(words)?;
    let runtime = super::io()?;
    let done = runtime.block_on(async {
        let server = Server::of(words.host.as_deref(), said)?;
        // Settings in front of the word are for a model of this process.
        if said.flags.is_empty() && (server.is_named || server.client.finds_a_server().await) {
            return with_server(words, asked, &server.client, &words.model).await;
        }
        crate::logging::start("error", LogFormat::Text);
        let mut config = own_config(words, said)?;
        if let Some(lacking) = lacking(&config.model) {
            let fetched = pull::fetch(&words.model, words.is_insecure, &config).await;
            let fetched = fetched.map_err(|failure| Failure::Model(format!("{lacking}; fetching it: {failure}")))?;
            if let Some(pull::Interrupted) = fetched {
                return Ok(ExitCode::from(INTERRUPTED));
            }
            config = own_config(words, said)?;
        }
        let aside = Aside::start(&config).await?;
        let client = Client::new(Address::of(aside.address));
        let done = with_server(words, asked, &client, &aside.model).await;
        aside.end().await;
        done
    });
    // A step in progress may still run; nobody waits for it.
    runtime.shutdown_timeout(std::time::Duration::from_millis(100));
    done
}

/// The settings for a model of this process: one conversation at a time, and a log of faults only.
fn own_config(words: &RunWords, said: &Said) -> Result<Config, Failure> {
    let mut said = Said {
        flags: said.flags.clone(),
        environment: said.environment.clone(),
        file: said.file.clone(),
    };
    // The word after `run` is the model, whatever else is said to be one.
    said.flags.push(("model", words.model.clone()));
    let mut config = Config::resolve(&said)?;
    if config.source("slots") == Source::Default {
        config.slots = 1;
    }
    Ok(config)
}

/// What there is to say if no store has the model, and no file is called so.
fn lacking(model: &ModelChoice) -> Option<String> {
    match model {
        ModelChoice::Tiny => None,
        ModelChoice::File(path) => {
            let is_named = path.exists() || path.extension().is_some_and(|end| end == "gguf");
            (!is_named).then(|| format!("no store has {model}, and no file is called so"))
        }
        ModelChoice::Stored { name, stores } => match store::find(stores, name) {
            Err(error @ StoreError::NoSuchModel { .. }) => Some(error.to_string()),
            _ => None,
        },
        ModelChoice::Hub { name, cache } => match cache.as_ref()?.find(name) {
            Err(error @ HubError::NotCached { .. }) => Some(error.to_string()),
            _ => None,
        },
    }
}

/// What a question comes from.
enum Asked {
    /// The words to send; empty ones only load the model.
    Once(String),
    /// A person types.
    Chat,
}

impl Asked {
    fn of(words: &RunWords) -> Result<Asked, Failure> {
        let mut parts = Vec::new();
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            let mut piped = Vec::new();
            let read = stdin.take(QUESTION_BYTES_MAX + 1).read_to_end(&mut piped);
            read.context("cannot read the question from stdin")?;
            if piped.len() as u64 > QUESTION_BYTES_MAX {
                return Err(Failure::Usage(format!(
                    "a question has at most {QUESTION_BYTES_MAX} bytes: shorten what is piped in"
                )));
            }
            parts.push(String::from_utf8_lossy(&piped).trim().to_owned());
        } else if words.prompt.is_none() && std::io::stdout().is_terminal() {
            return Ok(Asked::Chat);
        }
        parts.extend(words.prompt.clone());
        parts.retain(|part| !part.is_empty());
        Ok(Asked::Once(parts.join("\n\n")))
    }
}

/// Asks a server that has the model or can load it.
async fn with_server(words: &RunWords, asked: Asked, client: &Client, model: &str) -> Result<ExitCode, Failure> {
    let mut interrupts = Interrupts::listen()?;
    let mut shown = show(client, model).await;
    if let Err(lacking) = &shown
        && lacking.is_not_found()
    {
        let pulled = tokio::select! {
            pulled = pull::by_server(client, model, words.is_insecure) => pulled,
            () = interrupts.next() => return Ok(ExitCode::from(INTERRUPTED)),
        };
        if let Err(error) = pulled {
            let near = near_names(client, model).await;
            return Err(Failure::Model(format!("{lacking}; fetching it: {error}{near}")));
        }
        shown = show(client, model).await;
    }
    let mut conversation = Conversation::new(model.to_owned());
    conversation.keep_alive.clone_from(&words.keep_alive);
    conversation.format.clone_from(&words.format);
    conversation.think = match &words.think {
        Some(think) => Some(think.clone()),
        // What is wrong with the model, the next request tells.
        None => thinks(&shown.unwrap_or_default()),
    };
    let mut page = Page::on_terminal(words.wraps, words.is_thought_hidden);
    page.is_verbose = words.is_verbose;
    match asked {
        Asked::Once(prompt) if prompt.is_empty() => load(client, &conversation, &mut interrupts)
            .await
            .map(|loaded| loaded.unwrap_or(ExitCode::from(INTERRUPTED))),
        Asked::Once(prompt) => {
            conversation.say(&prompt);
            let reply = ask(client, &conversation, &mut page, interrupts.next()).await;
            match reply {
                Ok(reply) if reply.is_cut => Ok(ExitCode::from(INTERRUPTED)),
                Ok(_) => Ok(ExitCode::SUCCESS),
                Err(error) => Err(error.into()),
            }
        }
        Asked::Chat => {
            if load(client, &conversation, &mut interrupts).await?.is_none() {
                return Ok(ExitCode::from(INTERRUPTED));
            }
            let mut terminal = Terminal::open(interrupts)?;
            chat::chat(client, conversation, &mut page, &mut terminal).await;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn show(client: &Client, model: &str) -> Result<Value, ClientError> {
    client.post("/api/show", &json!({"model": model})).await
}

/// Whether to ask for a thought: of every model that can, and of those of which the server does not tell.
fn thinks(shown: &Value) -> Option<Value> {
    let capabilities = shown.get("capabilities").and_then(Value::as_array);
    let thinks = capabilities.is_none_or(|all| all.iter().any(|one| one == "thinking"));
    thinks.then_some(Value::Bool(true))
}

/// Has the server load the model. Returns none if Ctrl-C came first.
async fn load(client: &Client, of: &Conversation, interrupts: &mut Interrupts) -> Result<Option<ExitCode>, Failure> {
    let mut request = json!({"model": of.model});
    if let Some(time) = &of.keep_alive {
        request["keep_alive"] = time.clone();
    }
    let waiting = page::Waiting::begin();
    let loading = async {
        let mut lines = client.lines("/api/generate", &request).await?;
        while lines.next().await?.is_some() {}
        Ok(())
    };
    let loaded = tokio::select! {
        loaded = loading => loaded,
        () = interrupts.next() => return Ok(None),
    };
    drop(waiting);
    loaded.map(|()| Some(ExitCode::SUCCESS))
}

/// Ctrl-C while an answer comes. From the first one listened for, it no longer ends the process.
pub(super) struct Interrupts(Signal);

impl Interrupts {
    fn listen() -> Result<Interrupts, Failure> {
        let interrupts = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
        Ok(Interrupts(interrupts))
    }

    /// What came before now was meant for something that has ended.
    fn forget(&mut self) {
        while self.0.recv().now_or_never().flatten().is_some() {}
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn check(line: &[&str]) -> RunWords {
        let line = ["tandem", "run"].iter().chain(line);
        let parsed = crate::cli::parse(line.map(OsString::from)).unwrap();
        match parsed.0 {
            crate::cli::Task::Command(super::super::Words::Run(words)) => *words,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_stand_anywhere_and_the_words_of_a_prompt_are_joined() {
        let words = check(&[
            "qwen3",
            "--verbose",
            "What",
            "is",
            "this?",
            "--think=false",
            "--keepalive",
            "10m",
        ]);
        assert_eq!(words.prompt.as_deref(), Some("What is this?"));
        assert_eq!((words.is_verbose, words.wraps), (true, true));
        assert_eq!(words.think, Some(json!(false)));
        assert_eq!(words.keep_alive, Some(json!("10m")));
        assert_eq!(check(&["qwen3", ""]).prompt.as_deref(), Some(""));
        assert_eq!(check(&["qwen3"]).prompt, None);
    }

    #[test]
    fn think_keepalive_and_format_are_of_the_kinds_that_the_api_knows() {
        let words = check(&["m", "--think", "--keepalive=-1", "--format", r#"{"type": "object"}"#]);
        assert_eq!((words.think, words.keep_alive), (Some(json!(true)), Some(json!(-1))));
        assert_eq!(words.format, Some(json!({"type": "object"})));
        let words = check(&["m", "--think=high", "--format=json"]);
        assert_eq!((words.think, words.format), (Some(json!("high")), Some(json!("json"))));
    }
}
