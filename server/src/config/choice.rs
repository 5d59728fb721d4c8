//! Which model: the one inside the program, a file, a name in our own store or Ollama's, or one of the Hugging Face hub.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use library::hub::{HubCache, HubName};
use library::pull;
use library::store::{ModelName, OwnStore, Store, StoreError};

/// A model as somebody named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModelChoice {
    /// The one inside the program.
    Tiny,
    /// A GGUF file.
    File(PathBuf),
    /// A name, and the stores that may know it.
    Stored { name: ModelName, stores: Vec<Store> },
    /// A name on the Hugging Face hub, and where its tools keep what they have downloaded, if that is known.
    Hub { name: HubName, cache: Option<HubCache> },
}

impl ModelChoice {
    /// Understands `text` where only the environment says which stores there are.
    ///
    /// # Errors
    /// It is no name and no path.
    pub(crate) fn of(text: &str, environment: &[(OsString, OsString)]) -> Result<ModelChoice, StoreError> {
        ModelChoice::among(text, &own_store(environment), environment)
    }

    /// Understands `text`. What begins with `hf:` is of the hub. What is a file, ends in `.gguf` or has a slash is a path,
    /// unless a store has a model of that name; anything else is a name.
    ///
    /// # Errors
    /// It is no name and no path.
    pub(crate) fn among(
        text: &str,
        own: &OwnStore,
        environment: &[(OsString, OsString)],
    ) -> Result<ModelChoice, StoreError> {
        let path = Path::new(text);
        if text == "tiny" {
            return Ok(ModelChoice::Tiny);
        }
        if HubName::is_meant(text) {
            return Ok(ModelChoice::Hub {
                name: text.parse()?,
                cache: hub_cache(environment),
            });
        }
        let is_gguf = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf"));
        if is_gguf || path.is_file() {
            return Ok(ModelChoice::File(path.to_owned()));
        }
        let stores = stores(own, environment);
        match text.parse::<ModelName>() {
            Ok(name) if !text.contains('/') || stores.iter().any(|store| store.has(&name)) => {
                Ok(ModelChoice::Stored { name, stores })
            }
            Err(error) if !text.contains(std::path::is_separator) => Err(error),
            _ => Ok(ModelChoice::File(path.to_owned())),
        }
    }

    /// The model of a store or of the hub's cache that a client named: never a path, and only one that is there.
    pub(crate) fn named(text: &str, own: &OwnStore, environment: &[(OsString, OsString)]) -> Option<ModelChoice> {
        if HubName::is_meant(text) {
            let (name, cache): (HubName, HubCache) = (text.parse().ok()?, hub_cache(environment)?);
            return cache.find(&name).is_ok().then_some(ModelChoice::Hub {
                name,
                cache: Some(cache),
            });
        }
        let name: ModelName = text.parse().ok()?;
        let stores = stores(own, environment);
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
            ModelChoice::Hub { name, .. } => write!(f, "{name}"),
        }
    }
}

/// Where models are looked for: our own store first, then those of this user's Ollama and of its service.
pub(crate) fn stores(own: &OwnStore, environment: &[(OsString, OsString)]) -> Vec<Store> {
    let ollama_models = variable(environment, "OLLAMA_MODELS").map(PathBuf::from);
    let others = Store::usual(ollama_models, home(environment));
    let others = others.into_iter().filter(|store| store != own.store());
    std::iter::once(own.store().clone()).chain(others).collect()
}

/// Our own store, where what is pulled and created is kept: the setting `store` as the environment has it, else the usual.
pub(crate) fn own_store(environment: &[(OsString, OsString)]) -> OwnStore {
    let said = variable(environment, "TANDEM_STORE").map(Path::new);
    own_store_at(said.unwrap_or(Path::new("~/.tandem/models")), environment)
}

/// Our own store in this folder, `~` being the user's own. Files and service units have no shell that would say so.
pub(crate) fn own_store_at(folder: &Path, environment: &[(OsString, OsString)]) -> OwnStore {
    let home = home(environment).unwrap_or(Path::new(""));
    OwnStore::at(
        folder
            .strip_prefix("~")
            .map_or_else(|_| folder.to_owned(), |below| home.join(below)),
    )
}

/// Where the Hugging Face hub's own tools keep what they have downloaded.
pub(crate) fn hub_cache(environment: &[(OsString, OsString)]) -> Option<HubCache> {
    let folder = |name| variable(environment, name).map(PathBuf::from);
    HubCache::usual(folder("HF_HUB_CACHE"), folder("HF_HOME"), home(environment))
}

/// How models are pulled: from `hosts`, or unless said from the usual ones, with the hub's and the proxy's variables.
pub(crate) fn pull_settings(hosts: Option<Vec<String>>, environment: &[(OsString, OsString)]) -> pull::Settings {
    let text = |name| {
        let value = variable(environment, name)?.to_string_lossy().trim().to_owned();
        (!value.is_empty()).then_some(value)
    };
    // A wrong one is nobody's mistake here: it matters only to whoever pulls.
    let hub_token = text("HF_TOKEN").and_then(|token| warned(pull::Secret::new(&token)));
    let proxy = text("HTTPS_PROXY").or_else(|| text("https_proxy"));
    pull::Settings {
        hosts,
        hub: text("HF_ENDPOINT"),
        hub_token,
        proxy: proxy.and_then(|proxy| warned(pull::Proxy::new(&proxy))),
        ..pull::Settings::default()
    }
}

fn warned<T>(result: Result<T, pull::PullError>) -> Option<T> {
    result.map_err(|error| crate::warn(&error)).ok()
}

fn home(environment: &[(OsString, OsString)]) -> Option<&Path> {
    variable(environment, "HOME").map(Path::new)
}

/// A variable that is not empty.
pub(super) fn variable<'a>(environment: &'a [(OsString, OsString)], name: &str) -> Option<&'a OsStr> {
    let (_, value) = environment.iter().find(|(variable, _)| variable == name)?;
    (!value.is_empty()).then_some(value)
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

    #[test]
    fn a_name_of_the_hub_is_never_a_path() {
        let environment = [("HF_HOME".into(), "/hf".into()), ("HOME".into(), "/home/me".into())];
        let chosen = ModelChoice::of("hf:a/b:c.gguf", &environment).unwrap();
        let expected = ModelChoice::Hub {
            name: "hf:a/b:c.gguf".parse().unwrap(),
            cache: Some(HubCache::at("/hf/hub")),
        };
        assert_eq!(chosen, expected);
        for wrong in ["hf:", "hf:a", "hf:../b:c.gguf", "hf:a/b:../c.gguf"] {
            assert!(ModelChoice::of(wrong, &environment).is_err(), "{wrong}");
        }
    }

    #[test]
    fn our_own_store_is_looked_at_first() {
        let roots = |environment: &[(OsString, OsString)]| -> Vec<PathBuf> {
            stores(&own_store(environment), environment)
                .iter()
                .map(|store| store.root().to_owned())
                .collect()
        };
        let home = ("HOME".into(), "/home/me".into());
        let usual = ["/home/me/.tandem/models", "/home/me/.ollama/models"].map(PathBuf::from);
        assert_eq!(roots(std::slice::from_ref(&home)).get(..2).unwrap(), usual);
        for (said, root) in [
            ("/own", "/own"),
            ("~/own", "/home/me/own"),
            ("/home/me/.ollama/models", "/home/me/.ollama/models"),
        ] {
            let environment = [("TANDEM_STORE".into(), said.into()), home.clone()];
            let found = roots(&environment);
            assert_eq!(found.first(), Some(&PathBuf::from(root)));
            assert_eq!(
                found.iter().filter(|found| found.as_path() == Path::new(root)).count(),
                1
            );
            assert_eq!(
                own_store_at(Path::new("/said"), &environment).root(),
                Path::new("/said")
            );
        }
    }
}
