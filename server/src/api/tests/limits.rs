//! Too much, too many, too late.

use std::sync::Arc;

use axum::body::Body;

use super::kit::{Gate, Kit, begin, hi, post, posting, send, until};

const PATH: &str = "/v1/chat/completions";

#[tokio::test]
async fn a_full_queue_is_a_429_that_says_when_to_come_back() {
    let gate = Arc::new(Gate::default());
    let app = Kit {
        gate: Some(gate.clone()),
        slots: 1,
        queue_jobs_max: 1,
        ..Kit::default()
    }
    .start();
    let running = begin(&app, posting(PATH, hi("\"stream\":true"))).await;
    let waiting = begin(&app, posting(PATH, hi("\"stream\":true"))).await;
    assert_eq!((running.status().as_u16(), waiting.status().as_u16()), (200, 200));
    let answer = post(&app, PATH, &hi("")).await;
    assert_eq!(
        (answer.status.as_u16(), answer.error_code().as_str()),
        (429, "server_overloaded")
    );
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    let more = post(&app, PATH, &hi("\"n\":3")).await;
    assert_eq!(
        (more.status.as_u16(), more.error_code().as_str()),
        (400, "invalid_value"),
        "it never fits"
    );
    drop((running, waiting));
    gate.let_steps(usize::MAX);
    until(|| {
        app.roster.loaded()[0].engines.status()[0].running + app.roster.loaded()[0].engines.status()[0].waiting == 0
    })
    .await;
    assert_eq!(post(&app, PATH, &hi("")).await.status, 200);
}

#[tokio::test]
async fn a_leaving_server_refuses_and_closes() {
    let app = Kit::default().start();
    app.drain.begin();
    for path in [PATH, "/v1/completions"] {
        let body = if path == PATH {
            hi("")
        } else {
            r#"{"prompt":"a"}"#.to_owned()
        };
        let answer = post(&app, path, &body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.error_code().as_str()),
            (503, "server_shutting_down")
        );
        assert_eq!(
            (answer.header("retry-after"), answer.header("connection")),
            ("1", "close")
        );
    }
}

#[tokio::test]
async fn stopped_engines_are_a_503() {
    let app = Kit::default().start();
    app.roster.loaded()[0].engines.stop();
    assert_eq!(post(&app, PATH, &hi("")).await.status, 503);
}

#[tokio::test]
async fn bodies_are_taken_up_to_the_limit_on_every_endpoint() {
    let app = Kit {
        context_tokens: 100_000,
        ..Kit::default()
    }
    .start();
    let limit = app.limits.body_bytes_max;
    for path in [PATH, "/v1/completions", "/tokenize", "/detokenize"] {
        let bare = match path {
            PATH => hi(""),
            "/detokenize" => r#"{"tokens":[104]}"#.to_owned(),
            _ => r#"{"prompt":"a"}"#.to_owned(),
        };
        for bytes in [bare.len(), 1 << 10, 16 << 10, limit - 1, limit, limit + 1, 2 * limit] {
            let answer = post(&app, path, &format!("{bare}{}", " ".repeat(bytes - bare.len()))).await;
            let expected = if bytes <= limit { 200 } else { 413 };
            assert_eq!(answer.status, expected, "{path} {bytes}: {}", answer.body);
            if expected == 413 {
                assert_eq!(answer.error_code(), "request_too_large");
            }
        }
    }
}

#[tokio::test]
async fn hostile_requests_are_refused_and_the_server_serves_on() {
    let app = Kit::default().start();
    let deep = format!("{{\"messages\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    let deep_tools = hi(&format!(
        "\"tools\":[{{\"a\":{}{}}}]",
        "[".repeat(20_000),
        "]".repeat(20_000)
    ));
    let many_stops = hi(&format!("\"stop\":[{}]", vec!["\"x\""; 10_000].join(",")));
    let many_messages = format!("{{\"messages\":[{}]}}", vec!["{}"; 20_000].join(","));
    let bodies: Vec<Vec<u8>> = [
        "",
        "{",
        "[]",
        "null",
        "{\"messages\":[{}]}",
        "{\"messages\":{}}",
        "\u{feff}",
        "{\"messages\":[],\"messages\":[]}",
        &deep,
        &deep_tools,
        &many_stops,
        &many_messages,
        &hi("\"n\":1000000000"),
        &hi("\"n\":100"),
        &hi("\"best_of\":5"),
        &hi("\"temperature\":1e400"),
        &hi("\"temperature\":\"NaN\""),
        &hi("\"temperature\":NaN"),
        &hi("\"seed\":1e308"),
        &hi("\"logit_bias\":{\"99999999999999999999\":1}"),
        &hi("\"response_format\":{\"type\":\"json_schema\"}"),
        "{\"messages\":[{\"role\":\"user\",\"content\":\"\\ud800\"}]}",
    ]
    .iter()
    .map(|body| body.as_bytes().to_vec())
    .chain([b"{\"messages\":\"\xff\"}".to_vec(), vec![0; 100]])
    .collect();
    for body in bodies {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let answer = send(&app, posting(PATH, Body::from(body))).await;
        assert_eq!(answer.status, 400, "{shown}: {}", answer.body);
        answer.error_code();
    }
    assert_eq!(post(&app, PATH, &hi("")).await.status, 200);
}

#[tokio::test]
async fn odd_but_legal_requests_are_answered() {
    let app = Kit::default().start();
    let conversation = |text: &str| format!("{{\"messages\":[{{\"role\":\"user\",\"content\":\"{text}\"}}]}}");
    for body in [
        conversation(""),
        conversation("\\u0000"),
        conversation("\\ud83d\\ude00"),
        conversation("\u{2028}"),
        format!("\u{feff}{}", conversation("a")),
        "{\"messages\":[{\"role\":\"assistant\",\"content\":null}]}".to_owned(),
        hi("\"max_tokens\":9223372036854775807,\"unknown\":[[[1]]],\"user\":7"),
        hi("\"temperature\":0,\"top_p\":1,\"top_k\":-1,\"seed\":-1,\"logit_bias\":{\"261\":100}"),
    ] {
        let answer = post(&app, PATH, &body).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.body);
    }
}
