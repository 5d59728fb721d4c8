//! Log probabilities in the two shapes of OpenAI's endpoints.

use ::chat::Tokenizer;
use engine::Token;

use super::check::TokenNames;
use super::wire::{chat, completion};

/// What stands for minus infinity, which JSON does not have; vLLM's number.
const LEAST: f32 = -9999.0;

/// Names tokens for log probabilities.
#[derive(Clone)]
pub(crate) struct TokenNamer {
    pub(crate) tokenizer: Tokenizer,
    pub(crate) names: TokenNames,
}

impl TokenNamer {
    /// The token's text; `bytes:\xe4\xbd` where it is not a whole number of characters, as OpenAI writes it, because
    /// U+FFFD would give many tokens one name.
    fn name(&self, id: u32) -> String {
        if self.names == TokenNames::Ids {
            return format!("token_id:{id}");
        }
        let bytes = self.tokenizer.token_bytes(id);
        match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => bytes
                .iter()
                .fold("bytes:".to_owned(), |name, byte| format!("{name}\\x{byte:02x}")),
        }
    }

    /// One token in chat's shape.
    pub(crate) fn chat(&self, token: &Token) -> chat::TokenLogprob {
        let bytes = |id| self.tokenizer.token_bytes(id).to_vec();
        let rival = |(id, logprob): &(u32, f32)| chat::TopLogprob {
            token: self.name(*id),
            logprob: logprob.max(LEAST),
            bytes: bytes(*id),
        };
        chat::TokenLogprob {
            token: self.name(token.id),
            logprob: token.logprob.unwrap_or(LEAST).max(LEAST),
            bytes: bytes(token.id),
            top_logprobs: token.top.iter().map(rival).collect(),
        }
    }

    /// Adds one token in the older shape. The chosen token is always among the likeliest there, as in OpenAI's and
    /// vLLM's, so there may be one more of them than asked for.
    ///
    /// * `characters_before`  of the choice's text; grows by the token's
    pub(crate) fn completion(&self, token: &Token, characters_before: &mut usize, logprobs: &mut completion::Logprobs) {
        let logprob = token.logprob.unwrap_or(LEAST).max(LEAST);
        let mut top: Vec<(String, f32)> = Vec::with_capacity(token.top.len() + 1);
        for (id, logprob) in token.top.iter().copied().chain([(token.id, logprob)]) {
            let name = self.name(id);
            // The likeliest of two tokens with one name stays: an object has each key once.
            if top.iter().all(|(other, _)| *other != name) {
                top.push((name, logprob.max(LEAST)));
            }
        }
        logprobs.tokens.push(self.name(token.id));
        logprobs.token_logprobs.push(logprob);
        logprobs.top_logprobs.push(completion::TopLogprobs(top));
        logprobs.text_offset.push(*characters_before);
        // A character counts where its first byte is; the others are 10xxxxxx.
        let starts = |byte: &&u8| **byte & 0xc0 != 0x80;
        *characters_before += self.tokenizer.token_bytes(token.id).iter().filter(starts).count();
    }
}
