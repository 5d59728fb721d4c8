//! The vocabulary a file carries, checked against itself and against the weights, so that no token id is ever out of
//! range and every reply can end.

use std::collections::HashMap;

use super::error::{GgufError, Problem, Quoted};
use super::metadata::Metadata;
use super::tensors::Tensors;

/// The tokens of a model and what is special about them.
///
/// Checked: at least one token, each text once; one type in 1 to 6 for each; merges of two parts; every special id in
/// range; an end token; as many tokens as `token_embd.weight` and `output.weight` have rows, where the file has those.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    /// The kind of tokenizer: `gpt2` is byte-level BPE.
    pub model: String,
    /// How text is cut before merging: `deepseek-r1-qwen`, `llama-bpe`, ...; `default` where the file says nothing.
    pub pre: String,
    /// The text of each token, by id.
    pub tokens: Vec<String>,
    /// The type of each token: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
    pub types: Vec<u32>,
    /// The merges, best first, each two parts with one space between; empty for a tokenizer without.
    pub merges: Vec<String>,
    /// The begin token.
    pub bos: Option<u32>,
    /// The end token.
    pub eos: u32,
    /// Every token that ends a reply: the end token, then end of turn and of message, sorted, each once.
    pub end_tokens: Vec<u32>,
    /// Whether ordinary text gets the begin token in front.
    pub add_bos: bool,
    /// Whether ordinary text gets the end token behind it, as models made for embeddings ask for.
    pub add_eos: bool,
    /// The model's own chat template, in Jinja.
    pub chat_template: Option<String>,
}

impl Vocabulary {
    pub(super) fn read(metadata: &Metadata, tensors: &Tensors) -> Result<Vocabulary, GgufError> {
        let refuse = |problem| metadata.refuse(problem);
        let model = metadata.text("tokenizer.ggml.model")?.to_owned();
        let pre = metadata.opt_text("tokenizer.ggml.pre")?.unwrap_or("default").to_owned();
        let tokens = metadata.texts("tokenizer.ggml.tokens")?.to_vec();
        check_tokens(&tokens, tensors).map_err(refuse)?;
        let types = metadata.unsigneds("tokenizer.ggml.token_type")?;
        let types = check_types(&types, tokens.len()).map_err(refuse)?;
        let merges = read_merges(metadata, &model)?;
        let ids = SpecialIds {
            metadata,
            tokens: tokens.len(),
        };
        let bos = ids.get("tokenizer.ggml.bos_token_id")?;
        let eos = ids
            .get("tokenizer.ggml.eos_token_id")?
            .ok_or_else(|| refuse(Problem::NoEndToken))?;
        let end_tokens = ids.end_tokens(eos)?;
        // Readers agree that text for Llama 3 begins with the begin token even where the file does not say so.
        let add_bos = metadata.flag_or("tokenizer.ggml.add_bos_token", pre == "llama-bpe" && bos.is_some())?;
        if add_bos && bos.is_none() {
            return Err(refuse(Problem::NoBeginToken));
        }
        let chat_template = metadata.opt_text("tokenizer.chat_template")?.map(str::to_owned);
        Ok(Vocabulary {
            model,
            pre,
            tokens,
            types,
            merges,
            bos,
            eos,
            end_tokens,
            add_bos,
            add_eos: metadata.flag_or("tokenizer.ggml.add_eos_token", false)?,
            chat_template,
        })
    }
}

fn check_tokens(tokens: &[String], tensors: &Tensors) -> Result<(), Problem> {
    if tokens.is_empty() {
        return Err(Problem::NoTokens);
    }
    let mut seen = HashMap::with_capacity(tokens.len());
    for (second, token) in tokens.iter().enumerate() {
        if let Some(first) = seen.insert(token.as_str(), second) {
            return Err(Problem::DuplicateToken {
                first,
                second,
                token: Quoted::new(token),
            });
        }
    }
    for tensor in ["token_embd.weight", "output.weight"] {
        if let Some(found) = tensors.get(tensor)
            && found.rows() != tokens.len() as u64
        {
            return Err(Problem::Rows {
                tensor,
                rows: found.rows(),
                tokens: tokens.len(),
            });
        }
    }
    Ok(())
}

fn check_types(types: &[u64], tokens: usize) -> Result<Vec<u32>, Problem> {
    if types.len() != tokens {
        return Err(Problem::TypesLength {
            tokens,
            types: types.len(),
        });
    }
    let checked = types
        .iter()
        .enumerate()
        .map(|(index, found)| match u32::try_from(*found) {
            Ok(kind @ 1..=6) => Ok(kind),
            _ => Err(Problem::TokenType { index, found: *found }),
        });
    checked.collect()
}

/// Byte-level BPE cannot work without merges; other tokenizers may have none.
fn read_merges(metadata: &Metadata, model: &str) -> Result<Vec<String>, GgufError> {
    const KEY: &str = "tokenizer.ggml.merges";
    let merges = match model {
        "gpt2" => metadata.texts(KEY)?,
        _ => metadata.opt_texts(KEY)?.unwrap_or_default(),
    };
    let is_pair = |merge: &str| {
        merge
            .split_once(' ')
            .is_some_and(|(left, right)| !left.is_empty() && !right.is_empty() && !right.contains(' '))
    };
    if let Some((index, merge)) = merges.iter().enumerate().find(|(_, merge)| !is_pair(merge)) {
        return Err(metadata.refuse(Problem::Merge {
            index,
            merge: Quoted::new(merge),
        }));
    }
    Ok(merges.to_vec())
}

/// Ids in the metadata, read against a vocabulary of `tokens` tokens.
struct SpecialIds<'a> {
    metadata: &'a Metadata,
    tokens: usize,
}

impl SpecialIds<'_> {
    fn get(&self, key: &'static str) -> Result<Option<u32>, GgufError> {
        let Some(value) = self.metadata.get(key) else {
            return Ok(None);
        };
        let id = value
            .as_unsigned()
            .ok_or_else(|| self.out_of_range(key, value.kind()))?;
        self.checked(key, id).map(Some)
    }

    /// The end token and the others that end a reply. Ollama writes further ones as an array.
    fn end_tokens(&self, eos: u32) -> Result<Vec<u32>, GgufError> {
        const FURTHER: &str = "tokenizer.ggml.eos_token_ids";
        let mut ends = vec![eos];
        ends.extend(self.get("tokenizer.ggml.eot_token_id")?);
        ends.extend(self.get("tokenizer.ggml.eom_token_id")?);
        for id in self.metadata.opt_unsigneds(FURTHER)?.unwrap_or_default() {
            ends.push(self.checked(FURTHER, id)?);
        }
        ends.sort_unstable();
        ends.dedup();
        Ok(ends)
    }

    fn checked(&self, key: &'static str, id: u64) -> Result<u32, GgufError> {
        match u32::try_from(id) {
            Ok(small) if id < self.tokens as u64 => Ok(small),
            _ => Err(self.out_of_range(key, id.to_string())),
        }
    }

    fn out_of_range(&self, key: &'static str, found: String) -> GgufError {
        self.metadata.refuse(Problem::TokenId {
            key,
            found,
            last: self.tokens.saturating_sub(1),
        })
    }
}
