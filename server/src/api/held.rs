//! Holds answers to the form that a request asks for: a grammar of `chat` at work in `engine`.

use chat::{ChatError, Grammar, GrammarState, Permit};
use engine::{Allowed, Constraint, ConstraintError, Mask};

use super::Api;
use super::check::{Form, Options, Tools};
use super::error::ApiError;
use crate::roster::Lease;

impl Api {
    /// What the answers to a request are held to, if to anything. Compiled away from the threads that serve sockets.
    ///
    /// # Errors
    /// A schema that answers cannot be held to, and why.
    pub(crate) async fn grammar(&self, model: &Lease, options: &Options) -> Result<Option<Grammar>, ApiError> {
        let Tools { forced, .. } = options.tools.clone();
        let form = options.form.clone();
        if form == Form::Free && forced.is_empty() {
            return Ok(None);
        }
        let model = model.clone();
        let compile = move || {
            let tokenizer = &model.tokenizer;
            let (param, grammar) = match (form, model.template.tool_format()) {
                (Form::JsonObject { param }, _) => (param, Grammar::json_object(tokenizer)),
                (Form::JsonSchema { param, schema }, _) => (param, Grammar::json_schema(tokenizer, &schema)),
                (Form::Free, Some(format)) => ("tools", Grammar::tool_call(tokenizer, format, &forced)),
                (Form::Free, None) => return Err(ApiError::Internal),
            };
            grammar.map(Some).map_err(|error| match error {
                ChatError::BadSchema(_) => ApiError::unsupported(param, format!("{param}: {error}")),
                other => {
                    tracing::error!(error = %other, "a grammar could not be made");
                    ApiError::Internal
                }
            })
        };
        self.text_lane.run(compile).await
    }
}

/// One answer's way through its grammar.
#[derive(Clone, Debug)]
pub(crate) struct Held(pub(crate) GrammarState);

impl Constraint for Held {
    fn allow(&mut self, mask: &mut Mask) -> Result<Allowed, ConstraintError> {
        match self.0.allow().map_err(failed)? {
            Permit::Anything => Ok(Allowed::AnythingButEnd),
            Permit::Only { words, end } => {
                mask.allow_words(&words);
                Ok(Allowed::Masked { end })
            }
        }
    }

    fn accept(&mut self, token: u32) -> Result<(), ConstraintError> {
        self.0.accept(token).map_err(failed)
    }

    fn copy(&self) -> Box<dyn Constraint> {
        Box::new(self.clone())
    }
}

fn failed(error: ChatError) -> ConstraintError {
    ConstraintError(error.to_string())
}
