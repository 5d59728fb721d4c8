//! One request: to a host that is allowed, over a connection that is watched, following few redirections and with them
//! no credentials.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ureq::http::{Response, header};
use ureq::{Agent, Body, BodyReader};

use super::address::{Guard, Private};
use super::error::PullError;
use super::origin::{Origin, Scheme};
use super::settings::{Access, Secret};
use super::url::Url;
use crate::Quoted;

/// Redirections followed at most.
const REDIRECTS_MAX: usize = 5;
/// Bytes of a reply's headers at most.
const HEADER_BYTES_MAX: usize = 64 << 10;
/// To find a host and to be let in.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(30);
/// For a small answer, however slowly it trickles.
const SMALL_TIME_MAX: Duration = Duration::from_secs(120);
/// Attempts at a small answer.
const SMALL_ATTEMPTS_MAX: u32 = 2;
/// Between two looks at whether a pause is to end early.
const PAUSE_SLICE: Duration = Duration::from_millis(50);

/// Ends a pull from another thread.
#[derive(Clone, Debug)]
pub struct Stopper {
    agent: Agent,
    is_stopped: Arc<AtomicBool>,
}

impl Stopper {
    /// Ends it now: what waits for a server waits no longer. The puller is of no more use.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        self.agent.clone().shutdown();
    }
}

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) url: &'a Url,
    /// The kind of answer that is understood.
    pub(super) accept: &'a str,
    pub(super) bearer: Option<&'a Secret>,
    /// The first byte wanted.
    pub(super) from: u64,
    /// Whether all of it comes soon, being small.
    pub(super) is_small: bool,
}

/// An answer, of whatever status that is no redirection.
pub(super) struct Reply {
    response: Response<Body>,
    /// Who answered in the end.
    pub(super) origin: Origin,
}

impl Reply {
    pub(super) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// The header's value, if there is one and it is plain text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// All of a small answer.
    pub(super) fn read(self, what: &'static str, bytes_max: u64) -> Result<Vec<u8>, PullError> {
        let host = self.origin.to_string();
        let mut bytes = Vec::new();
        let mut body = self
            .response
            .into_body()
            .into_reader()
            .take(bytes_max.saturating_add(1));
        body.read_to_end(&mut bytes)
            .map_err(|error| failure(&host, ureq::Error::from(error)))?;
        if bytes.len() as u64 > bytes_max {
            return Err(PullError::TooLarge { what, bytes_max });
        }
        Ok(bytes)
    }

    /// A large answer, to be read piece by piece.
    pub(super) fn into_body(self) -> (String, BodyReader<'static>) {
        (self.origin.to_string(), self.response.into_body().into_reader())
    }

    /// The error that this status is where nothing better is known of it.
    pub(super) fn unexpected(&self) -> PullError {
        let host = self.origin.to_string();
        match self.status() {
            401 | 403 => PullError::SignIn { host },
            status => PullError::Status { host, status },
        }
    }
}

/// Whoever asks.
pub(super) struct Client {
    agent: Agent,
    pub(super) access: Access,
    is_stopped: Arc<AtomicBool>,
}

impl Client {
    pub(super) fn new(access: Access) -> Client {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Followed here, where each target is judged.
            .max_redirects(0)
            // Otherwise it is read from the environment.
            .proxy(None)
            .user_agent(concat!("tandem/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .max_response_header_size(HEADER_BYTES_MAX)
            .timeout_resolve(Some(CONNECT_TIME_MAX))
            .timeout_connect(Some(CONNECT_TIME_MAX))
            .timeout_per_read(Some(access.patience.stall))
            .timeout_per_write(Some(access.patience.stall))
            .build();
        let guard = Guard {
            allowed: access.allowed.clone(),
            proxy: access.proxy.clone(),
        };
        Client {
            agent: Agent::with_parts(config, ureq::unversioned::transport::DefaultConnector::new(), guard),
            access,
            is_stopped: Arc::default(),
        }
    }

    pub(super) fn stopper(&self) -> Stopper {
        Stopper {
            agent: self.agent.clone(),
            is_stopped: self.is_stopped.clone(),
        }
    }

    /// Asks the host of the address, which must be allowed, and those that it sends on to.
    pub(super) fn get(&self, ask: &Ask<'_>) -> Result<Reply, PullError> {
        if !self.access.allowed.has(&ask.url.origin) {
            return Err(self.access.allowed.refusal(&ask.url.origin.to_string()));
        }
        self.get_known(ask)
    }

    /// The same of a host that is known to belong to an allowed one.
    pub(super) fn get_known(&self, ask: &Ask<'_>) -> Result<Reply, PullError> {
        let mut url = ask.url.clone();
        let mut bearer = ask.bearer;
        for _ in 0..=REDIRECTS_MAX {
            let response = self.once(ask, &url, bearer)?;
            let is_redirection = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            if !is_redirection {
                let origin = url.origin;
                return Ok(Reply { response, origin });
            }
            let next = self.target(&url, &response)?;
            if next.origin != url.origin {
                // For good: what comes back to the first host by way of another may have been made up there.
                bearer = None;
            }
            url = next;
        }
        Err(PullError::Redirect {
            host: ask.url.origin.to_string(),
            target: Quoted::new(&url.origin.to_string()),
            why: "it is one redirection too many",
        })
    }

    /// Gets what is small, once more if that fails in passing. Nothing is fetched yet that would be worth more patience,
    /// and a person waits to hear whether the model is there at all.
    pub(super) fn patiently<T>(&self, mut attempt: impl FnMut() -> Result<T, PullError>) -> Result<T, PullError> {
        let mut failed = 0;
        loop {
            match attempt() {
                Err(error) if error.is_passing() && failed < SMALL_ATTEMPTS_MAX - 1 => {
                    failed += 1;
                    self.pause(failed, error)?;
                }
                result => return result,
            }
        }
    }

    /// Waits before the next attempt; `error` if there is none.
    pub(super) fn pause(&self, failed: u32, error: PullError) -> Result<(), PullError> {
        self.require_going()?;
        if failed >= self.access.patience.attempts {
            return Err(error);
        }
        let doubled = 1 << failed.saturating_sub(1).min(5);
        let mut left = self.access.patience.pause.saturating_mul(doubled);
        while !left.is_zero() {
            let slice = left.min(PAUSE_SLICE);
            std::thread::sleep(slice);
            left -= slice;
            self.require_going()?;
        }
        Ok(())
    }

    /// That nobody has stopped it.
    pub(super) fn require_going(&self) -> Result<(), PullError> {
        if self.is_stopped.load(Ordering::Relaxed) {
            return Err(PullError::Stopped);
        }
        Ok(())
    }

    /// The error that a broken reply of `host` is.
    pub(super) fn broken(&self, host: &str, error: io::Error) -> PullError {
        match self.require_going() {
            Err(stopped) => stopped,
            Ok(()) => failure(host, ureq::Error::from(error)),
        }
    }

    fn once(&self, ask: &Ask<'_>, url: &Url, bearer: Option<&Secret>) -> Result<Response<Body>, PullError> {
        self.require_going()?;
        let mut request = self.agent.get(url.text()).header(header::ACCEPT, ask.accept);
        if ask.from > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", ask.from));
        }
        if let Some(bearer) = bearer {
            request = request.header(header::AUTHORIZATION, bearer.header());
        }
        let time_max = ask.is_small.then_some(SMALL_TIME_MAX);
        let proxy = self.access.proxy.clone().filter(|_| !self.is_near(&url.origin));
        let called = request.config().timeout_global(time_max).proxy(proxy).build().call();
        called.map_err(|error| match self.require_going() {
            Err(stopped) => stopped,
            Ok(()) => failure(&url.origin.to_string(), error),
        })
    }

    /// Whether the operator may have it in this network.
    fn is_near(&self, origin: &Origin) -> bool {
        self.access.allowed.may_be_private(Some(&origin.host), origin.port)
    }

    /// Where a redirection leads, if it may be followed: over https, to a host of the world, or to an allowed one.
    fn target(&self, url: &Url, response: &Response<Body>) -> Result<Url, PullError> {
        let location = response.headers().get(header::LOCATION);
        let location = location.and_then(|location| location.to_str().ok()).unwrap_or_default();
        let refuse = |target: &str, why| PullError::Redirect {
            host: url.origin.to_string(),
            target: Quoted::new(target),
            why,
        };
        let next = url
            .join(location)
            .ok_or_else(|| refuse("no address", "it is not understood"))?;
        let target = next.origin.to_string();
        if self.is_near(&next.origin) && !self.is_near(&url.origin) {
            return Err(refuse(&target, "it is in this network"));
        }
        if self.access.allowed.has(&next.origin) {
            return Ok(next);
        }
        if next.origin.scheme != Scheme::Https {
            return Err(refuse(&target, "it is not https"));
        }
        if !next.origin.is_named() || !next.origin.host.contains('.') {
            return Err(refuse(&target, "it is no host of the world"));
        }
        Ok(next)
    }
}

/// What went wrong between us and `host`.
fn failure(host: &str, error: ureq::Error) -> PullError {
    let host = host.to_owned();
    let cause = |text: &str| Quoted::new(text).to_string();
    match error {
        ureq::Error::Timeout(_) => PullError::Stalled { host },
        ureq::Error::Other(other) if other.is::<Private>() => PullError::PrivateAddress { host },
        // Its text may say how the proxy wants to be spoken to, but not as whom.
        ureq::Error::ConnectProxyFailed(error) => PullError::Connection {
            host,
            cause: cause(&error),
        },
        ureq::Error::HostNotFound => PullError::Connection {
            host,
            cause: "there is no such host".to_owned(),
        },
        // What rustls refuses comes as an input that is invalid.
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => PullError::Untrusted {
            host,
            cause: Quoted::new(&error.to_string()),
        },
        ureq::Error::Io(error) => PullError::Connection {
            host,
            cause: cause(&error.to_string()),
        },
        ureq::Error::Rustls(error) => PullError::Untrusted {
            host,
            cause: Quoted::new(&error.to_string()),
        },
        ureq::Error::LargeResponseHeader(_, bytes_max) => PullError::TooLarge {
            what: "the reply's head",
            bytes_max: bytes_max as u64,
        },
        // Its text may quote the address, and so a signature.
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => PullError::Malformed {
            host,
            what: "an address",
            cause: Quoted::new("it is not understood"),
        },
        other => PullError::Malformed {
            host,
            what: "something",
            cause: Quoted::new(&other.to_string()),
        },
    }
}
