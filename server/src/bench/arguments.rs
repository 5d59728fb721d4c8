//! What `tandem bench` was asked, checked.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use models::{KvFormat, Simd};

use super::error::BenchError;
use crate::config::{ConfigError, ModelChoice, Source};
use crate::failure::Failure;

/// Sequences of one batch at most.
const SEQUENCES_MAX: usize = 256;
/// Batch sizes of one run at most.
const BATCHES_MAX: usize = 16;

/// One option that takes a value: flag, what stands for it, help.
struct Flag {
    key: &'static str,
    flag: &'static str,
    value: &'static str,
    help: &'static str,
}

#[rustfmt::skip] // A table reads by rows.
const FLAGS: [Flag; 8] = [
    Flag { key: "prompt_tokens", flag: "prompt-tokens", value: "TOKENS", help: "Length of the prompt [default: 512]" },
    Flag { key: "decode_tokens", flag: "decode-tokens", value: "TOKENS", help: "Tokens decoded after it [default: 64]" },
    Flag { key: "history_tokens", flag: "history-tokens", value: "TOKENS", help: "Length of the first turn before a second one [default: 2000]" },
    Flag { key: "batch", flag: "batch", value: "LIST", help: "Sequences decoded together [default: 1,2,4,8,16]" },
    Flag { key: "rounds", flag: "rounds", value: "COUNT", help: "Repetitions; the median counts [default: 3]" },
    Flag { key: "kv", flag: "kv", value: "FORMAT", help: "How the KV cache stores keys and values: f16 or q8_0 [default: f16]" },
    Flag { key: "simd", flag: "simd", value: "SET", help: "The widest vector instructions to use: scalar, avx2 or avx512 [default: avx512]" },
    Flag { key: "threads", flag: "threads", value: "COUNT", help: "Threads [default: all cores that the process may use]" },
];

/// The words, not yet understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    model: Option<PathBuf>,
    json: bool,
    plot: Option<PathBuf>,
    values: Vec<(&'static str, String)>,
}

/// The subcommand for the command line's parser.
pub(crate) fn command() -> Command {
    let path =
        |id: &'static str, value: &'static str| Arg::new(id).value_name(value).value_parser(value_parser!(PathBuf));
    let value = |flag: &Flag| {
        Arg::new(flag.key)
            .long(flag.flag)
            .value_name(flag.value)
            .action(ArgAction::Set)
            .allow_negative_numbers(true)
            .help(flag.help)
    };
    Command::new("bench")
        .about("Measure how fast this machine runs a model, beside what it could do at most")
        .after_help(
            "Runs in this process without HTTP; Ctrl-C ends it. The fields of --json are explained in server/BENCH.md.",
        )
        .arg(path("file", "MODEL").help("A GGUF file, a name in an Ollama model store, or `tiny`, the small model inside this program [default: tiny]"))
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print one JSON object instead of the table"),
        )
        .arg(
            path("plot", "FILE")
                .long("plot")
                .help("Draw tokens per second over the batch size, as SVG"),
        )
        .args(FLAGS.iter().map(value))
}

/// What the parser found.
pub(crate) fn words(given: &ArgMatches) -> Words {
    let text = |key: &'static str| Some((key, given.get_one::<String>(key)?.clone()));
    Words {
        model: given.get_one::<PathBuf>("file").cloned(),
        json: given.get_flag("json"),
        plot: given.get_one::<PathBuf>("plot").cloned(),
        values: FLAGS.iter().filter_map(|flag| text(flag.key)).collect(),
    }
}

/// The same, understood. `None` where the default depends on the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    pub(super) model: ModelChoice,
    pub(super) json: bool,
    pub(super) plot: Option<PathBuf>,
    pub(super) prompt_tokens: Option<usize>,
    pub(super) decode_tokens: usize,
    pub(super) history_tokens: Option<usize>,
    /// Ascending.
    pub(super) batches: Vec<usize>,
    pub(super) rounds: usize,
    pub(super) threads: usize,
    pub(super) kv: KvFormat,
    pub(super) simd: Simd,
}

impl Arguments {
    /// Understands `words`.
    ///
    /// # Errors
    /// The first that is not allowed, with what is.
    pub(super) fn check(words: &Words) -> Result<Arguments, Failure> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let model = match &words.model {
            None => ModelChoice::Tiny,
            Some(path) => match path.to_str() {
                Some(text) => ModelChoice::of(text, &environment())?,
                None => ModelChoice::File(path.clone()),
            },
        };
        let arguments = Arguments {
            model,
            json: words.json,
            plot: words.plot.clone(),
            prompt_tokens: words.number("prompt_tokens", 1..=65_536)?,
            decode_tokens: words.number("decode_tokens", 1..=65_536)?.unwrap_or(64),
            history_tokens: words.number("history_tokens", 16..=65_536)?,
            batches: words.batches()?,
            rounds: words.number("rounds", 1..=1000)?.unwrap_or(3),
            threads: words.number("threads", 1..=1024)?.unwrap_or(cores),
            kv: words.one_of("kv", KvFormat::F16, &KvFormat::ALL.map(|kv| (kv.name(), kv)))?,
            simd: words.one_of("simd", Simd::Avx512, &Simd::ALL.map(|simd| (simd.name(), simd)))?,
        };
        match words.plot.as_deref().map(folder_of) {
            Some(folder) if !folder.is_dir() => Err(BenchError::NoPlotFolder {
                folder: folder.to_owned(),
            }
            .into()),
            _ => Ok(arguments),
        }
    }
}

impl Words {
    fn text(&self, key: &str) -> Option<&str> {
        let (_, text) = self.values.iter().find(|(name, _)| *name == key)?;
        Some(text)
    }

    fn number(&self, key: &'static str, allowed: RangeInclusive<usize>) -> Result<Option<usize>, ConfigError> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        match text.replace('_', "").parse() {
            Ok(number) if allowed.contains(&number) => Ok(Some(number)),
            _ => {
                let allowed = format!("a whole number from {} to {}", allowed.start(), allowed.end());
                Err(refusal(key, text, allowed))
            }
        }
    }

    fn one_of<T: Copy>(&self, key: &'static str, default: T, names: &[(&str, T)]) -> Result<T, ConfigError> {
        let Some(text) = self.text(key) else {
            return Ok(default);
        };
        let known = names.iter().find(|(name, _)| *name == text);
        known.map(|(_, value)| *value).ok_or_else(|| {
            let allowed: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
            refusal(key, text, allowed.join(", "))
        })
    }

    fn batches(&self) -> Result<Vec<usize>, ConfigError> {
        let text = self.text("batch").unwrap_or("1,2,4,8,16");
        let sizes: Option<Vec<usize>> = text.split(',').map(|size| size.trim().parse().ok()).collect();
        let is_good = |sizes: &Vec<usize>| {
            sizes.len() <= BATCHES_MAX
                && sizes.iter().all(|size| (1..=SEQUENCES_MAX).contains(size))
                && sizes.is_sorted_by(|a, b| a < b)
        };
        sizes.filter(is_good).ok_or_else(|| {
            let allowed = format!("1 to {BATCHES_MAX} rising numbers from 1 to {SEQUENCES_MAX}, such as 1,2,4");
            refusal("batch", text, allowed)
        })
    }
}

fn refusal(key: &'static str, found: &str, allowed: String) -> ConfigError {
    ConfigError::Value {
        key,
        found: found.to_owned(),
        allowed,
        from: Source::Flag(format!("--{}", key.replace('_', "-"))),
    }
}

/// Only what tells where model stores are is asked of it.
fn environment() -> Vec<(OsString, OsString)> {
    std::env::vars_os().collect()
}

/// The folder that a file is in; the present one where its name says none.
fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str) -> Result<Arguments, String> {
        let line: Vec<&str> = ["bench"].into_iter().chain(line.split_whitespace()).collect();
        let matches = command()
            .try_get_matches_from(line)
            .map_err(|error| error.to_string())?;
        Arguments::check(&words(&matches)).map_err(|failure| {
            assert_eq!(failure.code(), 2, "{failure}");
            failure.to_string()
        })
    }

    #[test]
    fn nothing_said_means_the_tiny_model_and_the_usual_sizes() {
        let found = check("").unwrap();
        assert_eq!(
            found,
            check("tiny --decode-tokens 64 --batch 1,2,4,8,16 --rounds 3").unwrap()
        );
        assert_eq!(found.model, ModelChoice::Tiny);
        assert_eq!(
            (found.prompt_tokens, found.history_tokens, found.json),
            (None, None, false)
        );
        assert!(found.threads >= 1);
    }

    #[test]
    fn what_is_said_is_taken() {
        let found = check("a.gguf --json --plot b.svg --prompt-tokens 1_024 --batch 3 --threads 1").unwrap();
        assert_eq!(found.model, ModelChoice::File(PathBuf::from("a.gguf")));
        assert_eq!(found.plot, Some(PathBuf::from("b.svg")));
        assert_eq!(
            (found.prompt_tokens, found.batches, found.threads),
            (Some(1024), vec![3], 1)
        );
    }

    #[test]
    fn each_number_has_limits_and_its_refusal_names_flag_and_range() {
        for (flag, least, most) in [
            ("prompt-tokens", 1, 65_536),
            ("decode-tokens", 1, 65_536),
            ("history-tokens", 16, 65_536),
            ("rounds", 1, 1000),
            ("threads", 1, 1024),
        ] {
            for good in [least, most] {
                check(&format!("--{flag} {good}")).unwrap();
            }
            for bad in [
                (least - 1).to_string(),
                (most + 1).to_string(),
                "-1".into(),
                "x".into(),
                "1.5".into(),
            ] {
                let said = check(&format!("--{flag} {bad}")).unwrap_err();
                let range = format!("from {least} to {most}");
                for word in [&*format!("--{flag}"), &*bad, &*range] {
                    assert!(said.contains(word), "{word} is not in: {said}");
                }
            }
        }
    }

    #[test]
    fn a_name_is_one_of_those_that_its_refusal_lists() {
        let found = check("--kv q8_0 --simd avx2").unwrap();
        assert_eq!((found.kv, found.simd), (KvFormat::Q8_0, Simd::Avx2));
        for (flag, names) in [("kv", "f16, q8_0"), ("simd", "scalar, avx2, avx512")] {
            let said = check(&format!("--{flag} fast")).unwrap_err();
            assert!(said.contains("\"fast\"") && said.contains(names), "{said}");
        }
    }

    #[test]
    fn batches_rise_and_are_neither_none_nor_too_many_nor_too_large() {
        for good in ["1", "256", "1,2,3", "1, 2"] {
            let words = Words {
                values: vec![("batch", good.to_owned())],
                ..Words::default()
            };
            assert!(Arguments::check(&words).is_ok(), "{good}");
        }
        let many: Vec<String> = (1..=17).map(|size: usize| size.to_string()).collect();
        for bad in ["0", "257", "2,1", "1,1", "1,", ",", "a", &many.join(",")] {
            let said = check(&format!("--batch {bad}")).unwrap_err();
            assert!(said.contains("--batch") && said.contains("such as 1,2,4"), "{said}");
        }
    }

    #[test]
    fn a_plot_without_a_folder_is_refused_before_anything_is_measured() {
        let said = check("--plot /no/such/folder/plot.svg").unwrap_err();
        assert!(said.contains("/no/such/folder") && said.contains("--plot"), "{said}");
    }
}
