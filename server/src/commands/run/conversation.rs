//! A conversation with a model, and one answer of it as it streams in.

use std::future::Future;

use serde_json::{Map, Value, json};

use super::page::{Page, Waiting};
use crate::client::{Client, ClientError};

/// What has been said, and how to go on.
#[derive(Clone, Debug, Default)]
pub(super) struct Conversation {
    pub(super) model: String,
    pub(super) system: Option<String>,
    /// Role and text.
    messages: Vec<(&'static str, String)>,
    pub(super) options: Map<String, Value>,
    pub(super) format: Option<Value>,
    pub(super) keep_alive: Option<Value>,
    /// Left out where none.
    pub(super) think: Option<Value>,
}

impl Conversation {
    pub(super) fn new(model: String) -> Conversation {
        Conversation {
            model,
            ..Conversation::default()
        }
    }

    /// The person says `text`.
    pub(super) fn say(&mut self, text: &str) {
        self.messages.push(("user", text.to_owned()));
    }

    /// The model has said `text`. If it said nothing, what it was asked is taken back.
    pub(super) fn answered(&mut self, text: String) {
        if text.is_empty() {
            self.messages.pop();
        } else {
            self.messages.push(("assistant", text));
        }
    }

    /// Forgets what has been said; all else stays.
    pub(super) fn clear(&mut self) {
        self.messages.clear();
    }

    /// The body of `POST /api/chat`.
    fn request(&self) -> Value {
        let system = self.system.iter().map(|text| ("system", text.as_str()));
        let messages = system.chain(self.messages.iter().map(|(role, text)| (*role, text.as_str())));
        let messages: Vec<Value> = messages
            .map(|(role, content)| json!({"role": role, "content": content}))
            .collect();
        let mut request = json!({"model": self.model, "messages": messages, "stream": true});
        let options = (!self.options.is_empty()).then(|| Value::Object(self.options.clone()));
        let optional = [
            ("options", options),
            ("format", self.format.clone()),
            ("keep_alive", self.keep_alive.clone()),
            ("think", self.think.clone()),
        ];
        for (key, value) in optional {
            if let Some(value) = value {
                request[key] = value;
            }
        }
        request
    }
}

/// What came of one question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reply {
    /// Without the thought.
    pub(super) text: String,
    /// Whether it was stopped before its end.
    pub(super) is_cut: bool,
}

/// Asks for the next answer and writes it onto `page` as it comes, until its end or until `stop`.
///
/// # Errors
/// The server refuses, or breaks off.
pub(super) async fn ask(
    client: &Client,
    conversation: &Conversation,
    page: &mut Page,
    stop: impl Future<Output = ()>,
) -> Result<Reply, ClientError> {
    let mut reply = Reply::default();
    let answering = answer(client, conversation, page, &mut reply.text);
    let answered = tokio::select! {
        answered = answering => answered,
        // The connection is closed with the lines, and the server ends its work.
        () = stop => Ok(false),
    };
    page.finish_answer();
    reply.is_cut = !answered?;
    Ok(reply)
}

/// Whether the answer was read to its end: nobody may want to see more of it.
async fn answer(
    client: &Client,
    conversation: &Conversation,
    page: &mut Page,
    text: &mut String,
) -> Result<bool, ClientError> {
    let mut waiting = Some(Waiting::begin());
    let mut lines = client.lines("/api/chat", &conversation.request()).await?;
    while let Some(line) = lines.next().await? {
        let message = line.get("message");
        let part = |key: &str| {
            message
                .and_then(|message| message.get(key)?.as_str())
                .unwrap_or_default()
        };
        let is_thought_seen = !part("thinking").is_empty() && !page.hides_thoughts();
        if is_thought_seen || !part("content").is_empty() {
            waiting = None;
        }
        text.push_str(part("content"));
        if page
            .thought(part("thinking"))
            .and_then(|()| page.answer(part("content")))
            .is_err()
        {
            return Ok(false);
        }
        if line.get("done").and_then(Value::as_bool) == Some(true) {
            drop(waiting);
            page.summary(&line);
            return Ok(true);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_what_was_set_and_nothing_else() {
        let mut conversation = Conversation::new("m".to_owned());
        conversation.say("hello");
        let plain = json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "hello"}]});
        assert_eq!(conversation.request(), plain);
        conversation.answered("hi".to_owned());
        conversation.say("nothing comes of this");
        conversation.answered(String::new());
        conversation.system = Some("be brief".to_owned());
        conversation.think = Some(json!(false));
        conversation.options.insert("seed".to_owned(), json!(1));
        let roles: Vec<Value> = conversation.request()["messages"].as_array().unwrap().clone();
        let roles: Vec<&str> = roles.iter().filter_map(|message| message["role"].as_str()).collect();
        assert_eq!(roles, ["system", "user", "assistant"]);
        assert_eq!(conversation.request()["options"], json!({"seed": 1}));
        conversation.clear();
        assert_eq!(conversation.request()["messages"].as_array().unwrap().len(), 1);
    }
}
