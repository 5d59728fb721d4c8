//! What a line of a chat means: words for the model, or a command that begins with a slash.

use serde_json::{Value, json};

/// One line, understood.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Word {
    /// For the model.
    Say(String),
    Bye,
    Clear,
    Help,
    /// Another model, the same conversation forgotten.
    Load(String),
    Set(Setting),
    Show(Topic),
    /// What is wrong with it.
    Wrong(String),
}

/// What `/set` changes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Setting {
    System(String),
    Parameter(String, Value),
    /// Asked for or not; a word where the model knows several depths.
    Think(Value),
    Format(Option<Value>),
    Verbose(bool),
    Wrap(bool),
    History(bool),
}

/// What `/show` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    Info,
    License,
    Modelfile,
    Parameters,
    System,
    Template,
}

/// What `/?` prints.
pub(super) const HELP: &str = "\
  /set system TEXT          the text before the conversation
  /set parameter NAME VALUE temperature, top_p, top_k, min_p, seed, num_predict, num_ctx, stop, ...
  /set think, nothink       think before the answer, or do not
  /set format json          answers in JSON; /set noformat takes it back
  /set verbose, quiet       times and speeds after each answer, or none
  /set wordwrap, nowordwrap wrap lines at words, or do not
  /set history, nohistory   remember what is typed, or do not
  /show info                what the model is; also license, modelfile, parameters, system, template
  /load MODEL               go on with another model
  /clear                    forget what has been said
  /bye                      end, as Ctrl-D does

  \"\"\" begins and ends words of several lines. A line that begins with a space and a slash is for the model.
  Ctrl-C stops an answer. Arrow up brings back what was typed before.
";

/// The parameters that a number or truth value stands for.
const PARAMETERS: [&str; 24] = [
    "frequency_penalty",
    "low_vram",
    "main_gpu",
    "min_p",
    "mirostat",
    "mirostat_eta",
    "mirostat_tau",
    "num_batch",
    "num_ctx",
    "num_gpu",
    "num_keep",
    "num_predict",
    "num_thread",
    "penalize_newline",
    "presence_penalty",
    "repeat_last_n",
    "repeat_penalty",
    "seed",
    "temperature",
    "tfs_z",
    "top_k",
    "top_p",
    "typical_p",
    "use_mmap",
];

impl Word {
    /// Understands one line, of several joined ones if they stood between `\"\"\"`.
    pub(super) fn of(line: &str) -> Word {
        let Some(command) = line.strip_prefix('/') else {
            return Word::Say(line.trim().to_owned());
        };
        let (name, rest) = split(command);
        match (name, rest) {
            ("bye" | "exit", _) => Word::Bye,
            ("?" | "help", _) => Word::Help,
            ("clear", _) => Word::Clear,
            ("load", "") => wrong("/load MODEL"),
            ("load", model) => Word::Load(model.to_owned()),
            ("set", rest) => set(rest),
            ("show", topic) => show(topic),
            _ => {
                let shown = line.split_whitespace().next().unwrap_or_default();
                Word::Wrong(format!(
                    "there is no {shown}: /? lists the commands, a space in front sends the line"
                ))
            }
        }
    }
}

fn wrong(usage: &str) -> Word {
    Word::Wrong(format!("say {usage}"))
}

/// The first word, and what follows it.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim())
}

fn set(rest: &str) -> Word {
    let (name, value) = split(rest);
    Word::Set(match (name, value) {
        ("system", "") => return wrong("/set system TEXT"),
        ("system", text) => Setting::System(unquoted(text).to_owned()),
        ("parameter", rest) => return parameter(rest),
        ("think", "") => Setting::Think(json!(true)),
        ("think", depth) => Setting::Think(json!(depth)),
        ("nothink", _) => Setting::Think(json!(false)),
        ("format", "json") => Setting::Format(Some(json!("json"))),
        ("format", schema) => match serde_json::from_str::<Value>(schema) {
            Ok(schema @ Value::Object(_)) => Setting::Format(Some(schema)),
            _ => return wrong("/set format json, or a JSON schema"),
        },
        ("noformat", _) => Setting::Format(None),
        ("verbose", _) => Setting::Verbose(true),
        ("quiet", _) => Setting::Verbose(false),
        ("wordwrap", _) => Setting::Wrap(true),
        ("nowordwrap", _) => Setting::Wrap(false),
        ("history", _) => Setting::History(true),
        ("nohistory", _) => Setting::History(false),
        _ => {
            return wrong(
                "/set system, parameter, think, nothink, format, noformat, verbose, quiet, wordwrap, nowordwrap, history or nohistory",
            );
        }
    })
}

/// `temperature 0.6`, `stop "a" "b"`.
fn parameter(rest: &str) -> Word {
    let (name, value) = split(rest);
    if name.is_empty() || value.is_empty() {
        return wrong("/set parameter NAME VALUE");
    }
    if name == "stop" {
        let stops: Vec<&str> = if value.starts_with('"') {
            let inner = value.split('"').enumerate().filter(|(index, _)| index % 2 == 1);
            inner.map(|(_, text)| text).collect()
        } else {
            value.split_whitespace().collect()
        };
        return Word::Set(Setting::Parameter(name.to_owned(), json!(stops)));
    }
    if !PARAMETERS.contains(&name) {
        return Word::Wrong(format!(
            "{name} is no parameter: there are stop, {}",
            PARAMETERS.join(", ")
        ));
    }
    match serde_json::from_str::<Value>(value) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => Word::Set(Setting::Parameter(name.to_owned(), value)),
        _ => Word::Wrong(format!("{name} takes a number, or true or false: {value} is neither")),
    }
}

fn show(topic: &str) -> Word {
    Word::Show(match topic {
        "" | "info" => Topic::Info,
        "license" => Topic::License,
        "modelfile" => Topic::Modelfile,
        "parameters" => Topic::Parameters,
        "system" => Topic::System,
        "template" => Topic::Template,
        _ => return wrong("/show info, license, modelfile, parameters, system or template"),
    })
}

fn unquoted(text: &str) -> &str {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inner.unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Word) {
        assert_eq!(Word::of(line), expected, "{line}");
    }

    fn is_wrong(line: &str, words: &str) {
        assert!(
            matches!(Word::of(line), Word::Wrong(text) if text.contains(words)),
            "{line}: {:?}",
            Word::of(line)
        );
    }

    #[test]
    fn lines_are_for_the_model_unless_they_begin_with_a_slash() {
        check("hello", Word::Say("hello".to_owned()));
        check(" /etc/passwd is what?", Word::Say("/etc/passwd is what?".to_owned()));
        check("/bye", Word::Bye);
        check("/exit now", Word::Bye);
        check("/?", Word::Help);
        check("/clear", Word::Clear);
        check("/load qwen3:8b", Word::Load("qwen3:8b".to_owned()));
        is_wrong("/load", "MODEL");
        is_wrong("/nothing", "there is no /nothing");
    }

    #[test]
    fn what_is_set_is_of_the_kind_it_must_be() {
        let parameter = |name: &str, value| Word::Set(Setting::Parameter(name.to_owned(), value));
        check(
            "/set system be brief",
            Word::Set(Setting::System("be brief".to_owned())),
        );
        check(
            "/set system \"be brief\"",
            Word::Set(Setting::System("be brief".to_owned())),
        );
        check("/set parameter temperature 0.6", parameter("temperature", json!(0.6)));
        check("/set parameter num_ctx 4096", parameter("num_ctx", json!(4096)));
        check(
            "/set parameter stop \"a b\" \"c\"",
            parameter("stop", json!(["a b", "c"])),
        );
        check("/set parameter stop a b", parameter("stop", json!(["a", "b"])));
        check("/set think", Word::Set(Setting::Think(json!(true))));
        check("/set think high", Word::Set(Setting::Think(json!("high"))));
        check("/set nothink", Word::Set(Setting::Think(json!(false))));
        check("/set format json", Word::Set(Setting::Format(Some(json!("json")))));
        check("/set noformat", Word::Set(Setting::Format(None)));
        is_wrong("/set", "/set system");
        is_wrong("/set system", "TEXT");
        is_wrong("/set parameter heat 1", "temperature");
        is_wrong("/set parameter top_k many", "a number");
        is_wrong("/set format xml", "json");
    }

    #[test]
    fn every_topic_can_be_shown() {
        check("/show", Word::Show(Topic::Info));
        check("/show modelfile", Word::Show(Topic::Modelfile));
        is_wrong("/show weights", "template");
    }
}
