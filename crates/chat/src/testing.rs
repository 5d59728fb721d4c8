//! A small vocabulary for this room's tests.

use std::sync::LazyLock;

use crate::vocabulary::ByteAlphabet;
use crate::{Tokenizer, Vocabulary};

/// The special tokens of [`deepseek`], which follow the 256 bytes and the merges' results.
pub(crate) const DEEPSEEK_SPECIALS: [(&str, u32); 9] = [
    ("<｜end▁of▁sentence｜>", 3),
    ("<｜User｜>", 3),
    ("<｜Assistant｜>", 3),
    ("<｜begin▁of▁sentence｜>", 3),
    ("<think>", 4),
    ("</think>", 4),
    ("<tool_call>", 4),
    ("<|fim_prefix|>", 3),
    ("[PAD0]", 5),
];

const MERGES: [(&str, &str); 8] = [
    ("Ġ", "Ġ"),
    ("h", "e"),
    ("l", "l"),
    ("he", "ll"),
    ("hell", "o"),
    ("Ġ", "hello"),
    ("1", "2"),
    ("Ċ", "Ċ"),
];

/// A vocabulary of all bytes, a few merges and `specials` (text, type); `bos` and `eos` are found by text.
pub(crate) fn vocabulary(pre: &str, specials: &[(&str, u32)], bos: Option<&str>, eos: &str) -> Vocabulary {
    let alphabet = ByteAlphabet::new();
    let mut tokens: Vec<String> = (0..=u8::MAX).map(|byte| alphabet.letter(byte).to_string()).collect();
    tokens.extend(MERGES.iter().map(|(left, right)| format!("{left}{right}")));
    let mut types = vec![1; tokens.len()];
    tokens.extend(specials.iter().map(|(text, _)| (*text).to_owned()));
    types.extend(specials.iter().map(|(_, kind)| *kind));
    let find = |text: &str| u32::try_from(tokens.iter().position(|token| token == text).unwrap()).unwrap();
    let (bos, eos) = (bos.map(find), find(eos));
    Vocabulary {
        model: "gpt2".into(),
        pre: pre.into(),
        tokens,
        types,
        merges: MERGES.iter().map(|(left, right)| format!("{left} {right}")).collect(),
        bos,
        eos,
        end_tokens: vec![eos],
        add_bos: bos.is_some(),
        add_eos: false,
    }
}

/// A vocabulary of the DeepSeek-R1 family.
pub(crate) fn deepseek() -> Tokenizer {
    static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| Tokenizer::new(deepseek_vocabulary()).unwrap());
    TOKENIZER.clone()
}

/// The same before it is checked.
pub(crate) fn deepseek_vocabulary() -> Vocabulary {
    vocabulary(
        "deepseek-r1-qwen",
        &DEEPSEEK_SPECIALS,
        Some("<｜begin▁of▁sentence｜>"),
        "<｜end▁of▁sentence｜>",
    )
}

/// A vocabulary in ChatML style; `thinks` adds the think tags.
pub(crate) fn chatml(thinks: bool) -> Tokenizer {
    static THINKS: LazyLock<Tokenizer> = LazyLock::new(|| build_chatml(&CHATML_SPECIALS));
    static TALKS: LazyLock<Tokenizer> = LazyLock::new(|| build_chatml(&CHATML_SPECIALS[..3]));
    if thinks { THINKS.clone() } else { TALKS.clone() }
}

const CHATML_SPECIALS: [(&str, u32); 5] = [
    ("<|endoftext|>", 3),
    ("<|im_start|>", 3),
    ("<|im_end|>", 3),
    ("<think>", 4),
    ("</think>", 4),
];

fn build_chatml(specials: &[(&str, u32)]) -> Tokenizer {
    Tokenizer::new(vocabulary("qwen2", specials, None, "<|im_end|>")).unwrap()
}

const LLAMA_SPECIALS: [(&str, u32); 4] = [
    ("<|begin_of_text|>", 3),
    ("<|start_header_id|>", 3),
    ("<|end_header_id|>", 3),
    ("<|eot_id|>", 3),
];

/// A vocabulary in Llama 3's style.
pub(crate) fn llama() -> Tokenizer {
    static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
        Tokenizer::new(vocabulary(
            "llama-bpe",
            &LLAMA_SPECIALS,
            Some("<|begin_of_text|>"),
            "<|eot_id|>",
        ))
        .unwrap()
    });
    TOKENIZER.clone()
}

/// The id of a special token.
pub(crate) fn special(tokenizer: &Tokenizer, text: &str) -> u32 {
    tokenizer.specials().find(text).unwrap()
}
