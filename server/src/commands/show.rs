//! `tandem show`: what a model is, from the header of its file and the small files beside it in a store.

use std::process::ExitCode;

use anyhow::Context;
use library::Gguf;
use library::store::StoredModel;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Environment, ShowWords, columns};
use crate::config::ModelChoice;
use crate::failure::Failure;
use crate::logging::safe;
use crate::start;

/// Characters of one cell at most.
const CELL_CHARS: usize = 200;
/// Lines of the licence that the page shows.
const LICENSE_LINES: usize = 2;

/// Prints what is known.
///
/// # Errors
/// No such model, or its files are not as they should be.
pub(crate) fn run(words: &ShowWords, environment: &Environment) -> Result<ExitCode, Failure> {
    let choice = ModelChoice::of(&words.model, environment)?;
    let (gguf, stored) = start::open_with_store(&choice)?;
    let shown = Shown::of(start::id(&choice, &gguf), &gguf, stored);
    let page = if words.json {
        serde_json::to_string_pretty(&shown).context("the model is not JSON")? + "\n"
    } else {
        shown.page()
    };
    crate::print(&page)
}

/// The fields of `--json`; they are added, never renamed. What the files do not say is null or empty.
#[derive(Serialize)]
struct Shown {
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
    fn of(name: String, gguf: &Gguf, stored: Option<StoredModel>) -> Shown {
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
            let is_known = stored.has_deepseek_template();
            shown.template = stored.template.map(|(digest, text)| Template {
                digest: digest.to_string(),
                is_known,
                text,
            });
            shown.id = Some(stored.id.hex().to_owned());
            (shown.parameters, shown.system, shown.licenses) = (stored.parameters, stored.system, stored.licenses);
        }
        shown
    }

    fn page(&self) -> String {
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

/// `32.8B`, `135M`, `42K`.
fn counted(parameters: u64) -> String {
    match parameters {
        1_000_000_000.. => format!("{:.1}B", parameters as f64 / 1e9),
        1_000_000.. => format!("{:.2}M", parameters as f64 / 1e6),
        1000.. => format!("{}K", parameters / 1000),
        few => few.to_string(),
    }
}
