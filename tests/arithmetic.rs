//! What the tiny model was trained for: small sums it has never seen, and a question that needs the turn before.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::json;

use crate::support::*;

/// Pairs of numbers kept out of training, one pair a line.
const HELD_OUT: &str = include_str!("../models/tiny/held_out.txt");

fn wording(index: usize, a: u32, b: u32) -> String {
    match index % 6 {
        0 => format!("What is {a} + {b}?"),
        1 => format!("How much is {a} plus {b}?"),
        2 => format!("Please add {a} and {b}."),
        3 => format!("{a}+{b}=?"),
        4 => format!("{a}加{b}等于多少？"),
        _ => format!("计算{a}+{b}"),
    }
}

/// Whether the last number in `text` is `number`.
fn ends_in_number(text: &str, number: u32) -> bool {
    let mut numbers = text
        .split(|c: char| !c.is_ascii_digit())
        .filter(|digits| !digits.is_empty());
    numbers.next_back() == Some(&number.to_string())
}

#[test]
fn at_least_95_percent_of_500_unseen_sums_are_right() {
    let pairs: Vec<(u32, u32)> = HELD_OUT
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split_once(' ').expect("two numbers"))
        .map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap()))
        .collect();
    assert_eq!(pairs.len(), 500);

    let server = Server::start();
    let next = AtomicUsize::new(0);
    let right = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut connection = server.connect();
                while let index = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(&(a, b)) = pairs.get(index)
                {
                    let request = chat(&wording(index, a, b)).to_string();
                    let answer = answer(&connection.post(CHAT, request.as_bytes()).ok());
                    if ends_in_number(&answer.text, a + b) && !answer.thought.is_empty() {
                        right.fetch_add(1, Ordering::Relaxed);
                    } else {
                        eprintln!("{a} + {b} is not {answer:?}");
                    }
                }
            });
        }
    });
    let right = right.into_inner();
    assert!(right >= 475, "{right} of 500 right");
}

#[test]
fn a_follow_up_is_understood_from_the_turn_before() {
    let server = Server::start();
    let follow_up = |question: &str, then: &str| {
        let first = answer(&server.post(CHAT, &chat(question)).ok());
        let messages = json!([
            {"role": "user", "content": question}, {"role": "assistant", "content": first.text},
            {"role": "user", "content": then}
        ]);
        answer(&server.post(CHAT, &with(chat(""), json!({"messages": messages}))).ok()).text
    };
    let english = follow_up("What is 12 + 30?", "and plus 5?");
    assert!(ends_in_number(&english, 47), "{english}");
    let chinese = follow_up("20加15等于多少？", "再加5呢？");
    assert!(ends_in_number(&chinese, 40), "{chinese}");
}

#[test]
fn a_cache_of_eight_bits_still_adds() {
    let server = Server::with_environment(&[], &[("TANDEM_KV", "q8_0")]);
    let said = server.said();
    assert!(
        said.contains("q8_0"),
        "the start-up lines do not say how the cache is stored:\n{said}"
    );
    for (index, (a, b)) in [(12, 30), (7, 8), (45, 54), (99, 1), (13, 29), (55, 45)]
        .into_iter()
        .enumerate()
    {
        let request = with(chat(&wording(index, a, b)), json!({"temperature": 0}));
        let answer = answer(&server.post(CHAT, &request).ok());
        assert!(ends_in_number(&answer.text, a + b), "{a} + {b} is not {answer:?}");
    }
}

#[test]
fn hello_is_greeted() {
    let server = Server::start();
    let english = answer(&server.post(CHAT, &chat("hello")).ok());
    assert!(
        !english.thought.is_empty() && english.text.contains("Hello"),
        "{english:?}"
    );
    let chinese = answer(&server.post(CHAT, &chat("你好")).ok());
    assert!(
        !chinese.thought.is_empty() && chinese.text.contains("你好"),
        "{chinese:?}"
    );
}
