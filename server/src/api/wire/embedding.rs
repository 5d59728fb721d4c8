//! The bodies of `/v1/embeddings`.

use serde::{Deserialize, Serialize};

use super::prompt::Prompt;
use super::{Field, Given};

/// Every field that has a meaning here; all others, `user` among them, are skipped.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct EmbeddingRequest {
    pub(crate) model: Given,
    pub(crate) input: Field<Prompt>,
    pub(crate) encoding_format: Given,
    pub(crate) dimensions: Given,
}

/// How the numbers of a vector are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// A list of numbers.
    Float,
    /// Base64 of the numbers as little-endian f32, a third of the size: what OpenAI's clients ask for unasked.
    Base64,
}

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct EmbeddingList {
    pub(crate) object: &'static str,
    pub(crate) data: Vec<Embedding>,
    pub(crate) model: String,
    pub(crate) usage: InputUsage,
}

/// One input's vector.
#[derive(Debug, Serialize)]
pub(crate) struct Embedding {
    object: &'static str,
    index: usize,
    embedding: Numbers,
}

/// Tokens of all inputs; there is no output.
#[derive(Debug, Serialize)]
pub(crate) struct InputUsage {
    pub(crate) prompt_tokens: usize,
    pub(crate) total_tokens: usize,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Numbers {
    Float(Vec<f32>),
    Base64(String),
}

impl Embedding {
    /// The vector of input number `index`.
    pub(crate) fn new(index: usize, vector: Vec<f32>, encoding: Encoding) -> Embedding {
        Embedding {
            object: "embedding",
            index,
            embedding: match encoding {
                Encoding::Float => Numbers::Float(vector),
                Encoding::Base64 => Numbers::Base64(base64(vector.into_iter().flat_map(f32::to_le_bytes))),
            },
        }
    }
}

/// RFC 4648's base64, padded.
fn base64(bytes: impl Iterator<Item = u8>) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes: Vec<u8> = bytes.collect();
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index| chunk.get(index).copied().map_or(0, u32::from);
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            // Of n bytes come n + 1 digits.
            let sextet = (bits >> (18 - 6 * digit) & 63) as usize;
            text.push(if digit <= chunk.len() {
                char::from(DIGITS[sextet])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648, section 10.
    #[test]
    fn base64_is_the_standards() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.bytes()), text);
        }
        assert_eq!(base64([0xfb, 0xff, 0xbf].into_iter()), "+/+/");
    }
}
