//! What whoever runs the program says about pulling: from where, as whom, and with how much patience.

use std::fmt;
use std::time::Duration;

use super::error::PullError;
use super::origin::AllowList;
use super::url::Url;
use crate::Quoted;

/// The hosts of models' names that are allowed unless the operator says others.
const REGISTRY: &str = "registry.ollama.ai";
const HUB: &str = "https://huggingface.co";
/// The hub as a registry of Ollama's kind: `hf.co/user/repo:Q4_K_M`.
const HUB_REGISTRY: &str = "hf.co";

/// Characters of a token at most.
const TOKEN_CHARS_MAX: usize = 4096;

/// What may be pulled from where.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The hosts that may be connected to: `example.com`, or `http://10.0.0.2:5000` with scheme and port. Unless said,
    /// Ollama's registry and the hub. Said, and without the hub, the hub is not allowed either.
    pub hosts: Option<Vec<String>>,
    /// Where the hub is, as the variable `HF_ENDPOINT` says it; unless said, huggingface.co.
    pub hub: Option<String>,
    /// Who asks the hub, as the variable `HF_TOKEN` says it.
    pub hub_token: Option<Secret>,
    /// What stands between this network and the world, as the variable `HTTPS_PROXY` says it. Then it is the proxy that
    /// looks names up, and that must not let anybody into its network. Hosts allowed together with their port are
    /// connected to directly.
    pub proxy: Option<Proxy>,
    /// How long is waited for others.
    pub patience: Patience,
}

/// How long a server may take, and how often it is asked again.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Without a byte from the server, before the connection is given up.
    pub stall: Duration,
    /// Before the first further attempt; each later one waits twice as long.
    pub pause: Duration,
    /// Failed attempts in a row, none of which brought anything, after which a pull fails.
    pub attempts: u32,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            stall: Duration::from_secs(30),
            pause: Duration::from_secs(1),
            attempts: 6,
        }
    }
}

/// A token, which nothing prints.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// A token fit for a header.
    ///
    /// # Errors
    /// It has characters that no token has.
    pub fn new(token: &str) -> Result<Secret, PullError> {
        let token = token.trim();
        let is_good = token.len() <= TOKEN_CHARS_MAX && token.bytes().all(|byte| byte.is_ascii_graphic());
        (is_good && !token.is_empty())
            .then(|| Secret(token.to_owned()))
            .ok_or(PullError::Token)
    }

    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A proxy, which nothing prints: its address may have a password.
#[derive(Clone)]
pub struct Proxy(pub(super) ureq::Proxy);

impl Proxy {
    /// Understands `http://127.0.0.1:7890` and `socks5://user:password@proxy.example:1080`.
    ///
    /// # Errors
    /// It is none of them.
    pub fn new(text: &str) -> Result<Proxy, PullError> {
        let proxy = ureq::Proxy::new(text.trim());
        proxy.map(Proxy).map_err(|_| PullError::Proxy)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proxy")
    }
}

/// The settings, understood.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) allowed: AllowList,
    pub(super) hub: Url,
    pub(super) hub_token: Option<Secret>,
    pub(super) proxy: Option<ureq::Proxy>,
    pub(super) patience: Patience,
}

impl Access {
    pub(super) fn new(settings: &Settings) -> Result<Access, PullError> {
        let hub_text = settings.hub.as_deref().unwrap_or(HUB).trim();
        let hub = Url::parse(hub_text).ok_or_else(|| PullError::Setting {
            found: Quoted::new(hub_text),
        })?;
        let mut allowed = AllowList::default();
        match &settings.hosts {
            Some(hosts) => hosts.iter().try_for_each(|host| allowed.add(host))?,
            None => {
                allowed.add(REGISTRY)?;
                allowed.add(hub_text)?;
                allowed.add(HUB_REGISTRY)?;
            }
        }
        Ok(Access {
            allowed,
            hub,
            hub_token: settings.hub_token.clone(),
            proxy: settings.proxy.clone().map(|proxy| proxy.0),
            patience: settings.patience,
        })
    }
}
