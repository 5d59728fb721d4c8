//! The replies of `/v1/completions`, whole and streamed alike.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::reply::FinishReason;

/// One choice of a whole reply, or of one streamed event.
#[derive(Debug, Serialize)]
pub(crate) struct Choice {
    pub(crate) index: usize,
    pub(crate) text: String,
    pub(crate) logprobs: Option<Logprobs>,
    pub(crate) finish_reason: Option<FinishReason>,
}

/// Log probabilities in the older shape: four lists of one length.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Logprobs {
    pub(crate) tokens: Vec<String>,
    pub(crate) token_logprobs: Vec<f32>,
    pub(crate) top_logprobs: Vec<TopLogprobs>,
    /// Characters of the choice's text before each token.
    pub(crate) text_offset: Vec<usize>,
}

/// The likeliest tokens at one place, likeliest first, as an object from token to log probability.
#[derive(Debug, Default)]
pub(crate) struct TopLogprobs(pub(crate) Vec<(String, f32)>);

impl Serialize for TopLogprobs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (token, logprob) in &self.0 {
            map.serialize_entry(token, logprob)?;
        }
        map.end()
    }
}
