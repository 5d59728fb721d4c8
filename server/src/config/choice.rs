//! Which model: the one inside the program, a file, or a name in an Ollama model store.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use library::store::{ModelName, Store, StoreError};

/// A model as somebody named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModelChoice {
    /// The one inside the program.
    Tiny,
    /// A GGUF file.
    File(PathBuf),
    /// A name, and the stores that may know it.
    Stored { name: ModelName, stores: Vec<Store> },
}

impl ModelChoice {
    /// Understands `text`. What is a file, ends in `.gguf` or has a slash is a path, unless a store has a model of that
    /// name; anything else is a name.
    ///
    /// # Errors
    /// It can be neither.
    pub(crate) fn of(text: &str, environment: &[(OsString, OsString)]) -> Result<ModelChoice, StoreError> {
        let path = Path::new(text);
        if text == "tiny" {
            return Ok(ModelChoice::Tiny);
        }
        let is_gguf = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf"));
        if is_gguf || path.is_file() {
            return Ok(ModelChoice::File(path.to_owned()));
        }
        let stores = stores(environment);
        match text.parse::<ModelName>() {
            Ok(name) if !text.contains('/') || stores.iter().any(|store| store.has(&name)) => {
                Ok(ModelChoice::Stored { name, stores })
            }
            Err(error) if !text.contains(std::path::is_separator) => Err(error),
            _ => Ok(ModelChoice::File(path.to_owned())),
        }
    }
}

impl ModelChoice {
    /// The model of a store that a client named: never a path.
    pub(crate) fn named(text: &str, environment: &[(OsString, OsString)]) -> Option<ModelChoice> {
        let name: ModelName = text.parse().ok()?;
        let stores = stores(environment);
        let is_there = stores.iter().any(|store| store.has(&name));
        is_there.then_some(ModelChoice::Stored { name, stores })
    }
}

/// As it is named.
impl fmt::Display for ModelChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModelChoice::Tiny => f.write_str("tiny"),
            ModelChoice::File(path) => write!(f, "{}", path.display()),
            ModelChoice::Stored { name, .. } => write!(f, "{name}"),
        }
    }
}

/// Where the models of this user and of Ollama's service are.
pub(crate) fn stores(environment: &[(OsString, OsString)]) -> Vec<Store> {
    let variable = |name: &str| -> Option<&OsStr> {
        let (_, value) = environment.iter().find(|(variable, _)| variable == name)?;
        (!value.is_empty()).then_some(value)
    };
    Store::usual(
        variable("OLLAMA_MODELS").map(PathBuf::from),
        variable("HOME").map(Path::new),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_a_slash_or_an_ending_make_a_path_and_the_rest_is_a_name() {
        let choose = |text: &str| ModelChoice::of(text, &[]);
        assert_eq!(choose("tiny").unwrap(), ModelChoice::Tiny);
        for path in [
            "a.gguf",
            "A.GGUF",
            "./a",
            "models/a",
            "../../etc/passwd",
            "a/../../b:c",
            "Cargo.toml",
        ] {
            assert_eq!(choose(path).unwrap(), ModelChoice::File(PathBuf::from(path)));
        }
        for name in ["deepseek-r1:32b", "qwen3", "tiny:latest"] {
            assert!(matches!(choose(name), Ok(ModelChoice::Stored { .. })), "{name}");
        }
        for neither in ["..:x", "..", "深度", "a:b:c"] {
            assert!(choose(neither).is_err(), "{neither}");
        }
    }
}
