//! Texts to vectors, for every route that gives embeddings: tokens, jobs a few at a time, and what becomes of them.

use chat::Tokenizer;
use engine::{Event, Finish, Job};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::Api;
use super::check::PromptSource;
use super::error::ApiError;
use super::submit::{CACHE_SCOPE, refusal};
use super::text::refused_text;
use crate::http::RequestId;
use crate::metrics::{Abort, TokenUse};
use crate::roster::Lease;

/// Jobs of one request that are under way at the same time: enough to fill an engine's steps, few enough to leave the queue
/// to others.
const JOBS_AT_ONCE: usize = 8;

/// What to do with a text that is longer than the context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overlong {
    /// Tell the client.
    Refuse,
    /// Embed its beginning.
    Cut,
}

/// What a request for embeddings got.
pub(crate) struct Embedded {
    /// One for each text, in order, as the model gives them.
    pub(crate) vectors: Vec<Vec<f32>>,
    /// Tokens of all texts.
    pub(crate) prompt_tokens: usize,
}

impl Api {
    /// The embeddings of `inputs`. Dropping the future cancels what is under way.
    ///
    /// # Errors
    /// A text that cannot be encoded or, unless it may be cut, is too long; what the engines refuse; `EngineFailed`.
    pub(crate) async fn embed(
        &self,
        model: &Lease,
        inputs: Vec<PromptSource>,
        overlong: Overlong,
        request_id: &RequestId,
    ) -> Result<Embedded, ApiError> {
        if self.app.drain.is_draining() {
            return Err(ApiError::ShuttingDown);
        }
        if inputs.is_empty() {
            return Ok(Embedded {
                vectors: Vec::new(),
                prompt_tokens: 0,
            });
        }
        let (tokenizer, context_tokens) = (model.tokenizer.clone(), model.context_tokens());
        let encode = move || {
            let each = |input| encode(&tokenizer, input, context_tokens, overlong);
            inputs.into_iter().map(each).collect()
        };
        let texts: Vec<Vec<u32>> = self.text_lane.run(encode).await?;
        let prompt_tokens = texts.iter().map(Vec::len).sum();
        let timer = self.app.metrics.request_started(&model.card.id);
        let at_once = JOBS_AT_ONCE.min(model.engines.jobs_max()).max(1);
        let job = |text| vector(model.clone(), text, request_id.clone());
        let jobs = stream::iter(texts).map(job).buffered(at_once);
        let done = tokio::select! {
            biased;
            () = self.app.drain.deadline() => Err(ApiError::ShuttingDown),
            done = jobs.try_collect::<Vec<Vector>>() => done,
        };
        let tokens = TokenUse {
            prompt: prompt_tokens,
            cached: done.iter().flatten().map(|vector| vector.cached_tokens).sum(),
            ..TokenUse::default()
        };
        match done {
            Ok(done) => {
                timer.finished("stop", tokens);
                Ok(Embedded {
                    vectors: done.into_iter().map(|vector| vector.values).collect(),
                    prompt_tokens,
                })
            }
            // A job fails too when the engines are stopped at the end of a drain.
            Err(ApiError::ShuttingDown | ApiError::EngineFailed) if self.app.drain.is_draining() => {
                timer.aborted(Abort::Shutdown, tokens);
                Err(ApiError::ShuttingDown)
            }
            Err(ApiError::EngineFailed) => {
                timer.aborted(Abort::Engine, tokens);
                Err(ApiError::EngineFailed)
            }
            Err(refused) => {
                timer.refused();
                Err(refused)
            }
        }
    }
}

/// The tokens of an input, at least one and no more than the context holds.
fn encode(
    tokenizer: &Tokenizer,
    input: PromptSource,
    context_tokens: usize,
    overlong: Overlong,
) -> Result<Vec<u32>, ApiError> {
    let tokens_max = match overlong {
        Overlong::Refuse => usize::MAX,
        Overlong::Cut => context_tokens,
    };
    let tokens = match input {
        PromptSource::Ids(ids) => ids,
        PromptSource::Text(text) => tokenizer
            .encode_whole(&text, tokens_max)
            .map_err(|error| refused_text("input", error))?,
    };
    match tokens.len() {
        0 => Err(ApiError::field(
            "input",
            "input has no tokens: give a text of at least one character",
        )),
        tokens if tokens > context_tokens => Err(ApiError::TextTooLong { tokens, context_tokens }),
        _ => Ok(tokens),
    }
}

/// What one text got.
struct Vector {
    values: Vec<f32>,
    cached_tokens: usize,
}

/// Has one text embedded by the next engine.
async fn vector(model: Lease, text: Vec<u32>, request_id: RequestId) -> Result<Vector, ApiError> {
    let job = Job::embedding(text, CACHE_SCOPE);
    let accepted = model
        .engines
        .submit(vec![job])
        .map_err(|refused| refusal(&model, refused))?;
    let (mut values, mut cached_tokens, mut failure) = (None, 0, None);
    for mut replies in accepted.replies {
        while let Some(event) = replies.next().await {
            match event {
                Event::Started { cached_tokens: tokens } => cached_tokens = tokens,
                Event::Embedding(embedding) => values = Some(embedding),
                Event::Finished(Finish::Failed(reason)) => failure = Some(reason),
                Event::Token(_) | Event::Finished(Finish::End | Finish::NothingLeft | Finish::Length) => {}
            }
        }
    }
    let Some(values) = values else {
        let reason = failure.unwrap_or_else(|| "the engine gave none".to_owned());
        tracing::error!(request_id = request_id.as_str(), reason, "a text got no embedding");
        return Err(ApiError::EngineFailed);
    };
    Ok(Vector { values, cached_tokens })
}

/// Gives the vector length 1, of its first `dimensions` numbers alone if it has that many. Zeros stay zeros.
pub(crate) fn normalise(vector: &mut Vec<f32>, dimensions: Option<usize>) {
    vector.truncate(dimensions.unwrap_or(usize::MAX));
    let squares: f64 = vector.iter().map(|value| f64::from(*value).powi(2)).sum();
    if squares > 0.0 {
        let length = squares.sqrt();
        for value in vector {
            #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is meant")]
            let share = (f64::from(*value) / length) as f32;
            *value = share;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_cut_before_it_gets_its_length() {
        let check = |vector: &[f32], dimensions, expected: &[f32]| {
            let mut found = vector.to_vec();
            normalise(&mut found, dimensions);
            assert_eq!(found, expected);
        };
        check(&[3.0, -4.0], None, &[0.6, -0.8]);
        check(&[3.0, -4.0, 12.0], Some(2), &[0.6, -0.8]);
        check(&[3.0, -4.0], Some(9), &[0.6, -0.8]);
        check(&[0.0, 0.0], None, &[0.0, 0.0]);
        check(&[1e30, 0.0], None, &[1.0, 0.0]);
    }
}
