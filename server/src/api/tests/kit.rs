//! A program small enough for a test: a vocabulary of bytes, a model that recites, one engine, all routes.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::middleware::from_fn;
use axum::response::Response;
use chat::{ChatTemplate, Tokenizer, Vocabulary};
use engine::{
    BLOCK_TOKENS, EngineSettings, EngineSpec, Engines, LanguageModel, ModelError, ModelFactory, ModelShape, Pooling,
    Segment, Wanted,
};
use http_body_util::BodyExt;
use library::pull::Settings;
use library::store::OwnStore;
use serde_json::Value;
use tower::ServiceExt;

use crate::api::router;
use crate::app::{App, Limits, ModelCard, OllamaManners, SamplingDefaults, ThinkShown};
use crate::config::ModelChoice;
use crate::drain::Drain;
use crate::http::name_and_contain;
use crate::metrics::Metrics;
use crate::roster::{Opening, Parts, Roster, Served};
use crate::shelf::{Places, Rules, Shelf};

/// The special tokens; ids below 256 are the bytes.
const SPECIALS: [&str; 6] = [
    "<｜end▁of▁sentence｜>",
    "<｜User｜>",
    "<｜Assistant｜>",
    "<｜begin▁of▁sentence｜>",
    "<think>",
    "</think>",
];
/// The same in a family whose template is not built in.
const OTHER_SPECIALS: [&str; 6] = [
    "<|end|>",
    "<|user|>",
    "<|assistant|>",
    "<|begin|>",
    "<think>",
    "</think>",
];
/// A template that knows tools, and calls between `<tool_call>` tags.
const TOOL_TEMPLATE: &str = "{# <tool_call> #}{% if tools %}{% for tool in tools %}{{ tool | tojson }}{% endfor %}{% endif %}\
    {% for message in messages %}{{ '<|user|>' + message.content }}{% endfor %}<|assistant|>";
/// A reply with two calls.
pub(super) const TWO_CALLS: &str = "Hm.</think>\n\nSo.\n\
    <tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>\n\
    <tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 2}}\n</tool_call>";
pub(super) const END: u32 = 256;
pub(super) const BOS: u32 = 259;
const CLOSE: u32 = 261;
const VOCABULARY: u32 = 262;

/// How a test's program differs from the usual one.
pub(crate) struct Kit {
    /// What the model recites; `</think>` stands for the token.
    pub(super) reply: &'static str,
    /// Blocks every step until it is let go on.
    pub(super) gate: Option<Arc<Gate>>,
    /// Steps that succeed before all others fail.
    pub(super) good_steps: usize,
    pub(super) context_tokens: usize,
    pub(super) slots: usize,
    pub(super) queue_jobs_max: usize,
    pub(super) keep_alive: Duration,
    pub(super) think: ThinkShown,
    pub(super) opening: Opening,
    /// The model file's own template; the built-in one without.
    pub(super) template: Option<&'static str>,
}

impl Default for Kit {
    fn default() -> Kit {
        Kit {
            reply: "Hm.</think>\n\nHi 你",
            gate: None,
            good_steps: usize::MAX,
            context_tokens: 256,
            slots: 4,
            queue_jobs_max: 8,
            keep_alive: Duration::from_secs(60),
            think: ThinkShown::Inline,
            opening: Opening::default(),
            template: None,
        }
    }
}

impl Kit {
    /// A model that knows tools and calls one twice.
    pub(super) fn calling_twice() -> Kit {
        Kit {
            reply: TWO_CALLS,
            template: Some(TOOL_TEMPLATE),
            context_tokens: 1024,
            ..Kit::default()
        }
    }

    /// The program around it.
    pub(super) fn start(self) -> Arc<App> {
        let (keep_alive, think) = (self.keep_alive, self.think);
        Arc::new(App {
            roster: Roster::of_one(self.served()),
            limits: limits(keep_alive),
            metrics: Metrics::new().unwrap(),
            drain: Drain::new(),
            shelf: Arc::new(shelf()),
            ollama: OllamaManners {
                version: "0.13.3".to_owned(),
                think,
            },
        })
    }

    /// The loaded model alone.
    pub(crate) fn served(self) -> Served {
        let tokenizer = match self.template {
            Some(_) => tokenizer(OTHER_SPECIALS),
            None => tokenizer(SPECIALS),
        };
        let template = ChatTemplate::for_model(self.template, &tokenizer).unwrap();
        let mut settings = EngineSettings::new(vec![EngineSpec {
            name: "cpu".into(),
            weight: 1,
        }]);
        (settings.slots, settings.queue_jobs_max) = (self.slots, self.queue_jobs_max);
        // There is no other engine to go on: a failed step fails its jobs.
        settings.moves_max = 0;
        let reply = ids(self.reply);
        let shape = ModelShape {
            vocabulary: VOCABULARY as usize,
            context_tokens: self.context_tokens,
            kv_blocks: 256,
            hidden: 2,
            pooling: Pooling::Last,
        };
        let factory: ModelFactory = Arc::new(move |_engine| {
            let (reply, gate, steps_left) = (reply.clone(), self.gate.clone(), self.good_steps);
            Ok(Box::new(Reciter {
                shape,
                reply,
                gate,
                steps_left,
                stored: HashMap::new(),
            }))
        });
        let engines = Engines::start(settings, factory).unwrap();
        Served::new(Parts {
            card: ModelCard {
                id: "tandem-test".into(),
                aliases: vec!["test".into()],
                stand_ins: Vec::new(),
                created: 1_700_000_000,
                context_tokens: self.context_tokens,
                architecture: "qwen2".into(),
                file: "embedded".into(),
            },
            tokenizer,
            template: Arc::new(template),
            engines,
            devices: Arc::new(|| None),
            plan: None,
            defaults: SamplingDefaults::default(),
            opening: self.opening,
        })
    }
}

/// No files but the embedded model, and nothing to be changed.
fn shelf() -> Shelf {
    let places = Places {
        own: OwnStore::at("no-such-folder"),
        stores: Vec::new(),
        hub: None,
        configured: ModelChoice::Tiny,
    };
    let rules = Rules {
        is_changeable: false,
        are_pages_known: false,
        blob_bytes_max: 0,
        pull: Settings::default(),
    };
    Shelf::new(places, rules)
}

fn limits(keep_alive: Duration) -> Limits {
    Limits {
        body_bytes_max: 64 << 10,
        messages_max: 1024,
        stop_strings_max: 4,
        stop_chars_max: 64,
        logit_bias_max: 300,
        choices_max: 8,
        prompts_max: 8,
        embedding_inputs_max: 8,
        top_logprobs_max: 20,
        keep_alive,
        default_output_tokens: 100,
    }
}

/// Every byte is a token, as GPT-2's alphabet writes it.
fn tokenizer(specials: [&str; 6]) -> Tokenizer {
    let mut others = 256_u32..;
    let letter = |byte: u8| match byte {
        33..=126 | 161..=172 | 174..=255 => char::from(byte),
        _ => char::from_u32(others.next().unwrap()).unwrap(),
    };
    let mut tokens: Vec<String> = (0..=u8::MAX).map(letter).map(String::from).collect();
    tokens.extend(specials.map(String::from));
    let mut types = vec![1; 256];
    types.extend([3, 3, 3, 3, 4, 4]);
    let vocabulary = Vocabulary {
        model: "gpt2".into(),
        pre: "deepseek-r1-qwen".into(),
        tokens,
        types,
        merges: Vec::new(),
        bos: Some(BOS),
        eos: END,
        end_tokens: vec![END],
        add_bos: true,
        add_eos: false,
    };
    Tokenizer::new(vocabulary).unwrap()
}

/// The tokens of a reply.
pub(super) fn ids(reply: &str) -> Vec<u32> {
    let bytes = |text: &str| text.bytes().map(u32::from).collect::<Vec<_>>();
    let parts: Vec<_> = reply.split("</think>").map(bytes).collect();
    parts.join(&CLOSE)
}

/// Lets a blocked model take steps.
#[derive(Default)]
pub(super) struct Gate {
    steps: Mutex<usize>,
    changed: Condvar,
}

impl Gate {
    pub(super) fn let_steps(&self, steps: usize) {
        let mut allowed = self.steps.lock().unwrap();
        *allowed = allowed.saturating_add(steps);
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut allowed = self
            .changed
            .wait_while(self.steps.lock().unwrap(), |steps| *steps == 0)
            .unwrap();
        *allowed -= 1;
    }
}

/// Gives its reply token by token after any prompt, then the end token, and keeps what it has seen in the engine's
/// blocks, so that a wrong block table or position would show.
struct Reciter {
    shape: ModelShape,
    reply: Vec<u32>,
    gate: Option<Arc<Gate>>,
    steps_left: usize,
    stored: HashMap<(u32, usize), u32>,
}

impl Reciter {
    fn next(&self, seen: &[u32]) -> u32 {
        let said = (0..=self.reply.len())
            .rev()
            .find(|said| seen.ends_with(&self.reply[..*said]))
            .unwrap();
        self.reply.get(said).copied().unwrap_or(END)
    }
}

impl LanguageModel for Reciter {
    fn shape(&self) -> ModelShape {
        self.shape
    }

    fn forward(&mut self, batch: &[Segment<'_>], logits: &mut Vec<f32>) -> Result<(), ModelError> {
        if let Some(gate) = &self.gate {
            gate.pass();
        }
        if self.steps_left == 0 {
            return Err(ModelError("broken on purpose".into()));
        }
        self.steps_left -= 1;
        logits.clear();
        for segment in batch {
            let place = |position: usize| (segment.block_table[position / BLOCK_TOKENS], position % BLOCK_TOKENS);
            for (offset, token) in segment.tokens.iter().enumerate() {
                self.stored.insert(place(segment.first_position + offset), *token);
            }
            if segment.wanted == Wanted::Logits {
                let end = segment.first_position + segment.tokens.len();
                let seen: Vec<u32> = (0..end).map(|position| self.stored[&place(position)]).collect();
                let next = self.next(&seen);
                let logit = |id: u32| {
                    if id == next { 100.0 } else { -(id as f32) / 10.0 }
                };
                logits.extend((0..VOCABULARY).map(logit));
            }
        }
        Ok(())
    }
}

/// An answer, read to its end.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// `error.code`, after a look at the shape of the whole.
    pub(super) fn error_code(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/json");
        assert!(self.body.len() <= 1024, "{} bytes", self.body.len());
        let json = self.json();
        let error = json["error"].as_object().unwrap();
        let mut keys: Vec<_> = error.keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["code", "message", "param", "type"]);
        error["code"].as_str().unwrap().to_owned()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("missing", |value| value.to_str().unwrap())
    }

    /// The data of each event, in order; anything else in the body is an error.
    pub(super) fn events(&self) -> Vec<String> {
        assert_eq!(self.header("content-type"), "text/event-stream; charset=utf-8");
        let events = self.body.strip_suffix("\n\n").unwrap().split("\n\n");
        events
            .map(|event| event.strip_prefix("data: ").unwrap().to_owned())
            .collect()
    }
}

/// Sends a request and waits for the head of the answer.
pub(super) async fn begin(app: &Arc<App>, request: Request<Body>) -> Response {
    let named = router(app.clone()).layer(from_fn(name_and_contain));
    named.oneshot(request).await.unwrap()
}

/// Sends a request and reads the whole answer.
pub(super) async fn send(app: &Arc<App>, request: Request<Body>) -> Answer {
    let (parts, body) = begin(app, request).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.into()).unwrap(),
    }
}

pub(super) fn posting(path: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post(path).header("content-type", "application/json");
    request.body(body.into()).unwrap()
}

pub(super) async fn post(app: &Arc<App>, path: &str, body: &str) -> Answer {
    send(app, posting(path, body.to_owned())).await
}

pub(super) async fn get(app: &Arc<App>, path: &str) -> Answer {
    send(app, Request::get(path).body(Body::empty()).unwrap()).await
}

/// A chat request for "hi" with `fields` beside the messages.
pub(super) fn hi(fields: &str) -> String {
    let comma = if fields.is_empty() { "" } else { "," };
    format!(r#"{{"messages":[{{"role":"user","content":"hi"}}]{comma}{fields}}}"#)
}

/// Replaces what differs from run to run.
pub(super) fn settled(body: &str) -> String {
    let mut json: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    let id = json["id"].as_str().unwrap();
    let (kind, unique) = id.split_once('-').unwrap();
    assert_eq!(unique.len(), 36);
    let created = json["created"].as_u64().unwrap();
    assert!(created > 1_700_000_000, "{created} is not in seconds");
    assert!(json["system_fingerprint"].as_str().unwrap().starts_with("fp_"));
    json["id"] = kind.into();
    json["created"] = 0.into();
    json["system_fingerprint"] = "fp".into();
    json.to_string()
}

/// Gives way to the engine's thread until `reached`; a test that never gets there hangs and is killed.
pub(crate) async fn until(mut reached: impl FnMut() -> bool) {
    while !reached() {
        tokio::task::yield_now().await;
    }
}
