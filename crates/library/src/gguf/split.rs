//! Models in several files, as `llama-gguf-split` cuts them: `NAME-00001-of-00003.gguf` has the metadata, each file has
//! some of the tensors, and `split.*` in each of them says which part of how many it is.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::{GgufError, Problem, Quoted};
use super::limits::{PARTS_MAX, TENSORS_MAX};
use super::metadata::Metadata;
use super::{Gguf, Part};

const NUMBER: &str = "split.no";
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";

/// The digits of a number in a part's name.
const DIGITS: usize = 5;

/// The name of one part of a split model's file, `NAME-00002-of-00003.gguf`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitName {
    stem: String,
    number: u64,
    parts: u64,
}

impl SplitName {
    /// Understands a file's name or a path's text; `None` if it is not a part's.
    pub fn of(name: &str) -> Option<SplitName> {
        let rest = name.strip_suffix(".gguf")?;
        let (rest, parts) = cut_number(rest)?;
        let (stem, number) = cut_number(rest.strip_suffix("-of")?)?;
        let stem = stem.to_owned();
        ((1..=parts).contains(&number) && (2..=PARTS_MAX).contains(&parts)).then_some(SplitName { stem, number, parts })
    }

    /// Which part it is, from 1 on.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// How many there are.
    pub fn parts(&self) -> u64 {
        self.parts
    }

    /// What comes before the numbers.
    pub fn stem(&self) -> &str {
        &self.stem
    }

    /// The name of the part `number`.
    pub fn part(&self, number: u64) -> String {
        format!("{}-{number:05}-of-{:05}.gguf", self.stem, self.parts)
    }

    /// The names of all parts.
    pub fn all(&self) -> Vec<String> {
        (1..=self.parts).map(|number| self.part(number)).collect()
    }
}

/// Cuts off `-` and five digits at the end.
fn cut_number(text: &str) -> Option<(&str, u64)> {
    let (rest, digits) = text.rsplit_once('-')?;
    let is_number = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    Some((rest, digits.parse().ok().filter(|_| is_number)?))
}

/// What a part says of itself.
struct Split {
    /// From 1 on.
    number: u64,
    parts: u64,
    /// Of all parts.
    tensors: Option<u64>,
}

impl Split {
    fn of(metadata: &Metadata) -> Result<Split, GgufError> {
        let tensors = metadata.get(TENSORS).map(|_| metadata.unsigned(TENSORS)).transpose()?;
        let split = Split {
            number: metadata.unsigned_or(NUMBER, 0)?.saturating_add(1),
            parts: metadata.unsigned_or(COUNT, 1)?,
            tensors,
        };
        for (what, found, allowed) in [
            ("parts", split.parts, PARTS_MAX),
            ("tensors in all its parts", tensors.unwrap_or(0), TENSORS_MAX),
        ] {
            if found > allowed {
                let position = 0;
                let problem = Problem::Limit {
                    what,
                    found,
                    allowed,
                    position,
                };
                return Err(metadata.refuse(problem));
            }
        }
        Ok(split)
    }
}

/// `gguf`, unless it is a part of a model.
pub(super) fn refuse(gguf: Gguf) -> Result<Gguf, GgufError> {
    let parts = gguf.metadata.unsigned_or(COUNT, 1)?;
    if parts > 1 {
        return Err(gguf.metadata.refuse(Problem::Split { parts }));
    }
    Ok(gguf)
}

/// `first`, which is the file at `path`, with all other parts if it is the first of several.
pub(super) fn join(first: Gguf, path: &Path) -> Result<Gguf, GgufError> {
    let split = Split::of(&first.metadata)?;
    if split.parts <= 1 {
        return Ok(first);
    }
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let name = SplitName::of(&name).filter(|name| name.parts == split.parts);
    let problem = match name {
        Some(name) if split.number == 1 && name.number == 1 => return join_parts(first, &split, path, &name),
        Some(name) if split.number > 1 => Problem::LaterPart {
            number: split.number,
            parts: split.parts,
            first: Quoted::new(&name.part(1)),
        },
        _ if split.number > 1 => Problem::LaterPart {
            number: split.number,
            parts: split.parts,
            first: Quoted::new(&format!("NAME-00001-of-{:05}.gguf", split.parts)),
        },
        _ => Problem::SplitName { parts: split.parts },
    };
    Err(first.metadata.refuse(problem))
}

fn join_parts(first: Gguf, split: &Split, path: &Path, name: &SplitName) -> Result<Gguf, GgufError> {
    let paths: Vec<PathBuf> = name.all().iter().map(|name| path.with_file_name(name)).collect();
    let is_missing = |path: &&PathBuf| {
        let found = std::fs::metadata(path);
        found.is_err_and(|cause| cause.kind() == ErrorKind::NotFound)
    };
    let missing: Vec<&str> = paths
        .iter()
        .filter(is_missing)
        .filter_map(|path| path.file_name()?.to_str())
        .collect();
    if !missing.is_empty() {
        return Err(first.metadata.refuse(Problem::MissingParts {
            parts: split.parts,
            missing: missing.len(),
            names: Quoted::new(&missing.join("` `")),
        }));
    }
    let mut whole = first;
    for (number, path) in (2..).zip(paths.iter().skip(1)) {
        let part = Gguf::open_one(path)?;
        check_part(&Split::of(&part.metadata)?, number, split).map_err(|problem| part.metadata.refuse(problem))?;
        append(&mut whole, part)?;
    }
    let found = whole.tensors().len();
    match split.tensors {
        Some(expected) if expected != found as u64 => {
            Err(whole.metadata.refuse(Problem::SplitTensors { found, expected }))
        }
        _ => Ok(whole),
    }
}

/// That a file is the part `number` of the model whose first part says `first`.
fn check_part(found: &Split, number: u64, first: &Split) -> Result<(), Problem> {
    let tensors = first.tensors.unwrap_or(0);
    for (key, found, expected) in [
        (COUNT, found.parts, first.parts),
        (NUMBER, found.number - 1, number - 1),
        (TENSORS, found.tensors.unwrap_or(tensors), tensors),
    ] {
        if found != expected {
            return Err(Problem::OtherPart { key, found, expected });
        }
    }
    Ok(())
}

fn append(whole: &mut Gguf, part: Gguf) -> Result<(), GgufError> {
    let Gguf {
        parts,
        tensors,
        metadata,
        ..
    } = part;
    let start = whole.file_bytes();
    let bytes = parts
        .iter()
        .fold(start, |sum, part| sum.saturating_add(part.source.bytes()));
    let limits = [
        ("bytes in all parts", bytes, u64::MAX - 1),
        (
            "tensors in all parts",
            (whole.tensors().len() + tensors.list().len()) as u64,
            TENSORS_MAX,
        ),
    ];
    for (what, found, allowed) in limits {
        if found > allowed {
            let position = 0;
            return Err(metadata.refuse(Problem::Limit {
                what,
                found,
                allowed,
                position,
            }));
        }
    }
    whole
        .tensors
        .append(tensors, start)
        .map_err(|problem| metadata.refuse(problem))?;
    whole.parts.extend(parts.into_iter().map(|part| Part { start, ..part }));
    Ok(())
}
