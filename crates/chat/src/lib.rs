//! Text to tokens and back: prompt templates, the tokenizer, the reply decoder.
