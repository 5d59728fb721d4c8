//! Time to the first token, through an engine as it serves: of a short prompt, and of a second turn whose history lies in
//! the prefix cache.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, anyhow};
use engine::{BLOCK_TOKENS, Engines, Event, Finish, Job, ModelError, ModelFactory, Sampling, Want};
use models::{CpuModel, Weights};
use tokio::runtime::Runtime;

use super::SEED;
use super::plan::{MESSAGE_TOKENS, Plan, REPLY_TOKENS};
use super::progress::Progress;
use super::steps::{median, pseudo_random};
use crate::config::{Config, Said};
use crate::failure::Failure;
use crate::start;

/// What clients wait for, in seconds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Turns {
    /// The short prompt, median of the rounds.
    pub(super) short_s: f64,
    /// The history as a first turn, nothing of it cached; measured once.
    pub(super) first_s: f64,
    /// The next message after it, median of the rounds.
    pub(super) second_s: f64,
    /// Tokens of the second turn's prompt: history, reply and message.
    pub(super) second_prompt_tokens: usize,
    /// Those of them that were found in the prefix cache.
    pub(super) cached_tokens: usize,
}

/// Measures with an engine of its own over `weights`, with the server's defaults.
///
/// # Errors
/// No engine, or one that failed.
pub(super) fn measure(weights: &Arc<Weights>, plan: &Plan, progress: &Progress) -> Result<Turns, Failure> {
    let asker = Asker::new(weights, plan)?;
    let rounds = 1..=plan.rounds;
    let mut short = Vec::new();
    for round in rounds.clone() {
        progress.next(format!("first token, round {round} of {}", plan.rounds));
        short.push(
            asker
                .ask(asker.words(round, plan.short_prompt_tokens), 1)?
                .first_token_s,
        );
    }
    progress.next(format!("a first turn of {} tokens", plan.history_tokens));
    let mut history = asker.words(0, plan.history_tokens);
    let first = asker.ask(history.clone(), REPLY_TOKENS)?;
    // The reply's last token was given out and never computed. One token of each round's own stands for it, so that no
    // round finds more in the cache than the first turn left there.
    history.extend(first.reply.iter().take(REPLY_TOKENS - 1));
    let (mut second, mut cached_tokens) = (Vec::new(), 0);
    for round in rounds {
        progress.next(format!("second turn, round {round} of {}", plan.rounds));
        let message = asker.words(plan.rounds + round, 1 + MESSAGE_TOKENS);
        let answer = asker.ask([history.as_slice(), &message].concat(), 1)?;
        second.push(answer.first_token_s);
        cached_tokens = answer.cached_tokens;
    }
    asker.engines.stop();
    asker.engines.join();
    Ok(Turns {
        short_s: median(short),
        first_s: first.first_token_s,
        second_s: median(second),
        second_prompt_tokens: history.len() + 1 + MESSAGE_TOKENS,
        cached_tokens,
    })
}

/// One engine and a client of it.
struct Asker {
    engines: Engines,
    runtime: Runtime,
    vocabulary: usize,
}

/// What came back, and when.
struct Answer {
    first_token_s: f64,
    cached_tokens: usize,
    reply: Vec<u32>,
}

impl Asker {
    fn new(weights: &Arc<Weights>, plan: &Plan) -> Result<Asker, Failure> {
        let context = plan.history_tokens + REPLY_TOKENS + MESSAGE_TOKENS + 1;
        let context = context.max(plan.short_prompt_tokens + 1);
        // Room for the history and for what each round leaves in the cache.
        let kv_blocks = 2 * context.div_ceil(BLOCK_TOKENS);
        let (weights, kv, threads) = (Arc::clone(weights), plan.kv, plan.threads);
        let factory: ModelFactory = Arc::new(move |_index| {
            match CpuModel::with_threads(Arc::clone(&weights), context, kv_blocks, kv, threads) {
                Ok(model) => Ok(Box::new(model)),
                Err(error) => Err(ModelError(error.to_string())),
            }
        });
        let mut config = Config::resolve(&Said::default())?;
        config.devices.truncate(1);
        config.weights.truncate(1);
        let engines = Engines::start(start::settings(&config), factory)?;
        let vocabulary = engines.shape().vocabulary;
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        Ok(Asker {
            engines,
            runtime: runtime.context("cannot start a client")?,
            vocabulary,
        })
    }

    /// The `number`th prompt, of `count` tokens; no two begin alike.
    fn words(&self, number: usize, count: usize) -> Vec<u32> {
        pseudo_random(SEED + 1 + number as u64, count, self.vocabulary)
    }

    /// Has `prompt` answered greedily with `output_tokens` tokens.
    fn ask(&self, prompt: Vec<u32>, output_tokens: usize) -> Result<Answer, Failure> {
        let job = Job {
            prompt,
            want: Want::Tokens,
            sampling: Sampling {
                temperature: 0.0,
                ..Sampling::default()
            },
            output_tokens_max: output_tokens,
            end_tokens: Arc::from([]),
            ignore_end: true,
            cache_scope: 0,
            constraint: None,
        };
        let begin = Instant::now();
        let accepted = self.engines.submit(vec![job]).context("the engine refused a prompt")?;
        let mut replies = accepted
            .replies
            .into_iter()
            .next()
            .context("the engine gave no answer")?;
        self.runtime.block_on(async {
            let mut answer = Answer {
                first_token_s: f64::NAN,
                cached_tokens: 0,
                reply: Vec::new(),
            };
            while let Some(event) = replies.next().await {
                match event {
                    Event::Started { cached_tokens } => answer.cached_tokens = cached_tokens,
                    Event::Token(token) => {
                        if answer.reply.is_empty() {
                            answer.first_token_s = begin.elapsed().as_secs_f64();
                        }
                        answer.reply.push(token.id);
                    }
                    Event::Finished(Finish::Failed(why)) => {
                        return Err(Failure::Fault(anyhow!("the engine failed: {why}")));
                    }
                    Event::Embedding(_) | Event::Finished(Finish::End | Finish::NothingLeft | Finish::Length) => {}
                }
            }
            Ok(answer)
        })
    }
}
