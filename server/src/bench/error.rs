//! What keeps a measurement from being made, beside what keeps a model from being served.

use std::path::PathBuf;

/// A refusal, in words for whoever typed the command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error(
        "{prompt_tokens} prompt tokens and {decode_tokens} more need a context of {} tokens, the model has \
         {context_max}: lower --prompt-tokens or --decode-tokens",
        prompt_tokens + decode_tokens
    )]
    PromptTooLong {
        prompt_tokens: usize,
        decode_tokens: usize,
        context_max: usize,
    },
    #[error(
        "a history of {history_tokens} tokens and the turn after it need a context of {needed} tokens, the model has \
         {context_max}: lower --history-tokens"
    )]
    HistoryTooLong {
        history_tokens: usize,
        needed: usize,
        context_max: usize,
    },
    #[error("the model's context is {context_max} tokens, the bench needs at least {needed}: choose another model")]
    ContextTooShort { context_max: usize, needed: usize },
    #[error("the plot's folder {} does not exist: create it or change --plot", folder.display())]
    NoPlotFolder { folder: PathBuf },
    #[error("cannot write the plot {}: {cause}", file.display())]
    PlotUnwritable { file: PathBuf, cause: std::io::Error },
    #[error("cannot draw the plot: {0}")]
    Drawing(String),
}
