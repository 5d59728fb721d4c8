//! `/api/chat` and `/api/generate` as Ollama's clients know them.

use serde_json::{Value, json};

use crate::support::*;

const OLLAMA_CHAT: &str = "/api/chat";
const GENERATE: &str = "/api/generate";

/// LobeChat's request to Ollama, to the letter but for the text.
fn lobechat(text: &str) -> Value {
    json!({
        "messages": [{"content": text, "role": "user"}], "model": "deepseek-r1:32b",
        "options": {"frequency_penalty": 0, "presence_penalty": 0, "temperature": 0.5, "top_p": 1}, "stream": true
    })
}

/// A greedy request that is answered whole.
fn whole(text: &str) -> Value {
    with(lobechat(text), json!({"stream": false, "options": {"temperature": 0}}))
}

fn prompt(text: &str) -> Value {
    json!({"model": "deepseek-r1:32b", "prompt": text, "stream": false, "options": {"temperature": 0}})
}

fn lines(server: &Server, path: &str, body: &Value) -> Vec<Value> {
    let mut connection = server.connect();
    connection.send_post(path, body.to_string().as_bytes());
    connection.lines().collect()
}

/// What LobeChat makes of a chat's lines: a line with a thought is nothing else, a tag in the text turns the page.
fn read_like_lobechat(lines: &[Value]) -> Answer {
    let mut answer = Answer {
        thought: String::new(),
        text: String::new(),
        finish: String::new(),
    };
    let mut is_thought = false;
    for line in lines {
        assert_eq!(answer.finish, "", "a line after the end: {line}");
        let message = &line["message"];
        let content = message["content"].as_str().unwrap_or_else(|| panic!("no text: {line}"));
        if let Some(thought) = message.get("thinking") {
            answer.thought.push_str(thought.as_str().unwrap());
            assert_eq!((content, &line["done"]), ("", &json!(false)), "lost: {line}");
        } else if content.contains("<think>") {
            assert_eq!(content, "<think>\n", "text beside a tag is lost");
            is_thought = true;
        } else if content.contains("</think>") {
            assert_eq!(content, "\n</think>\n\n", "text beside a tag is lost");
            is_thought = false;
        } else if is_thought {
            answer.thought.push_str(content);
        } else {
            answer.text.push_str(content);
        }
        if line["done"] == true {
            assert_eq!(content, "", "text in the last line is lost: {line}");
            answer.finish = line["done_reason"].as_str().unwrap().to_owned();
        }
    }
    answer
}

#[test]
fn lobechats_request_is_answered_so_that_thought_and_answer_land_in_their_places() {
    let server = Server::start();
    let greedy = with(lobechat(ADD_PROGRAM), json!({"options": {"temperature": 0}}));
    let expected = answer(&server.post(CHAT, &chat(ADD_PROGRAM)).ok());
    assert_eq!(read_like_lobechat(&lines(&server, OLLAMA_CHAT, &greedy)), expected);
    let warm = read_like_lobechat(&lines(&server, OLLAMA_CHAT, &lobechat(ADD_PROGRAM)));
    assert!(
        !warm.thought.is_empty() && !warm.text.is_empty() && warm.finish == "stop",
        "{warm:?}"
    );
}

#[test]
fn think_shows_the_thought_apart_or_leaves_it_out() {
    let server = Server::start();
    let expected = answer(&server.post(CHAT, &chat(ADD_PROGRAM)).ok());
    for think in [json!(true), json!("medium")] {
        let asked = with(
            lobechat(ADD_PROGRAM),
            json!({"think": think, "options": {"temperature": 0}}),
        );
        let found = lines(&server, OLLAMA_CHAT, &asked);
        assert!(found[0]["message"]["thinking"].is_string(), "{}", found[0]);
        assert_eq!(read_like_lobechat(&found), expected);
    }
    for request in [
        with(whole("hello"), json!({"think": false})),
        with(whole("hello"), json!({"model": "deepseek-r1:32b:nothink"})),
    ] {
        let reply = server.post(OLLAMA_CHAT, &request).ok();
        let message = &reply["message"];
        assert!(message.get("thinking").is_none(), "{reply}");
        let text = message["content"].as_str().unwrap();
        assert!(!text.is_empty() && !text.contains("think>"), "{reply}");
    }
    let split = Server::with(&["--ollama-think", "split"]);
    assert_eq!(
        read_like_lobechat(&lines(&split, OLLAMA_CHAT, &lobechat("hello"))).finish,
        "stop"
    );
    let message = split.post(OLLAMA_CHAT, &whole(ADD_PROGRAM)).ok()["message"].clone();
    assert_eq!(
        (&message["thinking"], &message["content"]),
        (&json!(expected.thought), &json!(expected.text))
    );
}

#[test]
fn durations_are_in_nanoseconds_and_add_up() {
    let server = Server::start();
    for (path, request) in [(OLLAMA_CHAT, whole(ADD_PROGRAM)), (GENERATE, prompt(ADD_PROGRAM))] {
        let streamed = lines(&server, path, &with(request.clone(), json!({"stream": true})));
        let (last, rest) = streamed.split_last().unwrap();
        for reply in [&server.post(path, &request).ok(), last] {
            let count = |name: &str| reply[name].as_u64().unwrap_or_else(|| panic!("no {name}: {reply}"));
            let parts = count("load_duration") + count("prompt_eval_duration") + count("eval_duration");
            assert!(
                parts <= count("total_duration") && count("eval_duration") > 0,
                "{reply}"
            );
            assert!(count("prompt_eval_count") > 4 && count("eval_count") > 20, "{reply}");
        }
        for line in rest {
            let said = if path == GENERATE { "response" } else { "message" };
            assert!(
                line.as_object().unwrap().len() == 4 && line.get(said).is_some(),
                "{line}"
            );
        }
    }
}

#[test]
fn options_change_the_reply_as_they_say() {
    let server = Server::start();
    let ask = |options: Value| {
        let options = with(json!({"temperature": 0}), options);
        server
            .post(
                OLLAMA_CHAT,
                &with(whole(ADD_PROGRAM), json!({"think": true, "options": options})),
            )
            .ok()
    };
    let plain = ask(json!({}));
    let cut = ask(json!({"num_predict": 5}));
    assert_eq!((&cut["done_reason"], &cut["eval_count"]), (&json!("length"), &json!(5)));
    let text = plain["message"]["content"].as_str().unwrap();
    let stopped = ask(json!({"stop": ["return"]}));
    assert_eq!(stopped["message"]["content"], text.split_once("return").unwrap().0);
    for same in [
        json!({"num_ctx": 1_000_000, "num_gpu": 0, "num_thread": 1, "use_mmap": false, "new": []}),
        json!({"num_predict": -1}),
    ] {
        assert_eq!(ask(same)["message"], plain["message"]);
    }
    let warm = |seed: i64| ask(json!({"temperature": 20, "num_predict": 20, "seed": seed}))["message"].clone();
    assert_eq!(warm(5), warm(5));
    assert_ne!(warm(5), warm(6));
    for penalty in ["repeat_penalty", "presence_penalty", "frequency_penalty"] {
        assert_ne!(ask(json!({penalty: 100}))["message"], plain["message"], "{penalty}");
    }
    assert_eq!(ask(json!({"temperature": 20, "top_k": 1}))["message"], plain["message"]);
}

#[test]
fn a_generation_goes_on_from_the_context_of_another() {
    let server = Server::start();
    let first = server.post(GENERATE, &prompt("2 + 3")).ok();
    let context = first["context"].as_array().unwrap();
    let used = first["prompt_eval_count"].as_u64().unwrap() + first["eval_count"].as_u64().unwrap();
    assert_eq!(context.len() as u64, used - 1, "all but the end token: {first}");
    let next = server
        .post(GENERATE, &with(prompt("4 + 5"), json!({"context": context})))
        .ok();
    let longer = next["context"].as_array().unwrap();
    assert_eq!(longer[..context.len()], context[..]);
    assert!(next["prompt_eval_count"].as_u64().unwrap() > used, "{next}");
    assert!(next["response"].as_str().unwrap().contains('9'), "{next}");
}

#[test]
fn curl_without_a_content_type_is_answered_and_errors_are_strings() {
    let server = Server::start();
    let check = |path: &str, body: &str, status: u16, words: &str| {
        let mut connection = server.connect();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        connection.write(&[head.as_bytes(), body.as_bytes()].concat());
        let reply = connection.reply();
        let said = if status == 200 {
            reply.text()
        } else {
            reply.json()["error"].as_str().unwrap().to_owned()
        };
        assert!(
            reply.status == status && said.contains(words),
            "{path} {body}: {} {said}",
            reply.status
        );
    };
    check(GENERATE, &prompt("hello").to_string(), 200, "\"done\":true");
    check(OLLAMA_CHAT, "", 400, "missing request body");
    check(OLLAMA_CHAT, "{\"model\":", 400, "not valid JSON");
    let unknown = with(whole("hello"), json!({"model": "llama9:1b"})).to_string();
    check(
        OLLAMA_CHAT,
        &unknown,
        404,
        "model \"llama9:1b\" not found, try pulling it first",
    );
    check("/api/nowhere", "{}", 404, "does not exist here");
    let large = format!("{{\"model\":\"{}\"}}", "x".repeat(3 << 20));
    check(OLLAMA_CHAT, &large, 413, "over 2097152 bytes");
    let wrong = with(whole("hello"), json!({"options": {"top_k": "many"}})).to_string();
    check(OLLAMA_CHAT, &wrong, 400, "option \"top_k\" must be of type integer");
    check_serves(&server);
}

#[test]
fn a_model_is_loaded_and_unloaded_by_requests_without_a_prompt() {
    let store = Store::new();
    let server = store.serve("deepseek-r1:32b");
    for (path, more, reason) in [
        (OLLAMA_CHAT, json!({"messages": []}), "load"),
        (GENERATE, json!({}), "load"),
        (GENERATE, json!({"keep_alive": "5m"}), "load"),
        (OLLAMA_CHAT, json!({"messages": [], "keep_alive": 0}), "unload"),
        (GENERATE, json!({"keep_alive": 0}), "unload"),
    ] {
        let reply = server.post(path, &with(json!({"model": "small"}), more.clone())).ok();
        assert_eq!(
            (&reply["done"], &reply["done_reason"]),
            (&json!(true), &json!(reason)),
            "{more}: {reply}"
        );
        assert_eq!(reply["model"], "small");
    }
    let reply = server
        .post(GENERATE, &with(prompt("2 + 3"), json!({"model": "small"})))
        .ok();
    assert_eq!(reply["done_reason"], "stop");
}

#[test]
fn a_dropped_stream_of_lines_frees_its_slot() {
    let server = Server::with(&["--devices", "cpu", "--slots", "1"]);
    let endless = json!({"options": {"num_predict": -1, "temperature": 1.5, "stop": []}});
    for _ in 0..3 {
        let mut connection = server.connect();
        let request = with(lobechat("Tell me a long story about rivers."), endless.clone());
        connection.send_post(OLLAMA_CHAT, request.to_string().as_bytes());
        let mut lines: Lines = connection.lines();
        lines.next().expect("it runs");
        drop(lines);
        // With one slot, the next answer comes only after the dropped stream has given up its own.
        check_serves(&server);
    }
}

#[test]
fn a_conversation_longer_than_the_context_goes_on_without_its_oldest_turns() {
    let server = Server::with(&["--context", "256"]);
    let turns = (0..40).flat_map(|_| {
        let say = |role: &str, text: &str| json!({"role": role, "content": text});
        [say("user", "What is 12 + 30?"), say("assistant", "It is 42.")]
    });
    let mut messages: Vec<Value> = turns.collect();
    messages.push(json!({"role": "user", "content": "2 + 3"}));
    let request = with(whole(""), json!({"messages": messages}));
    let reply = server.post(OLLAMA_CHAT, &request);
    let dropped = reply.header("x-tandem-dropped-messages").unwrap().to_owned();
    assert!(dropped.parse::<usize>().unwrap() > 40, "{dropped}");
    assert!(reply.ok()["prompt_eval_count"].as_u64().unwrap() <= 192);
    let refused = server.post(OLLAMA_CHAT, &with(request, json!({"truncate": false})));
    assert_eq!(refused.status, 400);
    assert!(
        refused.json()["error"]
            .as_str()
            .unwrap()
            .contains("maximum context length is 256")
    );
}

#[test]
fn the_greeting_and_the_version_are_what_clients_look_for() {
    let server = Server::with(&["--ollama-version", "0.20.1"]);
    assert_eq!(server.get("/").text(), "Ollama is running");
    assert_eq!(server.get("/api/version").ok(), json!({"version": "0.20.1"}));
}
