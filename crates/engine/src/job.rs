//! What is asked of the engine, and what it answers: jobs, events, refusals.

use std::sync::Arc;

use crate::constraint::Constraint;
use crate::model::ModelShape;

/// How the next token is chosen. The default is the model's own distribution: temperature 1, nothing cut or bent.
///
/// Applied in vLLM's order: bias, penalties, temperature, `min_p`, `top_k`, `top_p`.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Divides the logits, 0 or more; 0 is greedy, ties to the lowest id.
    pub temperature: f32,
    /// Keeps the smallest set of likeliest tokens with this share of the chance, 0 to 1; 1 is off.
    pub top_p: f32,
    /// Keeps this many likeliest tokens; 0 is off.
    pub top_k: usize,
    /// Keeps tokens at least this likely beside the likeliest, 0 to 1; 0 is off.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens seen in prompt or output, above 0; 1 is off.
    pub repetition_penalty: f32,
    /// Taken from the logits of tokens seen in the output.
    pub presence_penalty: f32,
    /// Taken from a token's logit once for each time that it is in the output.
    pub frequency_penalty: f32,
    /// The n-th token's draw depends on this and on n only.
    pub seed: u64,
    /// Added to the logits of single tokens.
    pub logit_bias: Vec<(u32, f32)>,
    /// `Some(n)`: every token carries its log-probability and the n likeliest tokens with theirs, taken from the
    /// model's own distribution, before bias, penalties and temperature.
    pub logprobs: Option<usize>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            seed: 0,
            logit_bias: Vec::new(),
            logprobs: None,
        }
    }
}

/// What a job asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// The tokens that go on from the prompt.
    Tokens,
    /// The prompt's embedding.
    Embedding,
}

/// One prompt, and what is asked about it.
#[derive(Debug, Clone)]
pub struct Job {
    /// Token ids, at least one.
    pub prompt: Vec<u32>,
    /// What to give out; all that is said of tokens below means nothing to an embedding.
    pub want: Want,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Most tokens to give out; the context may end the answer earlier.
    pub output_tokens_max: usize,
    /// Tokens that end the answer; they are not given out.
    pub end_tokens: Arc<[u32]>,
    /// Treats end tokens like any other: the answer ends by length alone.
    pub ignore_end: bool,
    /// Jobs share cached prompts only within one scope, so that nobody can time another's prompts.
    pub cache_scope: u64,
    /// What may be said; `None` is anything.
    pub constraint: Option<Box<dyn Constraint>>,
}

/// One thing that happened to a job, in order: `Started`, any number of `Token` or one `Embedding`, `Finished`.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The job left the queue.
    Started {
        /// Prompt tokens found in the prefix cache.
        cached_tokens: usize,
    },
    /// The next token.
    Token(Token),
    /// What the prompt's tokens come to, not normalised.
    Embedding(Vec<f32>),
    /// The end; nothing follows.
    Finished(Finish),
}

/// One token of the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// Its log-probability, when [`Sampling::logprobs`] asks for it.
    pub logprob: Option<f32>,
    /// The likeliest tokens and their log-probabilities, likeliest first.
    pub top: Vec<(u32, f32)>,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// The model gave an end token, or the embedding is complete.
    End,
    /// Its constraint left nothing to say: it ended without an end token.
    NothingLeft,
    /// `output_tokens_max` or the context was reached.
    Length,
    /// The engine could not go on, and why.
    Failed(String),
}

/// Why jobs were not taken. Nothing was queued.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refused {
    /// Every engine that could run it has a full queue.
    #[error("{waiting} jobs wait already, the queue holds {queue_jobs_max}: try again later")]
    QueueFull {
        /// Jobs waiting at the least loaded engine.
        waiting: usize,
        /// The limit of each engine.
        queue_jobs_max: usize,
    },
    /// More jobs at once than one engine can ever hold.
    #[error("{jobs} jobs at once, one engine holds {jobs_max}: send fewer together")]
    TooManyJobs {
        /// Jobs asked for.
        jobs: usize,
        /// Slots and queue together.
        jobs_max: usize,
    },
    /// No engine is ready: all are loading or failed.
    #[error("no engine is ready: try again later")]
    NoEngine,
    /// The engines are stopping.
    #[error("the server is stopping")]
    Stopping,
    /// The prompt leaves no room for one token of output.
    #[error("prompt has {tokens} tokens, the context is {context_tokens} and must hold one more: shorten the prompt")]
    PromptTooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// Longest sequence, prompt and output together.
        context_tokens: usize,
    },
    /// The text to embed is longer than the context.
    #[error("the text has {tokens} tokens, the context is {context_tokens}: shorten the text")]
    TextTooLong {
        /// Tokens of the text.
        tokens: usize,
        /// Longest sequence.
        context_tokens: usize,
    },
    /// A job without a prompt token, or no job at all.
    #[error("the prompt is empty: send at least one token")]
    EmptyPrompt,
    /// A token id that the model does not have.
    #[error("token {token} does not exist, the vocabulary has {vocabulary} tokens")]
    TokenOutOfRange {
        /// The id found.
        token: u32,
        /// Ids are below this.
        vocabulary: usize,
    },
    /// A sampling value that means nothing.
    #[error("{field} is {value}, it must be {allowed}")]
    BadSampling {
        /// The field of [`Sampling`].
        field: &'static str,
        /// The value found.
        value: f32,
        /// What may stand there.
        allowed: &'static str,
    },
}

impl Job {
    /// A job for the embedding of a text.
    #[must_use]
    pub fn embedding(text: Vec<u32>, cache_scope: u64) -> Job {
        Job {
            prompt: text,
            want: Want::Embedding,
            sampling: Sampling::default(),
            output_tokens_max: 0,
            end_tokens: Arc::default(),
            ignore_end: false,
            cache_scope,
            constraint: None,
        }
    }

    /// Whether a model of this shape can run the job.
    ///
    /// # Errors
    /// The first reason why not.
    pub(crate) fn check(&self, shape: &ModelShape) -> Result<(), Refused> {
        let context_tokens = shape.sequence_tokens_max();
        if self.prompt.is_empty() {
            return Err(Refused::EmptyPrompt);
        }
        self.check_length(context_tokens)?;
        let biased = self.sampling.logit_bias.iter().map(|(token, _)| *token);
        let mut tokens = self.prompt.iter().copied().chain(biased);
        if let Some(token) = tokens.find(|token| *token as usize >= shape.vocabulary) {
            return Err(Refused::TokenOutOfRange {
                token,
                vocabulary: shape.vocabulary,
            });
        }
        self.sampling.check()
    }

    /// Whether the prompt leaves room for what is asked.
    fn check_length(&self, context_tokens: usize) -> Result<(), Refused> {
        let tokens = self.prompt.len();
        match self.want {
            Want::Tokens if tokens >= context_tokens => Err(Refused::PromptTooLong { tokens, context_tokens }),
            Want::Embedding if tokens > context_tokens => Err(Refused::TextTooLong { tokens, context_tokens }),
            Want::Tokens | Want::Embedding => Ok(()),
        }
    }
}

impl Sampling {
    /// Whether every value means something.
    fn check(&self) -> Result<(), Refused> {
        let finite = |value: f32| value.is_finite();
        let share = |value: f32| (0.0..=1.0).contains(&value);
        let rules: [(_, f32, bool, _); 6] = [
            (
                "temperature",
                self.temperature,
                finite(self.temperature) && self.temperature >= 0.0,
                "0 or more",
            ),
            ("top_p", self.top_p, share(self.top_p), "from 0 to 1"),
            ("min_p", self.min_p, share(self.min_p), "from 0 to 1"),
            (
                "repetition_penalty",
                self.repetition_penalty,
                finite(self.repetition_penalty) && self.repetition_penalty > 0.0,
                "above 0",
            ),
            (
                "presence_penalty",
                self.presence_penalty,
                finite(self.presence_penalty),
                "a finite number",
            ),
            (
                "frequency_penalty",
                self.frequency_penalty,
                finite(self.frequency_penalty),
                "a finite number",
            ),
        ];
        let biases = self
            .logit_bias
            .iter()
            .map(|(_, bias)| ("logit_bias", *bias, finite(*bias), "a finite number"));
        match rules.into_iter().chain(biases).find(|rule| !rule.2) {
            Some((field, value, _, allowed)) => Err(Refused::BadSampling { field, value, allowed }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Pooling;

    const SHAPE: ModelShape = ModelShape {
        vocabulary: 100,
        context_tokens: 64,
        kv_blocks: 3,
        hidden: 2,
        pooling: Pooling::Last,
    };

    fn job(prompt_tokens: usize) -> Job {
        Job {
            prompt: vec![7; prompt_tokens],
            want: Want::Tokens,
            sampling: Sampling::default(),
            output_tokens_max: 8,
            end_tokens: Arc::from([]),
            ignore_end: false,
            cache_scope: 0,
            constraint: None,
        }
    }

    #[test]
    fn a_prompt_must_leave_room_for_one_token_in_context_and_pool() {
        assert_eq!(job(47).check(&SHAPE), Ok(()));
        let refused = Refused::PromptTooLong {
            tokens: 48,
            context_tokens: 48,
        };
        assert_eq!(job(48).check(&SHAPE), Err(refused), "three blocks hold 48 tokens");
        let roomy = ModelShape {
            kv_blocks: 100,
            ..SHAPE
        };
        assert_eq!(job(63).check(&roomy), Ok(()));
        let refused = Refused::PromptTooLong {
            tokens: 64,
            context_tokens: 64,
        };
        assert_eq!(job(64).check(&roomy), Err(refused));
        assert_eq!(job(0).check(&roomy), Err(Refused::EmptyPrompt));
    }

    #[test]
    fn a_text_to_embed_may_fill_context_and_pool() {
        let text = |tokens| Job::embedding(vec![7; tokens], 0);
        assert_eq!(text(48).check(&SHAPE), Ok(()));
        let refused = Refused::TextTooLong {
            tokens: 49,
            context_tokens: 48,
        };
        assert_eq!(text(49).check(&SHAPE), Err(refused));
        assert_eq!(text(0).check(&SHAPE), Err(Refused::EmptyPrompt));
    }

    #[test]
    fn unknown_tokens_are_refused_in_prompt_and_bias() {
        let refused = Err(Refused::TokenOutOfRange {
            token: 100,
            vocabulary: 100,
        });
        let mut bad = job(3);
        bad.prompt[2] = 100;
        assert_eq!(bad.check(&SHAPE), refused);
        let mut bad = job(3);
        bad.sampling.logit_bias = vec![(99, 1.0), (100, 1.0)];
        assert_eq!(bad.check(&SHAPE), refused);
    }

    #[test]
    fn sampling_values_that_mean_nothing_are_refused_by_name() {
        let check = |change: fn(&mut Sampling), field: &str| {
            let mut bad = job(3);
            change(&mut bad.sampling);
            match bad.check(&SHAPE) {
                Err(Refused::BadSampling { field: found, .. }) => assert_eq!(found, field),
                other => panic!("{field}: {other:?}"),
            }
        };
        check(|s| s.temperature = -0.1, "temperature");
        check(|s| s.temperature = f32::NAN, "temperature");
        check(|s| s.temperature = f32::INFINITY, "temperature");
        check(|s| s.top_p = 1.1, "top_p");
        check(|s| s.min_p = -1.0, "min_p");
        check(|s| s.repetition_penalty = 0.0, "repetition_penalty");
        check(|s| s.presence_penalty = f32::NAN, "presence_penalty");
        check(|s| s.frequency_penalty = f32::NEG_INFINITY, "frequency_penalty");
        check(|s| s.logit_bias = vec![(1, f32::NAN)], "logit_bias");
    }
}
