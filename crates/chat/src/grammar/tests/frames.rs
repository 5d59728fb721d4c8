//! The thought before the JSON, the end after it, and copies.

use serde_json::{Value, json};

use super::{Dice, allowed, tokenizer, walk};
use crate::testing::{chatml, special};
use crate::{Grammar, Permit, Piece, ReplyDecoder, Start, Tokenizer};

fn schema() -> Value {
    json!({ "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"], "additionalProperties": false })
}

fn say(tokenizer: &Tokenizer, state: &mut crate::GrammarState, text: &str) {
    for byte in text.bytes() {
        let token = (0..256).find(|id| tokenizer.token_bytes(*id) == [byte]).unwrap();
        state.accept(token).unwrap();
    }
}

#[test]
fn a_grammar_can_be_sent_to_other_threads() {
    fn is_sent<T: Send + Sync>() {}
    is_sent::<Grammar>();
    is_sent::<crate::GrammarState>();
}

#[test]
fn the_thought_is_free_and_the_answer_is_not() {
    let tokenizer = tokenizer();
    let grammar = Grammar::json_schema(&tokenizer, &schema()).unwrap();
    for seed in 1..50 {
        let mut state = grammar.begin(Start::Thought);
        let mut decoder = ReplyDecoder::new(&tokenizer, Start::Thought, &[]);
        let close = special(&tokenizer, "</think>");
        let mut said = tokenizer.encode("so: {\"n\": \"no\"} hello").unwrap();
        for token in &said {
            assert_eq!(state.allow().unwrap(), Permit::Anything);
            state.accept(*token).unwrap();
        }
        state.accept(close).unwrap();
        said.push(close);
        said.extend(walk(&tokenizer, &mut state, &mut Dice::new(seed), 300).unwrap());
        let mut pieces: Vec<Piece> = said.iter().flat_map(|token| decoder.push(*token)).collect();
        pieces.extend(decoder.finish());
        let answer: String = pieces
            .into_iter()
            .filter_map(|piece| {
                if let Piece::Answer(text) = piece {
                    Some(text)
                } else {
                    None
                }
            })
            .collect();
        assert!(answer.starts_with('{'), "{answer:?}");
        let value: Value = serde_json::from_str(&answer).unwrap();
        assert!(
            value["n"].is_i64() || value["n"].is_u64() || value["n"].is_f64(),
            "{answer}"
        );
    }
}

#[test]
fn white_space_may_stand_between_thought_and_answer_but_not_for_ever() {
    let tokenizer = tokenizer();
    let mut state = Grammar::json_object(&tokenizer).unwrap().begin(Start::Thought);
    state.accept(special(&tokenizer, "</think>")).unwrap();
    let newline = u32::from(b'\n');
    let is_open = |state: &mut crate::GrammarState| allowed(&tokenizer, state).unwrap().0.contains(&newline);
    assert!(is_open(&mut state));
    state.accept(newline).unwrap();
    assert!(is_open(&mut state));
    state.accept(newline).unwrap();
    assert!(!is_open(&mut state));
    let (tokens, end) = allowed(&tokenizer, &mut state).unwrap();
    assert!(tokens.contains(&u32::from(b'{')) && !end);
    assert!(!is_open(
        &mut Grammar::json_object(&tokenizer).unwrap().begin(Start::Answer)
    ));
}

#[test]
fn a_thought_marked_by_words_ends_at_its_word_however_tokens_cut_it() {
    let tokenizer = chatml(false);
    for text in ["hm </think>", "</think></think>", "</</think>\n", "a</think> "] {
        let mut state = Grammar::json_object(&tokenizer).unwrap().begin(Start::Thought);
        let (before, after) = text.split_at(text.find("k>").unwrap() + 1);
        say(&tokenizer, &mut state, before);
        assert_eq!(state.allow().unwrap(), Permit::Anything);
        say(&tokenizer, &mut state, &after[..1]);
        assert_ne!(state.allow().unwrap(), Permit::Anything, "{text}");
    }
}

#[test]
fn it_may_end_where_the_json_is_whole_and_must_where_nothing_more_fits() {
    let tokenizer = tokenizer();
    let mut state = Grammar::json_schema(&tokenizer, &schema())
        .unwrap()
        .begin(Start::Answer);
    say(&tokenizer, &mut state, "{\"n\": 12");
    assert!(!allowed(&tokenizer, &mut state).unwrap().1);
    say(&tokenizer, &mut state, "}");
    let (tokens, end) = allowed(&tokenizer, &mut state).unwrap();
    assert!(end && tokens.iter().all(|token| tokenizer.space_tokens().contains(token)));
    let mut number = Grammar::json_schema(&tokenizer, &json!({ "enum": [1, 12] }))
        .unwrap()
        .begin(Start::Answer);
    say(&tokenizer, &mut number, "1");
    let (tokens, end) = allowed(&tokenizer, &mut number).unwrap();
    assert!(end && tokens.contains(&u32::from(b'2')));
}

#[test]
fn special_tokens_are_never_allowed() {
    let tokenizer = tokenizer();
    let grammar = Grammar::json_schema(&tokenizer, &json!({ "type": "string" })).unwrap();
    let mut state = grammar.begin(Start::Answer);
    say(&tokenizer, &mut state, "\"<");
    let (tokens, _) = allowed(&tokenizer, &mut state).unwrap();
    assert!(tokens.len() > 100);
    for text in tokenizer.special_texts() {
        assert!(!tokens.contains(&special(&tokenizer, text)), "{text}");
    }
}

#[test]
fn a_copy_goes_its_own_way() {
    let tokenizer = tokenizer();
    let mut one = Grammar::json_schema(&tokenizer, &schema())
        .unwrap()
        .begin(Start::Answer);
    say(&tokenizer, &mut one, "{\"n\":");
    let mut other = one.clone();
    say(&tokenizer, &mut one, "1}");
    say(&tokenizer, &mut other, "-");
    assert!(allowed(&tokenizer, &mut one).unwrap().1);
    assert!(!allowed(&tokenizer, &mut other).unwrap().1);
    assert!(
        other.accept(u32::from(b'x')).is_err(),
        "what was not allowed is an error"
    );
}
