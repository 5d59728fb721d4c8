//! What every request handler shares: the models, the limits, the counters, and whether we are leaving.

use std::sync::Arc;
use std::time::Duration;

use crate::drain::Drain;
use crate::metrics::Metrics;
use crate::roster::Roster;
use crate::shelf::Shelf;

/// The running program as the routes see it: built once at start-up, shared by reference, never changed.
pub(crate) struct App {
    /// The models and their names.
    pub(crate) roster: Roster,
    /// What one request may ask for.
    pub(crate) limits: Limits,
    /// Counters and histograms, rendered by `/metrics`.
    pub(crate) metrics: Metrics,
    /// Set when the process has been told to stop.
    pub(crate) drain: Drain,
    /// The model files there are.
    pub(crate) shelf: Arc<Shelf>,
    /// What Ollama's clients are told and shown.
    pub(crate) ollama: OllamaManners,
}

/// How this program behaves where it stands in for Ollama.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OllamaManners {
    /// The version it gives itself out for; clients choose by it what they send.
    pub(crate) version: String,
    /// How a thought is shown to a request that does not say whether it wants one.
    pub(crate) think: ThinkShown,
}

/// How Ollama's clients get to see a thought that they did not ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ThinkShown {
    /// In the text, between think tags, as Ollama did before 0.9.
    Inline,
    /// In a field of its own, as Ollama does since 0.12.4.
    Split,
}

/// The name and the measures of the served model, as `/v1/models` and the start-up lines tell them.
#[derive(Clone, Debug)]
pub(crate) struct ModelCard {
    /// The model's own name: `tandem-tiny`, a store's name for it, or taken from the file.
    pub(crate) id: String,
    /// Other names a request may use, such as the file's stem where it differs from `id`.
    pub(crate) aliases: Vec<String>,
    /// Names it answers to where no store has a model of that name.
    pub(crate) stand_ins: Vec<String>,
    /// Unix seconds at which this process loaded the model.
    pub(crate) created: u64,
    /// Most tokens one conversation may hold, prompt and reply together.
    pub(crate) context_tokens: usize,
    /// The architecture's name in the file: `qwen2`, `llama`, `qwen3`.
    pub(crate) architecture: String,
    /// The file's path, or `embedded`.
    pub(crate) file: String,
}

/// What one request may ask for. Each is a setting of the same name; past it the answer is a 4xx that names it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Limits {
    /// Bytes of a request's body; past it 413.
    pub(crate) body_bytes_max: usize,
    /// Messages in one conversation.
    pub(crate) messages_max: usize,
    /// Stop strings of one request.
    pub(crate) stop_strings_max: usize,
    /// Characters of one stop string.
    pub(crate) stop_chars_max: usize,
    /// Entries of `logit_bias`.
    pub(crate) logit_bias_max: usize,
    /// Choices (`n`) of one request.
    pub(crate) choices_max: usize,
    /// Prompts of one `/v1/completions` request.
    pub(crate) prompts_max: usize,
    /// Texts of one embedding request.
    pub(crate) embedding_inputs_max: usize,
    /// `top_logprobs` of one request.
    pub(crate) top_logprobs_max: usize,
    /// Time between two signs of life on a stream that has nothing to say yet.
    pub(crate) keep_alive: Duration,
    /// Output tokens of a request that names no number; never more than the context leaves.
    pub(crate) default_output_tokens: usize,
}

/// Sampling values for what a request leaves out; a request's own values win.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SamplingDefaults {
    /// 0 is greedy.
    pub(crate) temperature: f32,
    /// Smallest set of tokens with at least this share of the probability; 1 is off.
    pub(crate) top_p: f32,
    /// Most tokens to choose from; 0 is off.
    pub(crate) top_k: usize,
    /// Least probability relative to the best token's; 0 is off.
    pub(crate) min_p: f32,
    /// Divides the logits of tokens seen; 1 is off.
    pub(crate) repetition_penalty: f32,
    /// Stop strings; a request's own list takes their place.
    pub(crate) stop: Vec<String>,
}

/// DeepSeek's advice for the R1 family: temperature 0.6, top_p 0.95.
impl Default for SamplingDefaults {
    fn default() -> Self {
        SamplingDefaults {
            temperature: 0.6,
            top_p: 0.95,
            top_k: 0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            stop: Vec::new(),
        }
    }
}
