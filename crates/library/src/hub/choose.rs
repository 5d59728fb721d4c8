//! Which of a repository's files is the model.

use super::error::HubError;
use super::name::{HubName, is_file, is_gguf};
use crate::SplitName;

/// What is taken of several, unless one is said.
const USUAL: &str = "Q4_K_M";

/// The one of `files`, paths with `/`, that `name` means: the file it says, the only one with the word it says, the only
/// one there is, or the only one of Q4_K_M. Of a model in several files it is the first.
///
/// # Errors
/// None is it, or several may be.
pub fn choose(name: &HubName, files: &[String]) -> Result<String, HubError> {
    let mut models: Vec<&String> = files.iter().filter(|file| is_model(file)).collect();
    models.sort();
    let listed = |models: &[&String]| models.iter().map(|file| (*file).clone()).collect();
    let refuse = |files| HubError::NoSuchFile {
        name: name.to_string(),
        files,
    };
    let several = |files| HubError::Several {
        name: name.to_string(),
        files,
    };
    let Some(said) = name.file() else {
        let usual = with_word(&models, USUAL);
        return match (models.as_slice(), usual.as_slice()) {
            ([], _) => Err(refuse(Vec::new())),
            ([only], _) | (_, [only]) => Ok((*only).clone()),
            _ => Err(several(listed(&models))),
        };
    };
    if is_gguf(said) {
        let found = files.iter().find(|file| *file == said);
        return found.cloned().ok_or_else(|| refuse(listed(&models)));
    }
    match with_word(&models, said).as_slice() {
        [] => Err(refuse(listed(&models))),
        [only] => Ok((*only).clone()),
        found => Err(several(listed(found))),
    }
}

/// A GGUF file that can be named and that is a model or the first part of one. Projectors and importance matrices are none.
pub(super) fn is_model(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or(file).to_ascii_lowercase();
    let is_beside = ["mmproj", "imatrix"].iter().any(|word| name.contains(word));
    let is_later = SplitName::of(file).is_some_and(|split| split.number() > 1);
    is_gguf(file) && is_file(file) && !is_beside && !is_later
}

/// Those in whose names `word` stands alone: `Q4_K` is not in `Q4_K_M`. Upper and lower case are no difference.
fn with_word<'a>(models: &[&'a String], word: &str) -> Vec<&'a String> {
    let word = word.to_ascii_lowercase();
    let has_word = |file: &str| {
        let file = file.to_ascii_lowercase();
        let is_inside = |c: char| c.is_ascii_alphanumeric() || c == '_';
        file.match_indices(&word).any(|(start, _)| {
            let before = file.get(..start).and_then(|text| text.chars().next_back());
            let after = file.get(start + word.len()..).and_then(|text| text.chars().next());
            !before.is_some_and(is_inside) && !after.is_some_and(is_inside)
        })
    };
    models.iter().filter(|file| has_word(file)).copied().collect()
}
