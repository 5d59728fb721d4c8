//! Which source of a setting wins, and every refusal of a bad one.

use std::ffi::OsString;
use std::io::Write as _;
use std::time::Duration;

use super::*;

/// Resolves flags, variables and a file's text.
fn resolve(
    flags: &[(&'static str, &str)],
    variables: &[(&str, &str)],
    file: Option<&str>,
) -> Result<Config, ConfigError> {
    let written = file.map(|text| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    });
    let said = Said {
        flags: flags.iter().map(|(key, text)| (*key, (*text).to_owned())).collect(),
        environment: variables
            .iter()
            .map(|(name, text)| (OsString::from(name), OsString::from(text)))
            .collect(),
        file: written.as_ref().map(|file| file.path().to_path_buf()),
    };
    Config::resolve(&said)
}

/// The value is refused by one line that has all `parts`.
fn check_refused(found: Result<Config, ConfigError>, parts: &[&str]) {
    let line = found.expect_err("should be refused").to_string();
    for part in parts {
        assert!(line.contains(part), "{line:?} lacks {part:?}");
    }
    assert!(!line.contains('\n'), "more than one line: {line:?}");
}

fn check_flag(key: &'static str, text: &str, allowed: &str) {
    let flag = format!("--{}", key.replace('_', "-"));
    check_refused(
        resolve(&[(key, text)], &[], None),
        &[key, &format!("{text:?}"), allowed, &flag],
    );
}

fn flag(key: &'static str, text: &str) -> Config {
    resolve(&[(key, text)], &[], None).unwrap()
}

#[test]
fn nothing_said_gives_the_documented_defaults() {
    let config = resolve(&[], &[], None).unwrap();
    assert_eq!(config.model, ModelChoice::Tiny);
    assert_eq!(config.devices, [DeviceSpec::CPU; 2]);
    assert_eq!(config.placement, None);
    assert_eq!(config.weights, [1, 1]);
    assert_eq!(config.listen.to_string(), "127.0.0.1:11434");
    assert_eq!(config.drain, Duration::from_secs(30));
    assert_eq!((config.context, config.kv_tokens), (None, None));
    assert_eq!(config.kv, KvFormat::F16);
    assert_eq!(config.sampling, SamplingDefaults::default());
    assert_eq!(config.limits.body_bytes_max, 2 << 20);
}

#[test]
fn a_flag_wins_over_a_variable_a_variable_over_the_file_and_the_file_over_the_default() {
    let file = Some("slots = 2\nqueue = 2\nchoices = 2\n");
    let variables = &[("TANDEM_SLOTS", "3"), ("TANDEM_QUEUE", "3")];
    let config = resolve(&[("slots", "4")], variables, file).unwrap();
    assert_eq!(
        (
            config.slots,
            config.queue,
            config.limits.choices_max,
            config.step_tokens
        ),
        (4, 3, 2, 128)
    );
    assert_eq!(config.source("slots"), Source::Flag("--slots".to_owned()));
    assert_eq!(config.source("queue"), Source::Variable("TANDEM_QUEUE".to_owned()));
    assert!(matches!(config.source("choices"), Source::File(_)));
    assert_eq!(config.source("step_tokens"), Source::Default);
}

#[test]
fn every_setting_can_be_given_in_all_three_ways() {
    for setting in SETTINGS {
        let text = match setting.key {
            "weights" => "1,1",
            "context" => "64",
            "hosts" => "gpu.example",
            "kv_tokens" => "512",
            "store" => "/models",
            "aliases" => "gpt-4=default",
            _ => setting.default,
        };
        let file = format!("{} = {text:?}\n", setting.key);
        for (way, config) in [
            ("flag", resolve(&[(setting.key, text)], &[], None)),
            ("variable", resolve(&[], &[(&setting.variable(), text)], None)),
            ("file", resolve(&[], &[], Some(&file))),
        ] {
            let config = config.unwrap_or_else(|error| panic!("{} by {way}: {error}", setting.key));
            assert_ne!(config.source(setting.key), Source::Default, "{} by {way}", setting.key);
        }
    }
}

#[test]
fn a_file_may_write_numbers_lists_and_truths_as_toml_does() {
    let file =
        "devices = [\"cpu\", \"cpu\"]\nweights = [3, 1]\ninsecure = true\nlisten = \"0.0.0.0:80\"\ntop_p = 0.5\n";
    let config = resolve(&[], &[], Some(file)).unwrap();
    assert_eq!(config.weights, [3, 1]);
    assert_eq!(config.listen.port(), 80);
    assert_eq!(config.sampling.top_p, 0.5);
}

#[test]
fn an_empty_variable_is_an_unset_one() {
    assert_eq!(resolve(&[], &[("TANDEM_SLOTS", " ")], None).unwrap().slots, 8);
}

#[test]
fn variables_that_no_setting_has_are_found() {
    let names = ["TANDEM_SLOT", "TANDEM_SLOTS", "TANDEM_CONFIG", "PATH"];
    let said = Said {
        environment: names
            .iter()
            .map(|name| (OsString::from(name), OsString::new()))
            .collect(),
        ..Said::default()
    };
    assert_eq!(said.unknown_variables(), ["TANDEM_SLOT"]);
}

#[test]
fn numbers_are_allowed_at_their_limits_and_refused_one_past_them() {
    assert_eq!(flag("slots", "1").slots, 1);
    assert_eq!(flag("slots", "1024").slots, 1024);
    check_flag("slots", "0", "from 1 to 1024");
    check_flag("slots", "1025", "from 1 to 1024");
    assert_eq!(flag("queue", "0").queue, 0);
    check_flag("queue", "-1", "from 0");
    check_flag("queue", "many", "a whole number");
    check_flag("step_tokens", "1.5", "a whole number");
    check_flag("drain_seconds", "86401", "to 86400");
    check_flag("uri_bytes", "65535", "to 65534");
    assert_eq!(flag("kv_tokens", "65_536").kv_tokens, Some(65_536));
}

#[test]
fn fractions_are_allowed_at_their_limits_and_refused_past_them() {
    assert_eq!(flag("temperature", "2").sampling.temperature, 2.0);
    check_flag("temperature", "2.001", "from 0 to 2");
    check_flag("temperature", "-0.1", "from 0 to 2");
    check_flag("temperature", "NaN", "from 0 to 2");
    check_flag("top_p", "0", "to 1");
    assert_eq!(flag("top_p", "1").sampling.top_p, 1.0);
}

#[test]
fn devices_are_named_and_weights_are_one_for_each() {
    assert_eq!(flag("devices", "cpu").weights, [1]);
    assert_eq!(flag("devices", " cpu , cpu,cpu ").devices.len(), 3);
    assert_eq!(flag("devices", "cuda:0,cuda:1").devices[1].to_string(), "cuda:1");
    assert_eq!(flag("devices", "cpu@8G,cpu").devices[0].memory_max, Some(8 << 30));
    assert_eq!(flag("devices", &["cpu"; 64].join(",")).devices.len(), 64);
    for wrong in ["", "cpu,", "t4", "cpu@8", "cuda:x", "cpu cpu", &["cpu"; 65].join(",")] {
        check_flag("devices", wrong, "`cpu` or `cuda:0` and so on, once per engine");
    }
    assert_eq!(flag("weights", "3,1").weights, [3, 1]);
    check_flag("weights", "3,0", "from 1 to 1000");
    check_flag("weights", "a,b", "from 1 to 1000");
    check_refused(
        resolve(&[("weights", "1,2,3")], &[], None),
        &["3 entries", "--weights", "2 engines"],
    );
}

#[test]
fn an_address_others_can_reach_needs_the_word_insecure() {
    for address in ["0.0.0.0:11434", "192.0.2.7:80", "[::]:11434"] {
        check_refused(
            resolve(&[("listen", address)], &[], None),
            &[address, "--listen", "--insecure", "no keys"],
        );
        let config = resolve(&[("listen", address), ("insecure", "true")], &[], None).unwrap();
        assert_eq!(config.listen.to_string(), address);
    }
    for address in [
        "127.0.0.1:0",
        "127.8.8.8:1",
        "[::1]:11434",
        "[::ffff:127.0.0.1]:1",
        "localhost:9",
        "http://localhost:9",
    ] {
        resolve(&[("listen", address)], &[], None).unwrap();
    }
    check_flag("listen", "11434", "such as 127.0.0.1:11434");
    check_flag("listen", "127.0.0.1:65536", "such as 127.0.0.1:11434");
}

#[test]
fn words_outside_a_closed_set_are_refused() {
    assert_eq!(flag("log_format", "json").log_format, LogFormat::Json);
    check_flag("log_format", "xml", "text or json");
    assert_eq!(flag("kv", "q8_0").kv, KvFormat::Q8_0);
    check_flag("kv", "q4_0", "f16 or q8_0");
    assert_eq!(flag("simd", "avx2").simd, Simd::Avx2);
    check_flag("simd", "sse", "scalar, avx2, avx512");
    assert_eq!(flag("placement", "tensor").placement, Some(Placement::Tensor));
    assert_eq!(flag("placement", "auto").placement, None);
    check_flag("placement", "Tensor", "auto, replicas, pipeline, tensor, offload");
    check_flag("insecure", "maybe", "true or false");
    assert_eq!(flag("origins", "*").origins, Origins::Any);
    check_flag("origins", "https://chat.example/", "without a slash");
    assert_eq!(flag("hosts", "GPU.example, *.lan").hosts, ["gpu.example", "*.lan"]);
    check_flag("hosts", "gpu.example:80", "without a port");
    flag("log", "warn,tandem=debug");
    check_flag("log", "tandem=loud", "debug");
    check_flag("log", "json", "log_format");
}

#[test]
fn a_wrong_variable_is_refused_by_its_name() {
    check_refused(
        resolve(&[], &[("TANDEM_SLOTS", "x")], None),
        &["slots", "\"x\"", "TANDEM_SLOTS"],
    );
}

#[test]
fn a_files_unknown_key_is_refused_with_its_neighbours() {
    check_refused(
        resolve(&[], &[], Some("slot = 3\n")),
        &["no setting is called \"slot\"", "did you mean slots"],
    );
    check_refused(resolve(&[], &[], Some("xyzzy = 3\n")), &["\"xyzzy\"", "--help"]);
}

#[test]
fn a_files_faults_are_refused_with_their_place() {
    check_refused(resolve(&[], &[], Some("slots = 3\nqueue = = 4\n")), &["line 2"]);
    check_refused(resolve(&[], &[], Some("[slots]\nx = 1\n")), &["slots is table"]);
    check_refused(resolve(&[], &[], Some("slots = 0\n")), &["slots is \"0\"", "/"]);
    let said = Said {
        file: Some("/nowhere/tandem.toml".into()),
        ..Said::default()
    };
    check_refused(Config::resolve(&said), &["/nowhere/tandem.toml", "cannot read"]);
}

#[test]
fn the_printed_configuration_is_a_file_that_says_the_same() {
    let flags = &[
        ("slots", "3"),
        ("weights", "3,1"),
        ("temperature", "0.25"),
        ("log", "warn,tandem=debug"),
    ];
    let config = resolve(flags, &[], None).unwrap();
    let again = resolve(&[], &[], Some(&config.as_toml())).unwrap();
    assert_eq!(again.slots, 3);
    assert_eq!(again.weights, [3, 1]);
    assert_eq!(again.sampling, config.sampling);
    assert_eq!(again.limits, config.limits);
    assert_eq!(again.http, config.http);
    assert_eq!(again.log_filter, config.log_filter);
    assert_eq!((again.context, again.listen), (None, config.listen));
}
