//! What the machine tells of its cards without loading anything, and what the driver tells a program that can ask it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use models::{CardStatus, ModelsError};

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    /// Where the driver's library lies.
    pub(super) library: Option<PathBuf>,
    /// The version of the driver's kernel module, as `580.95.05`.
    pub(super) driver: Option<String>,
    /// Cards that the kernel module lists, by name.
    pub(super) listed: Vec<String>,
    /// Cards that this program has asked the driver for.
    pub(super) cards: Cards,
}

/// What a program finds that asks the driver for cards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cards {
    /// It was built without CUDA and cannot ask.
    NotBuilt,
    /// The driver is missing, too old, or does not start: why, and what to do.
    Refused(String),
    /// These, which may be none.
    Found(Vec<CardStatus>),
}

/// Where Linux distributions, containers and WSL put the driver's library; the loader's own list comes first.
const FOLDERS: [&str; 9] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib/wsl/lib",
    "/usr/local/nvidia/lib64",
    "/usr/local/cuda/compat",
    "/run/opengl-driver/lib",
    r"C:\Windows\System32",
];

/// The driver's library on Linux and on Windows.
const LIBRARIES: [&str; 2] = ["libcuda.so.1", "nvcuda.dll"];

impl Machine {
    pub(super) fn look() -> Machine {
        let module = Path::new("/proc/driver/nvidia");
        let version = std::fs::read_to_string(module.join("version")).unwrap_or_default();
        Machine {
            library: library(std::env::var_os("LD_LIBRARY_PATH").as_deref()),
            driver: version_in(&version),
            listed: listed(&module.join("gpus")),
            cards: match models::cards() {
                Ok(cards) => Cards::Found(cards),
                Err(ModelsError::NoCuda) => Cards::NotBuilt,
                Err(error) => Cards::Refused(error.to_string()),
            },
        }
    }
}

fn library(loader: Option<&OsStr>) -> Option<PathBuf> {
    let named = loader.map(std::env::split_paths).into_iter().flatten();
    let mut folders = named.chain(FOLDERS.iter().map(PathBuf::from));
    folders.find_map(|folder| {
        let candidates = LIBRARIES.iter().map(|name| folder.join(name));
        candidates.into_iter().find(|path| path.is_file())
    })
}

/// The version in the kernel module's words: the first number with two dots or one.
fn version_in(text: &str) -> Option<String> {
    let is_version = |word: &&str| {
        let parts: Vec<&str> = word.split('.').collect();
        let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        (2..=3).contains(&parts.len()) && parts.iter().all(is_number)
    };
    let line = text.lines().find(|line| line.starts_with("NVRM"))?;
    line.split_whitespace().find(is_version).map(str::to_owned)
}

/// The names of the cards, each in a file of its own.
fn listed(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let name = |path: PathBuf| {
        let text = std::fs::read_to_string(path.join("information")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Model:"))?;
        Some(line.trim().to_owned())
    };
    let mut names: Vec<(PathBuf, String)> = entries
        .filter_map(|entry| Some((entry.path(), name(entry.path())?)))
        .collect();
    names.sort();
    names.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_either_kernel_module() {
        for (text, expected) in [
            (
                "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\nGCC version:  gcc 12.2.0",
                Some("535.183.01"),
            ),
            (
                "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (builder@host)",
                Some("580.95.05"),
            ),
            ("GCC version:  gcc version 12.2.0", None),
            ("NVRM version: unknown", None),
            ("", None),
        ] {
            assert_eq!(version_in(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn the_library_is_found_where_the_loader_looks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libcuda.so.1");
        std::fs::write(&path, "").unwrap();
        assert_eq!(library(Some(folder.path().as_os_str())), Some(path));
    }

    #[test]
    fn cards_are_listed_in_the_order_of_their_places() {
        let folder = tempfile::tempdir().unwrap();
        for (place, name) in [("0000:81:00.0", "Tesla T4"), ("0000:04:00.0", "NVIDIA L4")] {
            let card = folder.path().join(place);
            std::fs::create_dir(&card).unwrap();
            std::fs::write(
                card.join("information"),
                format!("Model: \t\t {name}\nIRQ:   \t\t 16\n"),
            )
            .unwrap();
        }
        assert_eq!(listed(folder.path()), ["NVIDIA L4", "Tesla T4"]);
        assert!(listed(&folder.path().join("none")).is_empty());
    }
}
