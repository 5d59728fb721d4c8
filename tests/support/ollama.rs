//! Requests to Ollama's API for model files, and its way to refuse.

use serde_json::{Value, json};

use super::server::Server;
use super::store::Store;

/// The tiny model beside the store.
pub(crate) fn serve(store: &Store, arguments: &[&str]) -> Server {
    store.serve_with("tiny", arguments)
}

/// What `/api/show` tells.
pub(crate) fn show(server: &Server, name: &str) -> Value {
    server.post("/api/show", &json!({"model": name})).ok()
}

/// The names of the list, the latest first.
pub(crate) fn names(server: &Server) -> Vec<String> {
    let tags = server.get("/api/tags").ok();
    let models = tags["models"].as_array().unwrap().iter();
    models.map(|model| model["name"].as_str().unwrap().to_owned()).collect()
}

/// A refusal as Ollama's clients read it: one string, without a path of this machine.
pub(crate) fn check_refused(reply: &Answered, status: u16, words: &[&str]) {
    let body = &reply.body;
    assert_eq!(reply.status, status, "{body}");
    let object: Value = serde_json::from_str(body).unwrap();
    let text = object["error"].as_str().unwrap_or_else(|| panic!("not a text: {body}"));
    assert_eq!(object.as_object().unwrap().len(), 1, "{body}");
    for word in words {
        assert!(text.contains(word), "{text:?} should speak of {word:?}");
    }
    assert!(!text.contains("/tmp") && !text.contains("blobs/"), "a path: {text}");
}

/// What came back.
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// A request of any method, without a content type, as `curl` would send it.
pub(crate) fn request(server: &Server, method: &str, path: &str, body: &[u8]) -> Answered {
    let mut connection = server.connect();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    connection.write(&[head.as_bytes(), body].concat());
    if method == "HEAD" {
        let status = connection.interim();
        return Answered {
            status,
            body: String::new(),
        };
    }
    let reply = connection.reply();
    Answered {
        status: reply.status,
        body: reply.text(),
    }
}

/// The same with JSON.
pub(crate) fn send(server: &Server, method: &str, path: &str, body: &Value) -> Answered {
    request(server, method, path, body.to_string().as_bytes())
}

/// The objects of a stream.
pub(crate) fn lines(answered: &Answered) -> Vec<Value> {
    assert_eq!(answered.status, 200, "{}", answered.body);
    answered
        .body
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The steps that a stream tells of.
pub(crate) fn statuses(answered: &Answered) -> Vec<String> {
    let lines = lines(answered);
    let status = |line: &Value| line["status"].as_str().unwrap_or_else(|| panic!("{line}")).to_owned();
    lines.iter().map(status).collect()
}
