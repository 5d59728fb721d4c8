//! The chat: lines in, answers out, until the person has had enough. What fails is said, and the chat goes on.

use std::future::Future;

use serde_json::{Value, json};

use super::conversation::{Conversation, ask};
use super::page::Page;
use super::slash::{HELP, Setting, Topic, Word};
use crate::client::Client;
use crate::commands::show::{Shown, printed};

/// What begins and ends words of several lines.
const FENCE: &str = "\"\"\"";

/// What a person does at the prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Text(String),
    /// Ctrl-C.
    Interrupted,
    /// Ctrl-D.
    End,
}

/// Whoever types.
pub(super) trait Person {
    /// The next line.
    fn line(&mut self, prompt: &str) -> Line;

    /// Whether to keep what is typed.
    fn remember(&mut self, remembers: bool);

    /// Resolves when the answer has to stop.
    fn interrupt(&mut self) -> impl Future<Output = ()>;
}

/// Talks until the person ends it.
pub(super) async fn chat(client: &Client, conversation: Conversation, page: &mut Page, person: &mut impl Person) {
    let mut chat = Chat {
        client,
        conversation,
        page,
    };
    loop {
        let line = match person.line(">>> ") {
            Line::End => break,
            Line::Interrupted => {
                chat.page.say("Ctrl-D or /bye ends the chat.");
                continue;
            }
            Line::Text(line) => line,
        };
        let Some(line) = whole(line, person) else {
            continue;
        };
        match Word::of(&line) {
            Word::Bye => break,
            Word::Say(text) if text.is_empty() => {}
            Word::Say(text) => chat.answer(&text, person).await,
            Word::Help => chat.page.say(HELP),
            Word::Clear => {
                chat.conversation.clear();
                chat.page.say("Forgot what has been said.");
            }
            Word::Load(model) => chat.load(model).await,
            Word::Set(setting) => chat.set(setting, person),
            Word::Show(topic) => chat.show(topic).await,
            Word::Wrong(text) => chat.page.say(&text),
        }
    }
}

/// The line and, if `\"\"\"` begins in it, those up to where that ends; none if Ctrl-C came first.
fn whole(line: String, person: &mut impl Person) -> Option<String> {
    let Some((head, rest)) = line.split_once(FENCE) else {
        return Some(line);
    };
    // Only a whole line, or the text of a system message.
    if !head.trim().is_empty() && !head.starts_with("/set system") {
        return Some(line);
    }
    let mut text = rest.to_owned();
    while !text.trim_end().ends_with(FENCE) {
        match person.line("... ") {
            Line::Text(line) => {
                text.push('\n');
                text.push_str(&line);
            }
            Line::Interrupted => return None,
            // Nobody will end it any more: what there is counts.
            Line::End => break,
        }
    }
    let text = text.trim_end();
    let text = text.strip_suffix(FENCE).unwrap_or(text).trim_matches('\n');
    // A space in front: what stands between the signs is never a command.
    Some(if head.trim().is_empty() {
        format!(" {text}")
    } else {
        format!("{head}{text}")
    })
}

struct Chat<'a> {
    client: &'a Client,
    conversation: Conversation,
    page: &'a mut Page,
}

impl Chat<'_> {
    async fn answer(&mut self, text: &str, person: &mut impl Person) {
        self.conversation.say(text);
        match ask(self.client, &self.conversation, self.page, person.interrupt()).await {
            Ok(reply) => {
                self.page.say("");
                self.conversation.answered(reply.text);
            }
            Err(error) => {
                self.conversation.answered(String::new());
                self.page.complain(&error);
            }
        }
    }

    async fn load(&mut self, model: String) {
        match self.client.post("/api/show", &json!({"model": model})).await {
            Ok(_) => {
                self.page.say(&format!(
                    "Goes on with {}, what has been said is forgotten.",
                    printed(&model)
                ));
                self.conversation.model = model;
                self.conversation.clear();
            }
            Err(error) => self.page.complain(&error),
        }
    }

    fn set(&mut self, setting: Setting, person: &mut impl Person) {
        let conversation = &mut self.conversation;
        let said = match setting {
            Setting::System(text) => {
                conversation.system = Some(text);
                "Set the system message.".to_owned()
            }
            Setting::Parameter(name, value) => {
                let said = format!("Set {name} to {value}.");
                conversation.options.insert(name, value);
                said
            }
            Setting::Think(think) => {
                let said = if think == json!(false) {
                    "Answers without a thought."
                } else {
                    "Thinks first."
                };
                conversation.think = Some(think);
                said.to_owned()
            }
            Setting::Format(format) => {
                let said = if format.is_some() {
                    "Answers in JSON."
                } else {
                    "Answers in text."
                };
                conversation.format = format;
                said.to_owned()
            }
            Setting::Verbose(is_on) => {
                self.page.is_verbose = is_on;
                (if is_on {
                    "Shows times and speeds."
                } else {
                    "Shows no times."
                })
                .to_owned()
            }
            Setting::Wrap(is_on) => {
                self.page.wraps = is_on;
                (if is_on {
                    "Wraps lines at words."
                } else {
                    "Leaves lines as they are."
                })
                .to_owned()
            }
            Setting::History(is_on) => {
                person.remember(is_on);
                (if is_on {
                    "Remembers what is typed."
                } else {
                    "Forgets what is typed."
                })
                .to_owned()
            }
        };
        self.page.say(&said);
    }

    async fn show(&mut self, topic: Topic) {
        let model = &self.conversation.model;
        let shown = match self.client.post("/api/show", &json!({"model": model})).await {
            Ok(shown) => shown,
            Err(error) => return self.page.complain(&error),
        };
        let text = |key: &str| shown.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let own_options = || {
            let options = self.conversation.options.iter();
            options
                .map(|(name, value)| format!("{name:<30} {value}\n"))
                .collect::<String>()
        };
        let page = match topic {
            Topic::Info => Shown::of_reply(model, &shown).page(),
            Topic::License => text("license"),
            Topic::Modelfile => text("modelfile"),
            Topic::Template => text("template"),
            Topic::Parameters => format!("{}\n{}", text("parameters").trim_end(), own_options()),
            Topic::System => self.conversation.system.clone().unwrap_or_else(|| text("system")),
        };
        let page = page.trim_matches('\n');
        let page = if page.is_empty() { "The model has none." } else { page };
        let page: String = page.lines().map(|line| printed(line) + "\n").collect();
        self.page.say(&page);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    use axum::Json;
    use axum::Router;
    use axum::extract::State;
    use axum::routing::post;

    use super::super::page::tests::page;
    use super::*;
    use crate::client::Address;

    /// Types what a test says, and then ends.
    struct Typist {
        lines: VecDeque<Line>,
        remembers: bool,
    }

    impl Person for Typist {
        fn line(&mut self, _prompt: &str) -> Line {
            self.lines.pop_front().unwrap_or(Line::End)
        }

        fn remember(&mut self, remembers: bool) {
            self.remembers = remembers;
        }

        fn interrupt(&mut self) -> impl Future<Output = ()> {
            std::future::pending()
        }
    }

    type Requests = Arc<Mutex<Vec<Value>>>;

    /// Answers every chat with its number of messages, and refuses those that say "fail".
    async fn reply(State(requests): State<Requests>, Json(request): Json<Value>) -> String {
        let messages = request["messages"].as_array().unwrap().clone();
        requests.lock().unwrap().push(request);
        if messages.last().unwrap()["content"] == "fail" {
            return json!({"error": "the server is busy"}).to_string();
        }
        let thought = json!({"message": {"role": "assistant", "content": "", "thinking": "hm"}, "done": false});
        let content = format!("{} messages", messages.len());
        let answer = json!({"message": {"role": "assistant", "content": content}, "done": false});
        let done = json!({"message": {"role": "assistant", "content": ""}, "done": true, "eval_count": 3});
        format!("{thought}\n{answer}\n{done}\n")
    }

    /// Chats with a server of the test. Returns what was shown, and the requests.
    async fn chatted(lines: &[&str]) -> (String, Vec<Value>) {
        let lines = lines.iter().map(|line| match *line {
            "^C" => Line::Interrupted,
            text => Line::Text(text.to_owned()),
        });
        let requests = Requests::default();
        let show = || async { Json(json!({"details": {"family": "qwen2"}, "system": "be\u{1b}[2J kind"})) };
        let routes = Router::new()
            .route("/api/chat", post(reply))
            .route("/api/show", post(show))
            .with_state(requests.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(Address::of(listener.local_addr().unwrap()));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let (mut page, out) = page(false);
        let mut typist = Typist {
            lines: lines.collect(),
            remembers: true,
        };
        chat(&client, Conversation::new("m".to_owned()), &mut page, &mut typist).await;
        let requests = requests.lock().unwrap().clone();
        (out.text(), requests)
    }

    fn contents(request: &Value) -> Vec<&str> {
        let messages = request["messages"].as_array().unwrap().iter();
        messages.map(|message| message["content"].as_str().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_chat_remembers_what_was_said_until_it_is_told_to_forget() {
        let (shown, requests) = chatted(&["hello", "and?", "/clear", "again", "/bye", "never"]).await;
        let answer = |count| format!("Thinking...\nhm\n...done thinking.\n\n{count} messages\n\n");
        let expected = [
            answer(1),
            answer(3),
            "Forgot what has been said.\n".to_owned(),
            answer(1),
        ]
        .concat();
        assert_eq!(shown, expected);
        assert_eq!(contents(&requests[1]), ["hello", "1 messages", "and?"]);
        assert_eq!(requests.len(), 3);
    }

    #[tokio::test]
    async fn what_fails_is_said_and_taken_back() {
        let (shown, requests) = chatted(&["fail", "hello"]).await;
        assert!(shown.starts_with("error: the server is busy\n"), "{shown}");
        assert_eq!(contents(&requests[1]), ["hello"]);
    }

    #[tokio::test]
    async fn words_of_several_lines_stand_between_quotes() {
        let (_, requests) = chatted(&[
            "\"\"\"one",
            "/bye",
            "two\"\"\"",
            "\"\"\"three\"\"\"",
            "\"\"\"lost",
            "^C",
            "four",
        ])
        .await;
        assert_eq!(contents(&requests[0]), ["one\n/bye\ntwo"]);
        assert_eq!(contents(&requests[1]).last(), Some(&"three"));
        assert_eq!(contents(&requests[2]).last(), Some(&"four"));
    }

    #[tokio::test]
    async fn what_is_set_goes_with_every_request() {
        let set = [
            "/set system \"\"\"be",
            "brief\"\"\"",
            "/set parameter seed 7",
            "/set nothink",
            "hello",
        ];
        let (_, requests) = chatted(&set).await;
        assert_eq!(contents(&requests[0]), ["be\nbrief", "hello"]);
        assert_eq!(
            (&requests[0]["options"], &requests[0]["think"]),
            (&json!({"seed": 7}), &json!(false))
        );
    }

    #[tokio::test]
    async fn ctrl_c_at_the_prompt_says_how_to_leave_and_a_model_cannot_steer_the_terminal() {
        let (shown, requests) = chatted(&["^C", "/show system", "/show template", "/foo"]).await;
        let expected = "Ctrl-D or /bye ends the chat.\nbe\\u{1b}[2J kind\nThe model has none.\nthere is no /foo";
        assert!(shown.starts_with(expected), "{shown}");
        assert!(requests.is_empty());
    }
}
