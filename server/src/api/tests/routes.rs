//! Addresses, methods, models, tokens, health.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use super::kit::{Kit, get, hi, post, posting, send};

#[tokio::test]
async fn the_model_is_listed_and_found_by_each_of_its_names() {
    let app = Kit::default().start();
    let model = json!({
        "id": "tandem-test", "object": "model", "created": 1_700_000_000, "owned_by": "tandem", "max_model_len": 256,
    });
    for path in ["/v1/models", "/models"] {
        assert_eq!(get(&app, path).await.json(), json!({"object": "list", "data": [model]}));
    }
    for name in ["tandem-test", "default", "test"] {
        assert_eq!(get(&app, &format!("/v1/models/{name}")).await.json(), model);
        let answer = post(&app, "/v1/chat/completions", &hi(&format!("\"model\":\"{name}\""))).await;
        assert_eq!(answer.json()["model"], name);
    }
}

#[tokio::test]
async fn an_unknown_model_is_a_404_that_lists_the_names() {
    let app = Kit::default().start();
    let answers = [
        get(&app, "/v1/models/gpt-4o").await,
        get(&app, "/v1/models/deepseek-ai/other").await,
        get(&app, "/v1/models/%ff").await,
        post(&app, "/v1/chat/completions", &hi("\"model\":\"gpt-4o\"")).await,
        post(&app, "/v1/completions", r#"{"model":"gpt-4o","prompt":"a"}"#).await,
        post(&app, "/tokenize", r#"{"model":"gpt-4o","prompt":"a"}"#).await,
    ];
    for answer in answers {
        assert_eq!(
            (answer.status.as_u16(), answer.error_code().as_str()),
            (404, "model_not_found")
        );
        assert!(
            answer.body.contains("tandem-test") && answer.body.contains("default"),
            "{}",
            answer.body
        );
    }
}

#[tokio::test]
async fn unknown_addresses_and_wrong_methods_are_told_so_in_json() {
    let app = Kit::default().start();
    for path in [
        "/v1",
        "/v1/embeddings",
        "/v1/chat/completions/",
        "//v1/models",
        "/%2e%2e/x",
        "/apis",
    ] {
        let answer = get(&app, path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.error_code().as_str()),
            (404, "unknown_url"),
            "{path}"
        );
        assert!(answer.body.contains("/v1/chat/completions"));
    }
    let kept = get(&app, "/v1/responses/resp_1").await;
    assert_eq!((kept.status.as_u16(), kept.error_code().as_str()), (404, "unknown_url"));
    assert!(kept.body.contains("not kept"), "{}", kept.body);
    for (path, allowed) in [("/v1/chat/completions", "POST"), ("/tokenize", "POST")] {
        let answer = get(&app, path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.error_code().as_str()),
            (405, "method_not_allowed")
        );
        assert_eq!(answer.header("allow"), allowed);
    }
    let answer = post(&app, "/v1/models", "{}").await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "GET,HEAD"));
}

#[tokio::test]
async fn every_answer_carries_a_request_id_and_keeps_a_plain_one() {
    let app = Kit::default().start();
    let request = Request::get("/nowhere")
        .header("x-request-id", "abc-1")
        .body(Body::empty())
        .unwrap();
    assert_eq!(send(&app, request).await.header("x-request-id"), "abc-1");
    for path in ["/", "/livez", "/v1/models", "/nowhere", "/tokenize"] {
        assert_eq!(get(&app, path).await.header("x-request-id").len(), 36);
    }
}

#[tokio::test]
async fn tokens_come_and_go_between_text_and_ids() {
    let app = Kit::default().start();
    let tokenized = post(&app, "/tokenize", r#"{"prompt":"h你"}"#).await.json();
    assert_eq!(
        tokenized,
        json!({"tokens": [259, 104, 228, 189, 160], "count": 5, "max_model_len": 256})
    );
    let bare = post(&app, "/tokenize", r#"{"prompt":"h你","add_special_tokens":false}"#)
        .await
        .json();
    assert_eq!(
        (&bare["tokens"], &bare["count"]),
        (&json!([104, 228, 189, 160]), &json!(4))
    );
    let text = post(&app, "/detokenize", r#"{"tokens":[104,228,189,160,261]}"#)
        .await
        .json();
    assert_eq!(text, json!({"prompt": "h你</think>"}));
    assert_eq!(
        post(&app, "/detokenize", r#"{"tokens":[]}"#).await.json(),
        json!({"prompt": ""})
    );
    let chat = post(&app, "/tokenize", &hi("")).await.json();
    assert_eq!(chat["tokens"], json!([259, 257, 104, 105, 258, 260, 10]));
}

#[tokio::test]
async fn tokens_that_cannot_be_are_refused() {
    let app = Kit::default().start();
    for (path, body, param) in [
        ("/tokenize", "{}", "prompt"),
        ("/tokenize", r#"{"prompt":["a"]}"#, "prompt"),
        (
            "/tokenize",
            r#"{"prompt":"a","add_special_tokens":1}"#,
            "add_special_tokens",
        ),
        ("/tokenize", r#"{"messages":[]}"#, "messages"),
        ("/detokenize", "{}", "tokens"),
        ("/detokenize", r#"{"tokens":"a"}"#, "tokens"),
        ("/detokenize", r#"{"tokens":["a"]}"#, "tokens"),
        ("/detokenize", r#"{"tokens":[[1]]}"#, "tokens"),
        ("/detokenize", r#"{"tokens":[1,262]}"#, "tokens[1]"),
        ("/detokenize", r#"{"tokens":[1,-1]}"#, "tokens[1]"),
    ] {
        let answer = post(&app, path, body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.error_code().as_str()),
            (400, "invalid_value"),
            "{path} {body}"
        );
        assert_eq!(answer.json()["error"]["param"], param, "{path} {body}");
    }
}

#[tokio::test]
async fn health_tells_alive_from_ready_from_leaving() {
    let app = Kit::default().start();
    let ready = json!({"status": "ready", "engines": [{"index": 0, "name": "cpu", "state": "ready"}]});
    for path in ["/readyz", "/health"] {
        let answer = get(&app, path).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, ready.clone()));
    }
    app.drain.begin();
    assert_eq!(get(&app, "/livez").await.status, 200);
    let leaving = get(&app, "/readyz").await;
    assert_eq!(
        (leaving.status.as_u16(), &leaving.json()["status"]),
        (503, &json!("draining"))
    );
}

#[tokio::test]
async fn the_root_and_the_metrics_answer_in_text() {
    let app = Kit::default().start();
    let root = get(&app, "/").await;
    assert_eq!((root.status.as_u16(), root.body.as_str()), (200, "Ollama is running"));
    post(&app, "/v1/chat/completions", &hi("")).await;
    let metrics = get(&app, "/metrics").await;
    assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
    for line in [
        "vllm:request_success_total{finished_reason=\"stop\",model_name=\"tandem-test\"} 1",
        "vllm:time_to_first_token_seconds_count{model_name=\"tandem-test\"} 1",
        "vllm:inter_token_latency_seconds_count{model_name=\"tandem-test\"} 11",
        "tandem_tokens_total{model=\"tandem-test\",type=\"output\"} 13",
        "tandem_tokens_total{model=\"tandem-test\",type=\"reasoning\"} 4",
    ] {
        assert!(metrics.body.contains(line), "{line} is not in\n{}", metrics.body);
    }
}

#[tokio::test]
async fn the_content_type_must_be_json_and_the_refusal_names_the_header() {
    let app = Kit::default().start();
    let curl = Request::post("/v1/chat/completions").header("content-type", "application/x-www-form-urlencoded");
    let answer = send(&app, curl.body(Body::from(hi(""))).unwrap()).await;
    assert_eq!(
        (answer.status.as_u16(), answer.error_code().as_str()),
        (415, "unsupported_media_type")
    );
    assert!(
        answer.body.contains("Content-Type: application/json"),
        "{}",
        answer.body
    );
    let mut charset = posting("/v1/chat/completions", hi(""));
    charset
        .headers_mut()
        .insert("content-type", "application/json; charset=utf-8".parse().unwrap());
    assert_eq!(send(&app, charset).await.status, 200);
}

#[tokio::test]
async fn a_handler_that_panics_is_a_500_in_json_with_the_requests_id() {
    async fn broken() -> &'static str {
        panic!("on purpose")
    }
    let layer = axum::middleware::from_fn(crate::http::name_and_contain);
    let router = axum::Router::new().route("/", axum::routing::get(broken)).layer(layer);
    let request = Request::get("/")
        .header("x-request-id", "abc-1")
        .body(Body::empty())
        .unwrap();
    let response = tower::ServiceExt::oneshot(router, request).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["x-request-id"]),
        (500, &"abc-1".parse().unwrap())
    );
    assert_eq!(response.headers()["content-type"], "application/json");
}
