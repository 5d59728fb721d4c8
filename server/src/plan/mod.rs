//! `tandem plan`: how a model lies on devices and how fast it would be, by arithmetic, without loading it.

mod decide;
mod lines;
mod machine;
mod report;
mod table;

use std::process::ExitCode;

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command};
use models::{Card, Costs, DeviceFacts, DeviceSpec};

pub(crate) use decide::{Decision, decide};
pub(crate) use lines::placement_lines;
pub(crate) use machine::Machine;

use crate::cli::Task;
use crate::config::{Config, ConfigError, Said, Source, split};
use crate::failure::Failure;
use crate::paint::Paint;
use crate::start;
use report::Report;

/// The settings that a plan depends on.
const KEYS: [&str; 8] = [
    "model",
    "store",
    "devices",
    "placement",
    "context",
    "slots",
    "kv_tokens",
    "kv",
];

/// Devices at most, as the setting allows.
const DEVICES_MAX: usize = 64;

/// The subcommand, with those of the server's `settings` that it takes.
pub(crate) fn command(settings: impl Iterator<Item = Arg>) -> Command {
    let taken = settings.filter(|setting| KEYS.contains(&setting.get_id().as_str()));
    let taken = taken.map(|setting| match setting.get_id().as_str() {
        "devices" => {
            setting.help("Cards by name, such as t4,t4 or t4@12G, or what this machine has [default: cpu,cpu]")
        }
        _ => setting,
    });
    let names: Vec<&str> = models::CARDS.iter().map(|card| card.name).collect();
    Command::new("plan")
        .about("Tell how a model would lie on devices and how fast it would be, without loading it")
        .after_help(format!("Known cards: {}.", names.join(", ")))
        .args(taken)
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print one JSON object instead of the page"),
        )
}

/// What the parser found.
pub(crate) fn task(given: &ArgMatches) -> Task {
    Task::Plan {
        json: given.get_flag("json"),
    }
}

/// Plans and prints.
///
/// # Errors
/// A wrong setting, a model that cannot be used, devices that cannot hold it.
pub(crate) fn run(said: Said, json: bool) -> Result<ExitCode, Failure> {
    let (config, names) = settings(said)?;
    let gguf = start::open_file(&config.model)?;
    let model = models::Config::from_gguf(&gguf).map_err(|error| Failure::Model(error.to_string()))?;
    let costs = Costs::of(&gguf, &model);
    let (devices, host) = devices(&names)?;
    let decision = decide(&config, &costs, &devices, &host)?;
    let facts = report::Model {
        name: start::id(&config.model, &gguf),
        architecture: model.architecture.name(),
        quantisation: gguf.quantisation().to_owned(),
        parameters: gguf.tensors().iter().map(library::TensorInfo::elements).sum(),
        file_bytes: gguf.file_bytes(),
        layers: model.layers,
    };
    let report = Report::new(facts, &config, &costs, &devices, &host, &decision)?;
    let page = if json {
        report.json().context("the plan is not JSON")?
    } else {
        table::page(&report, Paint::on(&std::io::stdout()))
    };
    crate::print(&page)
}

/// A device's name, understood.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Named {
    /// Of this machine.
    Here(DeviceSpec),
    /// A card of some machine, and its limit.
    Card(&'static Card, Option<u64>),
}

/// The configuration, and the devices that stand in it only as so many: the server knows no card by its name.
fn settings(mut said: Said) -> Result<(Config, Vec<Named>), ConfigError> {
    let choices = said.choose()?;
    let (text, from) = match choices.get("devices") {
        Some(chosen) => (chosen.text.clone(), chosen.from.clone()),
        None => (String::new(), Source::Default),
    };
    let names: Option<Vec<Named>> = split(&text).iter().map(|name| named(name)).collect();
    let Some(names) = names.filter(|names| (1..=DEVICES_MAX).contains(&names.len())) else {
        let cards: Vec<&str> = models::CARDS.iter().map(|card| card.name).collect();
        return Err(ConfigError::Value {
            key: "devices",
            found: text,
            allowed: format!(
                "1 to {DEVICES_MAX} cards ({}) or devices of this machine (`cpu`, `cuda:0`), each with a limit such as \
                 t4@12G if it shall use less than its memory",
                cards.join(", ")
            ),
            from,
        });
    };
    said.flags.retain(|(key, _)| *key != "devices" && *key != "weights");
    said.flags.push(("devices", vec!["cpu"; names.len()].join(",")));
    // How requests are dealt says nothing about memory, and its list may be for other devices.
    said.flags.push(("weights", vec!["1"; names.len()].join(",")));
    Ok((Config::resolve(&said)?, names))
}

fn named(name: &str) -> Option<Named> {
    if let Ok(spec) = name.parse::<DeviceSpec>() {
        return Some(Named::Here(spec));
    }
    let (card, limit) = match name.split_once('@') {
        // The size is read as every device's is.
        Some((card, size)) => (card, format!("cpu@{size}").parse::<DeviceSpec>().ok()?.memory_max),
        None => (name, None),
    };
    Some(Named::Card(Card::named(card)?, limit))
}

/// The devices' facts, and those of the processor that takes what does not fit: this machine's, unless all are cards that
/// are planned for another one.
fn devices(names: &[Named]) -> Result<(Vec<DeviceFacts>, DeviceFacts), ConfigError> {
    let here = names.iter().filter_map(|name| match name {
        Named::Here(spec) => Some(*spec),
        Named::Card(..) => None,
    });
    let machine = Machine::look(&here.collect::<Vec<_>>());
    let mut devices = Vec::new();
    for (index, name) in names.iter().enumerate() {
        devices.push(match name {
            Named::Here(spec) => machine.facts(*spec)?,
            Named::Card(card, limit) => card.facts(index, *limit),
        });
    }
    if names.iter().all(|name| matches!(name, Named::Card(..))) {
        return Ok((devices, DeviceFacts::some_host()));
    }
    devices.push(machine.host());
    let mut devices = machine::measured(devices);
    let host = devices.pop().unwrap_or_else(DeviceFacts::some_host);
    Ok((devices, host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(devices: &str) -> Result<(Config, Vec<Named>), ConfigError> {
        settings(Said {
            flags: vec![("devices", devices.to_owned()), ("weights", "3,1".to_owned())],
            ..Said::default()
        })
    }

    #[test]
    fn cards_and_devices_of_this_machine_are_told_apart() {
        let t4 = Card::named("t4").unwrap();
        let (config, names) = found("t4, T4@8G, cpu, cpu@1G").unwrap();
        let expected = [
            Named::Card(t4, None),
            Named::Card(t4, Some(8 << 30)),
            Named::Here(DeviceSpec::CPU),
            Named::Here("cpu@1G".parse().unwrap()),
        ];
        assert_eq!(names, expected);
        assert_eq!(config.devices.len(), 4);
    }

    #[test]
    fn unknown_devices_are_refused_with_the_known_ones() {
        for wrong in ["", "t5", "t4,", "t4@8", "t4@", "cpu@t4", &["t4"; 65].join(",")] {
            let error = found(wrong).unwrap_err().to_string();
            for part in ["devices is", "rtx3090", "`cpu`", "--devices"] {
                assert!(error.contains(part), "{part} is not in: {error}");
            }
        }
    }

    #[test]
    fn cards_alone_are_planned_for_some_machine_and_not_for_this_one() {
        let (_, names) = found("t4,t4").unwrap();
        let (cards, host) = devices(&names).unwrap();
        assert_eq!(cards.len(), 2);
        assert_eq!(host, DeviceFacts::some_host());
        assert_ne!(cards[0].spec, cards[1].spec, "two cards");
    }
}
