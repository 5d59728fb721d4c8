//! What a model file's header tells, remembered as long as the file stays as it is: a header has a whole vocabulary.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use chat::ToolFormat;
use library::store::Details;
use library::{Gguf, GgufError};

/// Files whose facts are remembered.
const FILES_MAX: usize = 1000;

/// Ollama's word for a model that thinks before it answers.
pub(super) const THINKING: &str = "thinking";

/// The token that ends a thought.
const THOUGHT_END: &str = "</think>";

/// What a header tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// In Ollama's words.
    pub(crate) details: Details,
    pub(crate) context_length: Option<u64>,
    pub(crate) embedding_length: Option<u64>,
    /// What it is good for, in Ollama's words.
    pub(crate) capabilities: Vec<&'static str>,
}

impl Facts {
    pub(crate) fn of(gguf: &Gguf) -> Facts {
        let details = Details::of_gguf(gguf);
        let number = |key: &str| {
            let value = gguf.metadata().get(&format!("{}.{key}", details.family))?;
            value.as_unsigned()
        };
        Facts {
            context_length: number("context_length"),
            embedding_length: number("embedding_length"),
            capabilities: capabilities(gguf, &details.family),
            details,
        }
    }
}

fn capabilities(gguf: &Gguf, family: &str) -> Vec<&'static str> {
    let metadata = gguf.metadata();
    // Models that were trained to embed say how; those made of them by llama.cpp keep it.
    let is_embedder = metadata.get(&format!("{family}.pooling_type")).is_some();
    let template = metadata.opt_text("tokenizer.chat_template").ok().flatten();
    let tokens = metadata.opt_texts("tokenizer.ggml.tokens").ok().flatten();
    let has_thought_end = tokens.unwrap_or_default().iter().any(|token| token == THOUGHT_END);
    // Some families share a vocabulary with a thinking sibling; their templates know nothing of thoughts.
    let thinks = has_thought_end && template.is_none_or(|text| text.contains("think"));
    let mut capabilities = vec![if is_embedder { "embedding" } else { "completion" }];
    if template.is_some_and(|text| knows_tools(text) && ToolFormat::of_template(text).is_some()) {
        capabilities.push("tools");
    }
    if thinks && !is_embedder {
        capabilities.push(THINKING);
    }
    capabilities
}

/// Whether the template reads the variable `tools`.
fn knows_tools(template: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || "_▁.'\"-".contains(c);
    let mut rest = template;
    while let Some(at) = rest.find("tools") {
        let (before, found) = rest.split_at(at);
        let after = found.strip_prefix("tools").unwrap_or_default();
        // A filter, a test or a loop may follow; a quote or a letter makes it another word.
        if !before.ends_with(is_word) && !after.starts_with(|c: char| is_word(c) && c != '.') {
            return true;
        }
        rest = after;
    }
    false
}

/// Facts by file.
#[derive(Default)]
pub(super) struct KnownFacts {
    files: Mutex<HashMap<PathBuf, (Stamp, Facts)>>,
}

/// By which a changed file is told from an unchanged one.
type Stamp = (u64, Option<SystemTime>);

impl KnownFacts {
    /// The facts of the file at `path`, if it is a GGUF file.
    pub(super) fn of_file(&self, path: &Path) -> Result<Facts, GgufError> {
        let stamp = stamp(path);
        let known = stamp.as_ref().and_then(|stamp| {
            let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
            let (known, facts) = files.get(path)?;
            (known == stamp).then(|| facts.clone())
        });
        if let Some(facts) = known {
            return Ok(facts);
        }
        let facts = Facts::of(&Gguf::open(path)?);
        if let Some(stamp) = stamp {
            let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
            if files.len() >= FILES_MAX {
                files.clear();
            }
            files.insert(path.to_owned(), (stamp, facts.clone()));
        }
        Ok(facts)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_that_reads_tools_is_told_from_one_that_has_the_word() {
        for (template, expected) in [
            ("{%- if tools %}", true),
            ("{% for tool in tools %}", true),
            ("{{ tools|tojson }}", true),
            ("{%- if tools.length %}", true),
            ("{%- if (tools) %}", true),
            ("{% if message['tools'] %}", false),
            ("message['tool_calls']", false),
            ("<｜tool▁calls▁begin｜> is_tool my_tools toolset", false),
            ("", false),
        ] {
            assert_eq!(knows_tools(template), expected, "{template}");
        }
    }

    #[test]
    fn the_embedded_model_completes_and_thinks() {
        let gguf = Gguf::from_static(models::tiny::GGUF, "tiny").unwrap();
        let facts = Facts::of(&gguf);
        assert_eq!(facts.capabilities, ["completion", "thinking"]);
        assert!(facts.context_length.is_some() && facts.embedding_length.is_some());
        assert_eq!(facts.details.family, "qwen2");
    }

    #[test]
    fn a_files_facts_are_looked_up_again_when_it_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.gguf");
        std::fs::write(&path, models::tiny::GGUF).unwrap();
        let known = KnownFacts::default();
        let facts = known.of_file(&path).unwrap();
        assert_eq!(known.of_file(&path).unwrap(), facts);
        std::fs::write(&path, b"GGUF").unwrap();
        assert!(known.of_file(&path).is_err());
    }
}
