//! A model's name, `[host/][namespace/]model[:tag]`, by Ollama's rules: parts of letters, digits and few signs, none of
//! which can lead out of a folder.

use std::fmt;
use std::str::FromStr;

use super::error::StoreError;
use crate::Quoted;

const HOST: &str = "registry.ollama.ai";
const NAMESPACE: &str = "library";
const TAG: &str = "latest";

/// Characters of a host at most.
const HOST_CHARS_MAX: usize = 350;
/// Characters of any other part at most.
const PART_CHARS_MAX: usize = 80;

/// A name whose four parts are each fit to be a file's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelName {
    host: String,
    namespace: String,
    model: String,
    tag: String,
}

impl ModelName {
    /// The name of these parts, if each is as the rules want it.
    pub(super) fn of_parts([host, namespace, model, tag]: [&str; 4]) -> Option<ModelName> {
        let is_good = is_host(host)
            && is_part(namespace, "-_", PART_CHARS_MAX)
            && is_part(model, "-._", PART_CHARS_MAX)
            && is_part(tag, "-._", PART_CHARS_MAX);
        is_good.then(|| ModelName {
            host: host.to_owned(),
            namespace: namespace.to_owned(),
            model: model.to_owned(),
            tag: tag.to_owned(),
        })
    }

    /// Host, namespace, model and tag.
    pub fn parts(&self) -> [&str; 4] {
        [&self.host, &self.namespace, &self.model, &self.tag]
    }

    /// The name with all its parts.
    pub fn full(&self) -> String {
        format!("{}/{}/{}:{}", self.host, self.namespace, self.model, self.tag)
    }

    /// The shown name without its tag, where the tag is the one that need not be said.
    pub fn without_latest(&self) -> Option<String> {
        let shown = self.to_string();
        shown.strip_suffix(":latest").map(str::to_owned)
    }

    /// Whether both mean the same model: upper and lower case are no difference.
    pub fn is_same(&self, other: &ModelName) -> bool {
        let mut pairs = self.parts().into_iter().zip(other.parts());
        pairs.all(|(one, other)| one.eq_ignore_ascii_case(other))
    }
}

impl FromStr for ModelName {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<ModelName, StoreError> {
        let refuse = || StoreError::Name {
            found: Quoted::new(text),
        };
        let path_end = text.rfind('/').map_or(0, |slash| slash + 1);
        let (path, tag) = match text.rfind(':') {
            Some(colon) if colon >= path_end => (&text[..colon], &text[colon + 1..]),
            _ => (text, TAG),
        };
        let parts: Vec<&str> = path.split('/').collect();
        let parts = match parts.as_slice() {
            [model] => [HOST, NAMESPACE, model, tag],
            [namespace, model] => [HOST, namespace, model, tag],
            [host, namespace, model] => [host, namespace, model, tag],
            _ => return Err(refuse()),
        };
        ModelName::of_parts(parts).ok_or_else(refuse)
    }
}

/// As Ollama shows it: the usual host and namespace left out, the tag always said.
impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_host_usual = self.host.eq_ignore_ascii_case(HOST);
        if !is_host_usual {
            write!(f, "{}/", self.host)?;
        }
        if !is_host_usual || !self.namespace.eq_ignore_ascii_case(NAMESPACE) {
            write!(f, "{}/", self.namespace)?;
        }
        write!(f, "{}:{}", self.model, self.tag)
    }
}

/// A name, and perhaps a colon and a port. One letter before a colon would be a drive to some systems.
fn is_host(host: &str) -> bool {
    let (name, port) = host.split_once(':').unwrap_or((host, "0"));
    let is_port = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_drive = name.len() < host.len() && name.len() == 1;
    is_part(name, "-._", HOST_CHARS_MAX) && is_port && !is_drive
}

/// A letter, digit or underscore, then these and `signs`. No part can be `.` or `..`, since neither begins so.
fn is_part(part: &str, signs: &str, chars_max: usize) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    part.len() <= chars_max && part.starts_with(is_plain) && part.chars().all(|c| is_plain(c) || signs.contains(c))
}
