//! One model that is loaded: its text side, its engines, and what is told of it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use chat::{ChatTemplate, Message, Role, Tokenizer};
use engine::Engines;
use models::{DevicesStatus, Plan};

use crate::app::{ModelCard, SamplingDefaults};
use crate::metrics::Scraped;
use crate::pace::Pace;

/// A look at the devices that several engines share, where there are such.
pub(crate) type DevicesLook = Arc<dyn Fn() -> Option<DevicesStatus> + Send + Sync>;
/// What the model's maker put around every conversation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Opening {
    /// Instructions, where the conversation begins with none of its own.
    pub(crate) system: Option<String>,
    /// Turns that show how it is to answer.
    pub(crate) messages: Vec<Message>,
    /// The Go template as its store has it. Prompts are made by another one, of the same meaning or better.
    pub(crate) go_template: Option<String>,
}

impl Opening {
    /// The whole conversation that `messages` go on with.
    pub(crate) fn before(&self, messages: Vec<Message>) -> Vec<Message> {
        let has_system = messages.first().is_some_and(|first| first.role == Role::System);
        let system = self
            .system
            .iter()
            .filter(|_| !has_system)
            .map(|system| Message::new(Role::System, system.as_str()));
        system.chain(self.messages.iter().cloned()).chain(messages).collect()
    }
}

/// What a loaded model is made of.
pub(crate) struct Parts {
    /// Its names and measures.
    pub(crate) card: ModelCard,
    /// Text to tokens and back.
    pub(crate) tokenizer: Tokenizer,
    /// Messages to the prompt that ends in the opening think tag.
    pub(crate) template: Arc<ChatTemplate>,
    /// Where its jobs run.
    pub(crate) engines: Engines,
    /// A look at the devices that several of its engines share, where there are such.
    pub(crate) devices: DevicesLook,
    /// Sampling values for what a request leaves out.
    pub(crate) defaults: SamplingDefaults,
    /// Which memory holds how much of it.
    pub(crate) plan: Option<Plan>,
    /// What its maker put around every conversation.
    pub(crate) opening: Opening,
}

/// A loaded model, as requests see it. Its engines stop when the last request and the roster have let it go.
pub(crate) struct Served {
    /// Its names and measures.
    pub(crate) card: ModelCard,
    /// Text to tokens and back.
    pub(crate) tokenizer: Tokenizer,
    /// Messages to the prompt that ends in the opening think tag.
    pub(crate) template: Arc<ChatTemplate>,
    /// Where its jobs run.
    pub(crate) engines: Engines,
    /// Sampling values for what a request leaves out.
    pub(crate) defaults: SamplingDefaults,
    /// What its maker put around every conversation.
    pub(crate) opening: Opening,
    /// Tokens that end a reply.
    pub(crate) end_tokens: Arc<[u32]>,
    /// Changes when the model or the program does, and so when the same seed may give another answer.
    pub(crate) fingerprint: String,
    /// How long its replies take.
    pub(crate) pace: Arc<Pace>,
    /// Which memory holds how much of it; none only in tests.
    pub(crate) plan: Option<Plan>,
    devices: DevicesLook,
}

impl Served {
    /// Of its parts.
    pub(crate) fn new(parts: Parts) -> Served {
        let Parts {
            card,
            tokenizer,
            template,
            engines,
            devices,
            defaults,
            plan,
            opening,
        } = parts;
        Served {
            end_tokens: tokenizer.end_tokens().into(),
            fingerprint: fingerprint(&card),
            pace: Arc::default(),
            card,
            tokenizer,
            template,
            engines,
            defaults,
            plan,
            opening,
            devices,
        }
    }

    /// Most tokens of prompt and reply together.
    pub(crate) fn context_tokens(&self) -> usize {
        let of_engines = self.engines.shape().sequence_tokens_max();
        self.card.context_tokens.min(of_engines)
    }

    /// Token ids that a request may name are below this.
    pub(crate) fn vocabulary(&self) -> usize {
        self.tokenizer.vocabulary_size().min(self.engines.shape().vocabulary)
    }

    /// The same engines under another card and with other defaults.
    pub(crate) fn dressed(&self, card: ModelCard, defaults: SamplingDefaults, opening: Opening) -> Served {
        Served {
            pace: Arc::clone(&self.pace),
            ..Served::new(Parts {
                card,
                tokenizer: self.tokenizer.clone(),
                template: Arc::clone(&self.template),
                engines: self.engines.clone(),
                devices: Arc::clone(&self.devices),
                defaults,
                plan: self.plan.clone(),
                opening,
            })
        }
    }

    /// What the metrics tell of it.
    pub(crate) fn scraped(&self) -> Scraped<'_> {
        Scraped {
            card: &self.card,
            engines: self.engines.status(),
            devices: (self.devices)(),
        }
    }
}

fn fingerprint(card: &ModelCard) -> String {
    let mut hasher = DefaultHasher::new();
    (&card.id, &card.file, &card.architecture, env!("CARGO_PKG_VERSION")).hash(&mut hasher);
    format!("fp_{:012x}", hasher.finish() >> 16)
}
