//! Runs a model file's own Jinja template, which is a stranger's program, inside limits.
//!
//! Fuel pays for instructions, loop items, strings and output, and bounds the memory of all of them. It does not see
//! lists that are repeated or added (`[0] * n`, `a + a`: the engine builds them lazily, for free) until something walks
//! them, so a template may not print a list or a map, and what it turns into JSON is bounded for itself. Messages hold text,
//! and calls of tools with what was given for them. Left open:
//! a template that doubles a list many times and walks it in a filter or with `~` runs without end. It takes a model
//! file made to do harm, and shows at start, when the first render is tried; the built-in template knows no lists.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, context, escape_formatter};

use crate::ChatError;
use crate::prompt::{Message, Thinking};
use crate::tojson::to_json;
use crate::tools::ToolCall;

/// The longest template source; published ones are below 20 kB.
const SOURCE_BYTES_MAX: usize = 128 * 1024;
/// Work allowed to any render, in instructions or units of 64 bytes: also bounds its memory, to 64 times as many bytes.
const FUEL_BASE: u64 = 12_000;
/// Work allowed for each message besides.
const FUEL_PER_MESSAGE: u64 = 2_000;
/// One more for so many bytes of content: each byte may be handled 32 times.
const CONTENT_BYTES_PER_FUEL: u64 = 2;
/// Calls within calls; macros of published templates need fewer than ten.
const RECURSION_MAX: usize = 64;
/// Output allowed besides twice the content.
const OUTPUT_BYTES_BASE: usize = 256 * 1024;
/// JSON allowed besides four times what messages and tools hold.
const JSON_BYTES_BASE: usize = 4 * 1024;
/// Template errors may quote the template or the messages; so much of them is shown.
const MESSAGE_CHARS_MAX: usize = 300;

const NAME: &str = "chat";
/// Marks an error as the template's own refusal.
const REFUSAL: &str = "the template refuses: ";

/// A parsed template and the texts it may use.
#[derive(Debug)]
pub(crate) struct Jinja {
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

impl Jinja {
    /// Parses `source`; `bos` and `eos` are the texts of those tokens.
    pub(crate) fn new(source: &str, bos: String, eos: String) -> Result<Jinja, ChatError> {
        if source.len() > SOURCE_BYTES_MAX {
            let bytes = source.len();
            return Err(ChatError::BadTemplate(format!(
                "it has {bytes} bytes, at most {SOURCE_BYTES_MAX} are read"
            )));
        }
        let bad = |error: Error| ChatError::BadTemplate(shortened(&error.to_string()));
        let mut environment = Environment::new();
        // As Hugging Face renders chat templates.
        environment.set_syntax(
            SyntaxConfig::builder()
                .trim_blocks(true)
                .lstrip_blocks(true)
                .build()
                .map_err(bad)?,
        );
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_recursion_limit(RECURSION_MAX);
        environment.set_formatter(|out, state, value| {
            text_only(value)?;
            escape_formatter(out, state, value)
        });
        environment.add_filter("string", |value: Value| text_only(&value).map(|()| value.to_string()));
        // `tojson` is added for each render, with what that may write.
        for walks_lists in ["tojson", "pprint"] {
            environment.remove_filter(walks_lists);
        }
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, format!("{REFUSAL}{message}")))
        });
        environment.add_template_owned(NAME, source.to_owned()).map_err(bad)?;
        Ok(Jinja { environment, bos, eos })
    }

    /// Renders messages and tools whose texts are shielded. Without tools the template is not told of any.
    pub(crate) fn render(
        &self,
        messages: &[Message],
        tools: &[serde_json::Value],
        thinking: Thinking,
    ) -> Result<String, ChatError> {
        let turns: Vec<Value> = messages.iter().map(turn).collect();
        let calls = messages.iter().flat_map(|message| &message.tool_calls);
        let json_bytes: usize = tools.iter().map(|tool| tool.to_string().len()).sum::<usize>()
            + calls
                .map(|call| call.name.len() + call.arguments.to_string().len())
                .sum::<usize>();
        let content_bytes = messages.iter().map(|message| message.content.len()).sum::<usize>() + json_bytes;
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(
            FUEL_BASE
                + FUEL_PER_MESSAGE * (messages.len() + tools.len()) as u64
                + content_bytes as u64 / CONTENT_BYTES_PER_FUEL,
        ));
        let bytes_left = Arc::new(AtomicUsize::new(JSON_BYTES_BASE + 4 * json_bytes));
        environment.add_filter("tojson", move |value: Value, options: Kwargs| {
            to_json(&value, &options, &bytes_left).map(Value::from_safe_string)
        });
        let variables = context! {
            messages => turns,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
            add_generation_prompt => true,
            enable_thinking => thinking == Thinking::Forced,
        };
        let variables = if tools.is_empty() {
            variables
        } else {
            context! { tools => Value::from(Serde(tools)), ..variables }
        };
        let mut output = Capped {
            bytes: Vec::new(),
            bytes_max: OUTPUT_BYTES_BASE + 2 * content_bytes,
        };
        let template = environment.get_template(NAME).map_err(|error| failed(&error))?;
        template
            .render_captured_to(variables, &mut output)
            .map_err(|error| failed(&error))?;
        String::from_utf8(output.bytes).map_err(|error| ChatError::TemplateFailed(error.to_string()))
    }
}

/// A message as templates know it.
fn turn(message: &Message) -> Value {
    let plain = context! { role => message.role.name(), content => message.content.as_str() };
    if message.tool_calls.is_empty() {
        return plain;
    }
    let call = |call: &ToolCall| {
        let arguments = Value::from(Serde(&call.arguments));
        context! { type => "function", function => context! { name => call.name.as_str(), arguments => arguments } }
    };
    let calls: Vec<Value> = message.tool_calls.iter().map(call).collect();
    context! { tool_calls => calls, ..plain }
}

fn text_only(value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable | ValueKind::Plain => {
            let message = "a list or a map cannot be printed, only text can";
            Err(Error::new(ErrorKind::InvalidOperation, message))
        }
        _ => Ok(()),
    }
}

fn failed(error: &Error) -> ChatError {
    let detail = error.detail().unwrap_or_default();
    match detail.strip_prefix(REFUSAL) {
        Some(reason) => ChatError::TemplateRefused(shortened(reason)),
        None if error.kind() == ErrorKind::OutOfFuel => {
            ChatError::TemplateFailed("it does more work than these messages need".into())
        }
        None => ChatError::TemplateFailed(shortened(&error.to_string())),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Takes output up to a limit.
struct Capped {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl io::Write for Capped {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + buffer.len() > self.bytes_max {
            return Err(io::Error::other(format!(
                "it writes more than {} bytes",
                self.bytes_max
            )));
        }
        self.bytes.extend_from_slice(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;
    use serde_json::json;

    fn render(source: &str, content: &str) -> Result<String, ChatError> {
        let jinja = Jinja::new(source, "<b>".into(), "<e>".into())?;
        jinja.render(&[Message::new(Role::User, content)], &[], Thinking::Forced)
    }

    /// T-23: programs that would run for hours or take all memory.
    #[test]
    fn hostile_templates_end_in_an_error() {
        let deep = "(".repeat(10_000);
        let long = "x".repeat(SOURCE_BYTES_MAX + 1);
        for source in [
            "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
            "{% for a in range(99999) %}{% endfor %}",
            "{{ 'x' * 10**9 }}",
            "{{ [0] * 10**8 }}",
            "{% set n = 10**8 %}{{ [0] * n }}",
            "{% set n = 10**8 %}{{ ([0] * n)|string }}",
            "{% for i in [0] * 10**8 %}{% endfor %}",
            "{% set ns = namespace(s=messages) %}{% for i in range(30) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}",
            "{% set ns = namespace(s=messages) %}{% for i in range(30) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
            "{% set ns = namespace(s=messages) %}{% for i in range(25) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s|tojson|length }}",
            "{{ 'x' * 99999999 }}",
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
            "{% macro m(n) %}{{ m(n + 1) ~ m(n + 1) }}{% endmacro %}{{ m(0) }}",
            "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
            "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
            "{% set a %}{% for i in range(99999) %}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{% endfor %}{% endset %}",
            "{{ 'a'.replace('', 'b' * 100000).replace('', 'b' * 100000) }}",
            "{{ 'x\\ny'|indent(1000000000) }}",
            "{{ '%999999999s'|format('x') }}",
            "{{ range(99999)|list|tojson }}",
            "{{ range(99999)|join('x' * 9999) }}",
            "{% set a = 'x' * 9999 %}{% for i in range(9999) %}{{ a }}{% endfor %}",
            "{{ no_such_function() }}",
            "{{ messages[0].content.no_such_method() }}",
            "{% include 'other' %}",
            "{% if %}",
            deep.as_str(),
            long.as_str(),
        ] {
            let source = if source == deep {
                format!("{{{{ {source}")
            } else {
                source.to_owned()
            };
            let found = render(&source, "hello");
            assert!(found.is_err(), "{:.60} gave {} bytes", source, found.unwrap().len());
            let message = found.unwrap_err().to_string();
            assert!(message.chars().count() <= MESSAGE_CHARS_MAX + 60, "{message}");
        }
    }

    #[test]
    fn output_is_allowed_up_to_its_limit_and_not_one_byte_more() {
        let write = |bytes: usize| {
            render("{{ messages[0].content }}{{ messages[0].content }}", &"x".repeat(bytes)).map(|text| text.len())
        };
        assert_eq!(write(1_000_000), Ok(2_000_000));
        let mut output = Capped {
            bytes: Vec::new(),
            bytes_max: 3,
        };
        assert!(io::Write::write_all(&mut output, b"abc").is_ok());
        assert!(io::Write::write_all(&mut output, b"d").is_err());
    }

    #[test]
    fn a_long_conversation_is_within_the_limits() {
        let source = "{% for m in messages %}{% if m.role == 'user' and m.content is string %}{% set c = m.content|trim %}\
                      {% if '</a>' in c %}{% set c = c.split('</a>')[-1].lstrip('\\n') %}{% endif %}\
                      {{ '<|' + m.role + '|>' + c + eos_token }}{% endif %}{% endfor %}";
        let jinja = Jinja::new(source, String::new(), "<e>".into()).unwrap();
        let message = Message::new(Role::User, "some words ".repeat(200));
        assert!(jinja.render(&vec![message; 1024], &[], Thinking::Forced).is_ok());
    }

    #[test]
    fn python_methods_and_the_usual_variables_are_there() {
        let source = "{{ bos_token }}{{ messages[0]['content'].strip().upper() }}{{ messages[0].role }}\
                      {% if add_generation_prompt and enable_thinking %}{% if tools is not defined %}\
                      {% if strftime_now is not defined %}\
                      {{ eos_token }}{% endif %}{% endif %}{% endif %}";
        assert_eq!(render(source, " a ").unwrap(), "<b>Auser<e>");
    }

    #[test]
    fn json_is_written_as_python_does() {
        let source = "{{ tools[0] | tojson }}{{ tools[0].a | tojson(indent=2) }}{{ messages[0] | tojson }}";
        let jinja = Jinja::new(source, String::new(), String::new()).unwrap();
        let tools = [json!({ "z": [1, 2.5, null, true, "é<\"\n"], "a": { "k": [], "b": [{}] } })];
        let found = jinja
            .render(&[Message::new(Role::User, "x")], &tools, Thinking::Forced)
            .unwrap();
        let expected = "{\"z\": [1, 2.5, null, true, \"é<\\\"\\n\"], \"a\": {\"k\": [], \"b\": [{}]}}\
                        {\n  \"k\": [],\n  \"b\": [\n    {}\n  ]\n}{\"role\": \"user\", \"content\": \"x\"}";
        assert_eq!(found, expected);
    }

    #[test]
    fn calls_of_earlier_turns_reach_the_template() {
        let source = "{% for m in messages %}{{ m.role }}:{{ m.content }}{% for c in m.tool_calls %}\
                      [{{ c.function.name }} {{ c.function.arguments | tojson }}]{% endfor %};{% endfor %}";
        let jinja = Jinja::new(source, String::new(), String::new()).unwrap();
        let mut called = Message::new(Role::Assistant, "");
        called.tool_calls.push(ToolCall {
            name: "f".into(),
            arguments: json!({ "a": 1 }),
        });
        let messages = [Message::new(Role::User, "u"), called, Message::new(Role::Tool, "2")];
        let found = jinja.render(&messages, &[], Thinking::Forced).unwrap();
        assert_eq!(found, "user:u;assistant:[f {\"a\": 1}];tool:2;");
    }
}
