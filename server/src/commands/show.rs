//! `tandem show`: what a model is, from the header of its file and the small files beside it in a store.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command};
use library::Gguf;
use library::store::StoredModel;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{columns, model, switch};
use crate::config::{Config, ModelChoice, Said};
use crate::failure::Failure;
use crate::logging::safe;
use crate::{shelf, start};

/// Characters of one cell at most.
const CELL_CHARS: usize = 200;
/// Characters of one line of a text at most.
const LINE_CHARS: usize = 10_000;
/// Lines of the licence that the page shows.
const LICENSE_LINES: usize = 2;

/// What `tandem show` was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShowWords {
    model: String,
    part: Part,
}

/// What of a model to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Page,
    /// The page, and every key of the file's metadata.
    Verbose,
    Json,
    License,
    Modelfile,
    Parameters,
    System,
    Template,
}

/// The options that ask for one part alone.
const PARTS: [(&str, Part, &str); 6] = [
    ("json", Part::Json, "Print one JSON object instead of the page"),
    ("license", Part::License, "Print the licence alone"),
    ("modelfile", Part::Modelfile, "Print a Modelfile of it"),
    ("parameters", Part::Parameters, "Print the parameters alone"),
    ("system", Part::System, "Print the system text alone"),
    ("template", Part::Template, "Print the template alone"),
];

/// For the command line's parser.
pub(super) fn command() -> Command {
    Command::new("show")
        .about("Tell what a model is, without loading it")
        .arg(model("A name in a model store, a GGUF file, or `tiny`"))
        .args(PARTS.map(|(name, _, help)| switch(name, help)))
        .arg(
            Arg::new("verbose")
                .long("verbose")
                .short('v')
                .action(ArgAction::SetTrue)
                .help("Add every key of the file's metadata"),
        )
        .group(ArgGroup::new("part").args(PARTS.map(|(name, ..)| name)).arg("verbose"))
}

/// What the parser found.
pub(super) fn words(given: &ArgMatches) -> ShowWords {
    let part = PARTS.iter().find(|(name, ..)| given.get_flag(name));
    let page = if given.get_flag("verbose") {
        Part::Verbose
    } else {
        Part::Page
    };
    ShowWords {
        model: given.get_one::<String>("name").cloned().unwrap_or_default(),
        part: part.map_or(page, |(_, part, _)| *part),
    }
}

/// Prints what is known.
///
/// # Errors
/// No such model, or its files are not as they should be.
pub(super) fn run(words: &ShowWords, said: &Said) -> Result<ExitCode, Failure> {
    let own = Config::resolve(said)?.store;
    let choice = ModelChoice::among(&words.model, &own, &said.environment)?;
    let (gguf, stored) = start::open_with_store(&choice)?;
    let name = start::id(&choice, &gguf);
    let shown = Shown::of(name.clone(), &gguf, stored.as_ref());
    let page = match words.part {
        Part::Page => shown.page(),
        Part::Verbose => shown.page() + &metadata(&gguf),
        Part::Json => serde_json::to_string_pretty(&shown).context("the model is not JSON")? + "\n",
        Part::License => lines(&shown.licenses.join("\n")),
        Part::Modelfile => lines(&shelf::modelfile(&name, stored.as_ref())),
        Part::Parameters => lines(&shelf::parameters(&shown.parameters)),
        Part::System => lines(shown.system.as_deref().unwrap_or_default()),
        Part::Template => lines(shown.template.as_ref().map_or("", |template| &template.text)),
    };
    crate::print(&page)
}

/// The text with its last line ended; none if there is nothing in it. As it is for a file or a pipe, fit for a terminal.
fn lines(text: &str) -> String {
    let is_seen = std::io::stdout().is_terminal();
    let line = |line: &str| if is_seen { printed(line) } else { line.to_owned() } + "\n";
    text.trim_end().lines().map(line).collect()
}

fn shown(value: &library::Value) -> String {
    match value {
        library::Value::Unsigned(number) => number.to_string(),
        library::Value::Signed(number) => number.to_string(),
        library::Value::Float(number) => number.to_string(),
        library::Value::Flag(flag) => flag.to_string(),
        library::Value::Text(text) => text.clone(),
        library::Value::Array(array) => format!("a list of {}", array.len()),
    }
}

/// The keys of the file's metadata as a section of the page.
fn metadata(gguf: &Gguf) -> String {
    let rows = gguf
        .metadata()
        .iter()
        .map(|(key, value)| vec![key.to_owned(), shown(value)]);
    format!("  Metadata\n{}\n", columns(&printable(rows.collect()), "    "))
}

/// The fields of `--json`; they are added, never renamed. What the files do not say is null or empty.
#[derive(Serialize)]
pub(super) struct Shown {
    name: String,
    id: Option<String>,
    file: String,
    file_bytes: u64,
    architecture: String,
    parameter_count: u64,
    context_length: Option<u64>,
    embedding_length: Option<u64>,
    quantization: String,
    template: Option<Template>,
    parameters: Map<String, Value>,
    system: Option<String>,
    licenses: Vec<String>,
}

#[derive(Serialize)]
struct Template {
    digest: String,
    /// Whether the prompt is made as it would make it, by our own code.
    is_known: bool,
    text: String,
}

impl Shown {
    fn of(name: String, gguf: &Gguf, stored: Option<&StoredModel>) -> Shown {
        let metadata = gguf.metadata();
        let architecture = metadata
            .opt_text("general.architecture")
            .ok()
            .flatten()
            .unwrap_or("unknown");
        let number = |key: &str| {
            let value = metadata.get(&format!("{architecture}.{key}"))?;
            value.as_unsigned()
        };
        let mut shown = Shown {
            name,
            id: None,
            file: gguf.name().to_owned(),
            file_bytes: gguf.file_bytes(),
            architecture: architecture.to_owned(),
            parameter_count: gguf.tensors().iter().map(library::TensorInfo::elements).sum(),
            context_length: number("context_length"),
            embedding_length: number("embedding_length"),
            quantization: gguf.quantisation().to_owned(),
            template: None,
            parameters: Map::new(),
            system: None,
            licenses: Vec::new(),
        };
        if let Some(stored) = stored {
            shown.template = stored.template.as_ref().map(|(digest, text)| Template {
                digest: digest.to_string(),
                is_known: stored.has_deepseek_template(),
                text: text.clone(),
            });
            shown.id = Some(stored.id.hex().to_owned());
            shown.parameters = stored.parameters.clone();
            shown.system.clone_from(&stored.system);
            shown.licenses.clone_from(&stored.licenses);
        }
        shown
    }

    /// From the answer to `POST /api/show`.
    pub(super) fn of_reply(name: &str, reply: &Value) -> Shown {
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (details, metadata) = (reply.get("details"), reply.get("model_info"));
        let (details, metadata) = (details.unwrap_or(&Value::Null), metadata.unwrap_or(&Value::Null));
        let architecture = match text(metadata, "general.architecture") {
            none if none.is_empty() => text(details, "family"),
            architecture => architecture,
        };
        let number = |key: &str| metadata.get(format!("{architecture}.{key}")).and_then(Value::as_u64);
        let parameters = text(reply, "parameters");
        let parameters = parameters
            .lines()
            .filter_map(|line| line.split_once(char::is_whitespace));
        let mut listed = Map::new();
        for (name, value) in parameters {
            let value = value.trim();
            let value: Value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
            let values = listed.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            values
                .as_array_mut()
                .into_iter()
                .for_each(|values| values.push(value.clone()));
        }
        let some = |text: String| (!text.is_empty()).then_some(text);
        Shown {
            name: name.to_owned(),
            id: None,
            file: String::new(),
            file_bytes: 0,
            parameter_count: metadata
                .get("general.parameter_count")
                .and_then(Value::as_u64)
                .unwrap_or_default(),
            context_length: number("context_length"),
            embedding_length: number("embedding_length"),
            quantization: text(details, "quantization_level"),
            template: None,
            parameters: listed,
            system: some(text(reply, "system")),
            licenses: some(text(reply, "license")).into_iter().collect(),
            architecture,
        }
    }

    pub(super) fn page(&self) -> String {
        let unknown = || "unknown".to_owned();
        let pair = |name: &str, value: String| vec![name.to_owned(), value];
        let mut model = vec![
            pair("architecture", self.architecture.clone()),
            pair("parameters", counted(self.parameter_count)),
            pair(
                "context length",
                self.context_length.map_or_else(unknown, |n| n.to_string()),
            ),
            pair(
                "embedding length",
                self.embedding_length.map_or_else(unknown, |n| n.to_string()),
            ),
            pair("quantization", self.quantization.clone()),
        ];
        if let Some(template) = &self.template {
            let known = if template.is_known {
                "DeepSeek-R1's, built in"
            } else {
                "unknown, left out"
            };
            model.push(pair("template", known.to_owned()));
        }
        let one_each = |text: &str, lines: usize| -> Vec<Vec<String>> {
            let lines = text.lines().filter(|line| !line.trim().is_empty()).take(lines);
            lines.map(|line| vec![line.trim().to_owned()]).collect()
        };
        let license = self.licenses.first().map(|text| one_each(text, LICENSE_LINES));
        let system = self.system.as_ref().map(|text| one_each(text, usize::MAX));
        let sections = [
            ("Model", model),
            ("Parameters", self.parameter_rows()),
            ("System", system.unwrap_or_default()),
            ("License", license.unwrap_or_default()),
        ];
        let sections = sections.into_iter().filter(|(_, rows)| !rows.is_empty());
        let sections: Vec<String> = sections
            .map(|(title, rows)| format!("  {title}\n{}\n", columns(&printable(rows), "    ")))
            .collect();
        sections.concat()
    }

    /// One row for each value; a list has several of one name.
    fn parameter_rows(&self) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        for (name, value) in &self.parameters {
            let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            rows.extend(values.iter().map(|value| vec![name.clone(), value.to_string()]));
        }
        rows
    }
}

/// Nothing that a file says may steer the terminal.
fn printable(rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    let row = |row: Vec<String>| row.iter().map(|cell| safe(cell, CELL_CHARS)).collect();
    rows.into_iter().map(row).collect()
}

/// One line of a text from outside, fit for a terminal.
pub(super) fn printed(line: &str) -> String {
    safe(line, LINE_CHARS)
}

/// `32.8B`, `135M`, `42K`.
fn counted(parameters: u64) -> String {
    match parameters {
        1_000_000_000.. => format!("{:.1}B", parameters as f64 / 1e9),
        1_000_000.. => format!("{:.2}M", parameters as f64 / 1e6),
        1000.. => format!("{}K", parameters / 1000),
        few => few.to_string(),
    }
}
