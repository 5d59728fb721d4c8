//! Runs a model file's own Jinja template, which is a stranger's program, inside limits.

use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind, context};

use crate::ChatError;
use crate::prompt::{Message, Thinking};

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
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_recursion_limit(RECURSION_MAX);
        environment.add_function(
            "raise_exception",
            |message: String| -> Result<Value, Error> {
                Err(Error::new(
                    ErrorKind::InvalidOperation,
                    format!("{REFUSAL}{message}"),
                ))
            },
        );
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(bad)?;
        Ok(Jinja {
            environment,
            bos,
            eos,
        })
    }

    /// Renders messages whose contents are shielded.
    pub(crate) fn render(
        &self,
        messages: &[Message],
        thinking: Thinking,
    ) -> Result<String, ChatError> {
        let content_bytes: usize = messages.iter().map(|message| message.content.len()).sum();
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(
            FUEL_BASE
                + FUEL_PER_MESSAGE * messages.len() as u64
                + content_bytes as u64 / CONTENT_BYTES_PER_FUEL,
        ));
        let turn = |message: &Message| context! { role => message.role.name(), content => message.content.as_str() };
        let turns: Vec<Value> = messages.iter().map(turn).collect();
        let variables = context! {
            messages => turns,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
            add_generation_prompt => true,
            enable_thinking => thinking == Thinking::Forced,
        };
        let mut output = Capped {
            bytes: Vec::new(),
            bytes_max: OUTPUT_BYTES_BASE + 2 * content_bytes,
        };
        let template = environment
            .get_template(NAME)
            .map_err(|error| failed(&error))?;
        template
            .render_captured_to(variables, &mut output)
            .map_err(|error| failed(&error))?;
        String::from_utf8(output.bytes)
            .map_err(|error| ChatError::TemplateFailed(error.to_string()))
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
