//! One model file, opened and understood, before its weights are read.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use chat::{ChatTemplate, Tokenizer};
use library::Gguf;
use library::hub::{HubCache, HubError, HubName};
use library::store::{self, StoreError, StoredModel};

use super::stored;
use crate::app::{ModelCard, SamplingDefaults};
use crate::config::{Config, ModelChoice};
use crate::failure::Failure;
use crate::roster::{Opening, Served};
use crate::shelf::tagged;

/// Characters of a model's name at most.
const ID_CHARS: usize = 96;

/// What the start-up lines say of a model.
pub(super) struct Facts {
    pub(super) parameters: u64,
    /// `Q4_K_M`, or the kind of block that most of the bytes are in.
    pub(super) quantisation: String,
    /// Where the chat template is from.
    pub(super) template: String,
    pub(super) weight_bytes: u64,
}

/// A model file that passed all checks.
pub(super) struct Opened {
    pub(super) gguf: Gguf,
    pub(super) config: models::Config,
    pub(super) tokenizer: Tokenizer,
    pub(super) template: ChatTemplate,
    pub(super) card: ModelCard,
    pub(super) facts: Facts,
    /// Sampling values for what a request leaves out.
    pub(super) sampling: SamplingDefaults,
    /// What the model's maker put around every conversation.
    pub(super) opening: Opening,
}

impl Opened {
    /// Opens the configured model and checks header, tokenizer and template.
    ///
    /// # Errors
    /// One line that names the file and what is wrong with it.
    pub(super) fn open(config: &Config) -> Result<Opened, Failure> {
        let (gguf, stored) = open_with_store(&config.model)?;
        let wrong = |error: &dyn std::fmt::Display| Failure::Model(format!("{}: {error}", gguf.name()));
        let model = models::Config::from_gguf(&gguf).map_err(|error| wrong(&error))?;
        let vocabulary = gguf.vocabulary().map_err(|error| Failure::Model(error.to_string()))?;
        let jinja = vocabulary.chat_template.clone();
        let tokenizer = Tokenizer::new(converted(vocabulary)).map_err(|error| wrong(&error))?;
        let template = ChatTemplate::for_model(jinja.as_deref(), &tokenizer).map_err(|error| wrong(&error))?;
        let facts = Facts {
            parameters: gguf.tensors().iter().map(library::TensorInfo::elements).sum(),
            quantisation: gguf.quantisation().to_owned(),
            template: template.name().to_owned(),
            weight_bytes: gguf.tensors().iter().map(|tensor| tensor.bytes).sum(),
        };
        let card = card(&config.model, &gguf, &model);
        let (sampling, opening) = match stored {
            None => (config.sampling.clone(), Opening::default()),
            Some(stored) => {
                stored::warn_of_what_is_left_out(&stored, template.name());
                (stored::sampling(&stored.parameters, config), stored::opening(stored))
            }
        };
        Ok(Opened {
            gguf,
            config: model,
            tokenizer,
            template,
            card,
            facts,
            sampling,
            opening,
        })
    }

    /// What the model takes, by the shapes in its file.
    pub(super) fn costs(&self) -> models::Costs {
        models::Costs::of(&self.gguf, &self.config)
    }
}

/// Opens the file and checks its header.
///
/// # Errors
/// One line that names the file and what is wrong with it.
pub(crate) fn open_file(choice: &ModelChoice) -> Result<Gguf, Failure> {
    Ok(open_with_store(choice)?.0)
}

/// Opens the file and checks its header; with what its store says of it, if it is from one.
///
/// # Errors
/// One line that names the file and what is wrong with it.
pub(crate) fn open_with_store(choice: &ModelChoice) -> Result<(Gguf, Option<StoredModel>), Failure> {
    let (gguf, stored) = match choice {
        ModelChoice::Tiny => (Gguf::from_static(models::tiny::GGUF, "the embedded tiny model"), None),
        ModelChoice::File(path) => (Gguf::open(path), None),
        ModelChoice::Stored { name, stores } => {
            let stored = store::find(stores, name)?;
            (Gguf::open(&stored.path), Some(stored))
        }
        ModelChoice::Hub { name, cache } => (Gguf::open(&hub_file(name, cache.as_ref())?), None),
    };
    let gguf = gguf.map_err(|error| Failure::Model(error.to_string()))?;
    Ok((gguf, stored))
}

/// Where the hub's tools have put the file.
///
/// # Errors
/// They have not, or nobody knows where they put files.
pub(super) fn hub_file(name: &HubName, cache: Option<&HubCache>) -> Result<PathBuf, Failure> {
    let nowhere = || HubError::NoCache { name: name.to_string() };
    let path = cache.ok_or_else(nowhere).and_then(|cache| cache.find(name));
    Ok(path.map_err(StoreError::from)?)
}

/// The model's own name: its store's, the one in the file, else the file's.
pub(crate) fn id(choice: &ModelChoice, gguf: &Gguf) -> String {
    let path = match choice {
        ModelChoice::Tiny => return "tandem-tiny".to_owned(),
        ModelChoice::Stored { name, .. } => return name.to_string(),
        ModelChoice::Hub { name, .. } => return name.to_string(),
        ModelChoice::File(path) => path,
    };
    let named = gguf.metadata().opt_text("general.name").ok().flatten().map(sanitised);
    named
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| sanitised(&stem(path)))
}

fn card(choice: &ModelChoice, gguf: &Gguf, model: &models::Config) -> ModelCard {
    let (mut aliases, mut stand_ins) = (Vec::new(), Vec::new());
    let id = id(choice, gguf);
    let file = match choice {
        ModelChoice::Tiny => {
            // It stands in for the model that users come for, so that their first command works before a download.
            aliases.push("tiny".to_owned());
            stand_ins.extend(names_of_r1("32b"));
            "embedded".to_owned()
        }
        ModelChoice::File(path) => {
            let stem = sanitised(&stem(path));
            if stem != id {
                aliases.push(stem);
            }
            path.display().to_string()
        }
        ModelChoice::Stored { name, .. } => {
            aliases.extend(name.without_latest());
            aliases.push(name.full());
            if let [.., "deepseek-r1", tag] = name.parts() {
                stand_ins.extend(names_of_r1(tag));
            }
            gguf.name().to_owned()
        }
        ModelChoice::Hub { .. } => gguf.name().to_owned(),
    };
    // Lists show a name with its tag, and what they show can be asked for.
    let listed = tagged(id.clone());
    if listed != id {
        aliases.push(listed);
    }
    let architecture = gguf
        .metadata()
        .opt_text("general.architecture")
        .ok()
        .flatten()
        .unwrap_or("unknown");
    ModelCard {
        id,
        aliases,
        stand_ins,
        created: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs(),
        context_tokens: model.context_tokens,
        architecture: sanitised(architecture),
        file,
    }
}

/// What clients call DeepSeek's R1 of this size: Ollama's name without a tag, and the one of the hub, which LobeChat knows.
fn names_of_r1(tag: &str) -> Vec<String> {
    let mut names = ["deepseek-r1", "deepseek-r1:latest"].map(str::to_owned).to_vec();
    names.push(format!("deepseek-r1:{tag}"));
    match tag {
        "1.5b" | "7b" | "14b" | "32b" => names.push(format!("deepseek-r1-distill-qwen-{tag}")),
        "8b" | "70b" => names.push(format!("deepseek-r1-distill-llama-{tag}")),
        _ => {}
    }
    names
}

/// A loaded model under the name `choice`, with what its store says under that name.
///
/// # Errors
/// No store has it, or its files are not as they should be.
pub(super) fn dressed(served: &Served, choice: &ModelChoice, config: &Config) -> Result<Served, Failure> {
    let mut card = served.card.clone();
    card.aliases = Vec::new();
    card.stand_ins = Vec::new();
    let (mut sampling, mut opening) = (config.sampling.clone(), Opening::default());
    if let ModelChoice::Stored { name, stores } = choice {
        let stored = store::find(stores, name)?;
        card.id = stored.name.to_string();
        sampling = stored::sampling(&stored.parameters, config);
        opening = stored::opening(stored);
    }
    Ok(served.dressed(card, sampling, opening))
}

/// The file's name without its last extension.
fn stem(path: &Path) -> String {
    path.file_stem()
        .map_or_else(|| "model".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// A name fit for URLs, log lines and labels: letters, digits and `._:/-`, all else becomes one dash.
fn sanitised(name: &str) -> String {
    let mut clean = String::new();
    for c in name.chars().take(ID_CHARS) {
        if c.is_alphanumeric() || "._:/".contains(c) {
            clean.extend(c.to_lowercase());
        } else if !clean.is_empty() && !clean.ends_with('-') {
            clean.push('-');
        }
    }
    clean.trim_end_matches('-').to_owned()
}

/// Field by field: `chat` does not know `library`.
fn converted(vocabulary: library::Vocabulary) -> chat::Vocabulary {
    chat::Vocabulary {
        model: vocabulary.model,
        pre: vocabulary.pre,
        tokens: vocabulary.tokens,
        types: vocabulary.types,
        merges: vocabulary.merges,
        bos: vocabulary.bos,
        eos: vocabulary.eos,
        end_tokens: vocabulary.end_tokens,
        add_bos: vocabulary.add_bos,
        add_eos: vocabulary.add_eos,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_fit_for_labels_and_addresses() {
        for (name, expected) in [
            ("DeepSeek R1 Distill Qwen 1.5B", "deepseek-r1-distill-qwen-1.5b"),
            ("  spaces  ", "spaces"),
            ("a\r\nb\u{1b}[31m", "a-b-31m"),
            ("深度求索", "深度求索"),
            ("\u{0}\u{1}", ""),
        ] {
            assert_eq!(sanitised(name), expected);
        }
    }
}
