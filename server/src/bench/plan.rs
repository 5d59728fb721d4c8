//! The sizes of what is measured, made to fit the model's context.

use engine::BLOCK_TOKENS;
use models::KvFormat;

use super::arguments::Arguments;
use super::error::BenchError;

/// Length of the prompt where nobody says and the context has room.
const PROMPT_TOKENS: usize = 512;
/// Length of the first turn where nobody says and the context has room.
const HISTORY_TOKENS: usize = 2000;
/// The prompt before a first token, and before each sequence of a batch: whole blocks, so that all sequences of a batch
/// can share them.
const SHORT_PROMPT_TOKENS: usize = 64;
const _: () = assert!(SHORT_PROMPT_TOKENS.is_multiple_of(BLOCK_TOKENS));
/// Steps that a batch is decoded for: enough to measure, few enough for sixteen sequences on a slow machine.
const BATCH_STEPS: usize = 16;
/// Tokens of the first turn's reply, and of the message that begins the second turn.
pub(super) const REPLY_TOKENS: usize = 16;
pub(super) const MESSAGE_TOKENS: usize = 16;
/// The shortest context that holds the short prompt and its steps, and a history worth the name.
const CONTEXT_MIN: usize = 128;

/// What will be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) prompt_tokens: usize,
    pub(super) decode_tokens: usize,
    pub(super) short_prompt_tokens: usize,
    pub(super) batches: Vec<usize>,
    pub(super) batch_steps: usize,
    pub(super) history_tokens: usize,
    pub(super) rounds: usize,
    pub(super) threads: usize,
    pub(super) kv: KvFormat,
}

impl Plan {
    /// Sizes for a model of `context_max` tokens: defaults give way to it, what was asked for is taken or refused.
    ///
    /// # Errors
    /// A size that the context has no room for.
    pub(super) fn new(arguments: &Arguments, context_max: usize) -> Result<Plan, BenchError> {
        if context_max < CONTEXT_MIN {
            return Err(BenchError::ContextTooShort {
                context_max,
                needed: CONTEXT_MIN,
            });
        }
        let decode_tokens = arguments.decode_tokens;
        let room = context_max.saturating_sub(decode_tokens);
        let prompt_tokens = arguments.prompt_tokens.unwrap_or(PROMPT_TOKENS.min(room.max(1)));
        if prompt_tokens > room {
            return Err(BenchError::PromptTooLong {
                prompt_tokens,
                decode_tokens,
                context_max,
            });
        }
        // The second turn's prompt and its first token.
        let beside = REPLY_TOKENS + MESSAGE_TOKENS + 1;
        let room = context_max - beside;
        let history_tokens = arguments.history_tokens.unwrap_or(HISTORY_TOKENS.min(room));
        if history_tokens > room {
            return Err(BenchError::HistoryTooLong {
                history_tokens,
                needed: history_tokens + beside,
                context_max,
            });
        }
        Ok(Plan {
            prompt_tokens,
            decode_tokens,
            short_prompt_tokens: SHORT_PROMPT_TOKENS,
            batches: arguments.batches.clone(),
            batch_steps: BATCH_STEPS.min(decode_tokens),
            history_tokens,
            rounds: arguments.rounds,
            threads: arguments.threads,
            kv: arguments.kv,
        })
    }

    /// Most sequences decoded together.
    pub(super) fn sequences_max(&self) -> usize {
        self.batches.iter().copied().max().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::arguments::Words;
    use super::*;

    fn check(change: fn(&mut Arguments), context_max: usize) -> Result<(usize, usize, usize), String> {
        let mut arguments = Arguments::check(&Words::default()).unwrap();
        change(&mut arguments);
        let plan = Plan::new(&arguments, context_max).map_err(|error| error.to_string())?;
        Ok((plan.prompt_tokens, plan.history_tokens, plan.batch_steps))
    }

    #[test]
    fn defaults_give_way_to_a_short_context() {
        assert_eq!(check(|_| (), 131_072), Ok((512, 2000, 16)));
        assert_eq!(check(|_| (), 2033), Ok((512, 2000, 16)));
        assert_eq!(check(|_| (), 2032), Ok((512, 1999, 16)));
        assert_eq!(check(|_| (), 576), Ok((512, 543, 16)));
        assert_eq!(check(|_| (), 575), Ok((511, 542, 16)));
        assert_eq!(check(|_| (), 128), Ok((64, 95, 16)));
        assert!(check(|_| (), 127).unwrap_err().contains("at least 128"));
    }

    #[test]
    fn what_was_asked_for_is_taken_or_refused_never_changed() {
        let long = |arguments: &mut Arguments| arguments.prompt_tokens = Some(1000);
        assert_eq!(check(long, 1064).map(|sizes| sizes.0), Ok(1000));
        assert!(check(long, 1063).unwrap_err().contains("context of 1064 tokens"));
        let history = |arguments: &mut Arguments| arguments.history_tokens = Some(1000);
        assert_eq!(check(history, 1033).map(|sizes| sizes.1), Ok(1000));
        assert!(check(history, 1032).unwrap_err().contains("--history-tokens"));
        let decode = |arguments: &mut Arguments| arguments.decode_tokens = 65_536;
        assert!(check(decode, 1024).unwrap_err().contains("--decode-tokens"));
    }

    #[test]
    fn a_batch_runs_no_more_steps_than_one_stream() {
        let few = |arguments: &mut Arguments| arguments.decode_tokens = 2;
        assert_eq!(check(few, 4096), Ok((512, 2000, 2)));
    }
}
