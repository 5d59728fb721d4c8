//! From checked prompts to jobs at an engine.

use std::sync::Arc;

use axum::http::HeaderValue;
use axum::response::Response;
use chat::{GrammarState, ReplyDecoder, Start, ToolCallParser};
use engine::{Accepted, Constraint, Job, Refused, Want};
use uuid::Uuid;

use super::Api;
use super::check::{Delivery, Options, Rules};
use super::error::ApiError;
use super::generation::{Choice, Generation, Surroundings};
use super::held::Held;
use super::sse::{EventStream, Narrator};
use super::wire::reply::Head;
use crate::http::RequestId;
use crate::roster::Lease;

/// All jobs share one scope of cached prompts, for all clients here are one consumer.
pub(crate) const CACHE_SCOPE: u64 = 0;

/// A request that an engine has taken.
pub(crate) struct Submitted {
    /// Its choices.
    pub(crate) generation: Generation,
    /// The engine's index.
    pub(crate) engine: usize,
}

impl Api {
    /// What requests are checked against.
    pub(crate) fn rules<'a>(&'a self, model: &'a Lease) -> Rules<'a> {
        Rules {
            limits: &self.app.limits,
            defaults: &model.defaults,
            vocabulary: model.vocabulary(),
            tools: model.template.tool_format(),
        }
    }

    /// Submits `options.choices` jobs for each prompt, all of them to one engine or none.
    ///
    /// # Errors
    /// A form that answers cannot be held to; what the engines refuse, as the client is told it.
    pub(crate) async fn submit(
        &self,
        model: &Lease,
        prompts: Vec<Vec<u32>>,
        start: Start,
        options: &Options,
        request_id: RequestId,
    ) -> Result<Submitted, ApiError> {
        if self.app.drain.is_draining() {
            return Err(ApiError::ShuttingDown);
        }
        let context_tokens = model.context_tokens();
        if let Some(prompt) = prompts.iter().find(|prompt| prompt.len() >= context_tokens) {
            return Err(ApiError::ContextExceeded {
                prompt_tokens: prompt.len(),
                context_tokens,
            });
        }
        let grammar = self.grammar(model, options).await?;
        let held = grammar.map(|grammar| grammar.begin(start));
        let timer = self.app.metrics.request_started(&model.card.id);
        let mut jobs = Vec::with_capacity(prompts.len() * options.choices);
        for prompt in &prompts {
            jobs.extend(self::jobs(model, prompt, options, held.as_ref()));
        }
        let prompt_tokens: Vec<usize> = jobs.iter().map(|job| job.prompt.len()).collect();
        let Accepted { engine, replies } = match model.engines.submit(jobs) {
            Ok(accepted) => accepted,
            Err(refused) => {
                timer.refused();
                return Err(refusal(model, refused));
            }
        };
        let offers = !options.tools.offered.is_empty();
        let tools = model.template.tool_format().filter(|_| offers);
        let choices = replies
            .into_iter()
            .zip(prompt_tokens)
            .enumerate()
            .map(|(index, (replies, prompt))| Choice {
                replies,
                decoder: match tools {
                    Some(format) => ReplyDecoder::new(&model.tokenizer, start, &options.stop).showing_tools(format),
                    None => ReplyDecoder::new(&model.tokenizer, start, &options.stop),
                },
                tools: tools.map(ToolCallParser::new),
                ends_at_call: options.tools.ends_at_call,
                prompt_tokens: if index % options.choices == 0 { prompt } else { 0 },
            });
        let generation = Generation::new(
            choices.collect(),
            Surroundings {
                timer,
                drain: self.app.drain.clone(),
                lease: model.clone(),
                request_id,
            },
        );
        Ok(Submitted { generation, engine })
    }

    /// Tells the client what comes of its jobs, whole or as a stream, and which engine works on them.
    ///
    /// # Errors
    /// What ends a reply before its first byte.
    pub(crate) async fn deliver(
        &self,
        submitted: Submitted,
        narrator: impl Narrator,
        delivery: Delivery,
    ) -> Result<Response, ApiError> {
        let Submitted { generation, engine } = submitted;
        let mut response = match delivery {
            Delivery::Whole => narrator.whole(generation).await?,
            Delivery::Streamed { usage } => {
                let keep_alive = self.app.limits.keep_alive;
                EventStream {
                    generation,
                    narrator,
                    with_usage: usage,
                    keep_alive,
                }
                .into_response()
            }
        };
        response
            .headers_mut()
            .insert("x-tandem-engine", HeaderValue::from(engine));
        Ok(response)
    }
}

/// The part that all objects of one reply share.
///
/// * `kind`  `chatcmpl` or `cmpl`
/// * `object`  the type of object that carries it
pub(crate) fn head(model: &Lease, kind: &str, object: &'static str, options: &Options) -> Head {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Head {
        id: format!("{kind}-{}", Uuid::new_v4()),
        object,
        created: seconds.map_or(0, |since| since.as_secs()),
        model: options.model.clone().unwrap_or_else(|| model.card.id.clone()),
        system_fingerprint: model.fingerprint.clone(),
    }
}

/// One job for each choice. The first has the request's own seed, so that asking for more changes nothing for it.
fn jobs<'a>(
    model: &'a Lease,
    prompt: &'a [u32],
    options: &'a Options,
    held: Option<&'a GrammarState>,
) -> impl Iterator<Item = Job> + 'a {
    let room = model.context_tokens() - prompt.len();
    (0..options.choices).map(move |choice| {
        let mut sampling = options.sampling.clone();
        sampling.seed = sampling.seed.wrapping_add(choice as u64);
        Job {
            prompt: prompt.to_vec(),
            want: Want::Tokens,
            sampling,
            output_tokens_max: options.output_tokens_max.min(room),
            end_tokens: Arc::clone(&model.end_tokens),
            ignore_end: options.ignore_end,
            cache_scope: CACHE_SCOPE,
            constraint: held.map(|state| Box::new(Held(state.clone())) as Box<dyn Constraint>),
        }
    })
}

/// What a client is told of what the engines refuse.
pub(crate) fn refusal(model: &Lease, refused: Refused) -> ApiError {
    match refused {
        Refused::QueueFull {
            waiting,
            queue_jobs_max,
        } => {
            let retry_after = model.pace.wait(&model.engines.status());
            ApiError::QueueFull {
                waiting,
                queue_jobs_max,
                retry_after,
            }
        }
        Refused::TooManyJobs { jobs, jobs_max } => {
            let message =
                format!("n and prompt ask for {jobs} choices at once, an engine holds {jobs_max}: ask for fewer");
            ApiError::field("n", message)
        }
        Refused::NoEngine => ApiError::NoEngine,
        Refused::Stopping => ApiError::ShuttingDown,
        Refused::PromptTooLong { tokens, context_tokens } => ApiError::ContextExceeded {
            prompt_tokens: tokens,
            context_tokens,
        },
        Refused::TextTooLong { tokens, context_tokens } => ApiError::TextTooLong { tokens, context_tokens },
        Refused::EmptyPrompt => {
            ApiError::field("prompt", "prompt has no tokens: give a text of at least one character")
        }
        refused @ (Refused::TokenOutOfRange { .. } | Refused::BadSampling { .. }) => {
            tracing::error!(%refused, "the engine refused what the checks let pass");
            ApiError::Internal
        }
    }
}
