//! The accept loop: takes connections, gives each a place and a task, and closes them all at the end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::HttpLimits;
use super::connection::attend;
use super::places::{Places, Room};
use crate::metrics::Metrics;

/// Pause after an accept that failed for want of descriptors or memory: connections may end meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections being told at one time that the house is full; more are closed without a word.
const REFUSALS_MAX: usize = 64;

/// How long one of them may take.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// What a full house answers: the same shape as every other error.
const FULL: &str = "{\"error\":{\"message\":\"all connections hold a running request: try again in a second\",\
\"type\":\"server_error\",\"param\":null,\"code\":\"server_overloaded\"}}";

/// Tells the accept loop and every connection that it is time to close. Clones see the same.
#[derive(Clone)]
pub(crate) struct Closing(watch::Receiver<bool>);

impl Closing {
    /// The switch and what it is seen by.
    pub(crate) fn switch() -> (watch::Sender<bool>, Closing) {
        let (sender, receiver) = watch::channel(false);
        (sender, Closing(receiver))
    }

    /// Resolves once closing has begun, or when nobody is left to begin it.
    pub(super) async fn begun(&mut self) {
        let _ = self.0.wait_for(|begun| *begun).await;
    }
}

/// The door: a listening socket and what is behind it.
pub(crate) struct Front {
    listener: TcpListener,
    router: Router,
    limits: HttpLimits,
    metrics: Metrics,
    places: Places,
    refusals: Arc<Semaphore>,
}

impl Front {
    pub(crate) fn new(listener: TcpListener, router: Router, limits: HttpLimits, metrics: Metrics) -> Front {
        let places = Places::new(&limits);
        Front {
            listener,
            router,
            limits,
            metrics,
            places,
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
        }
    }

    /// Serves until closing begins, then lets every connection end its request, for at most `farewell`.
    pub(crate) async fn serve(self, mut closing: Closing, farewell: Duration) {
        let mut tasks = JoinSet::new();
        let mut is_short = false;
        loop {
            tokio::select! {
                () = closing.begun() => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        is_short = false;
                        if self.admit(stream, peer, &closing, &mut tasks) == Room::Made {
                            // Lets the evicted one close before the next is accepted, or descriptors run out.
                            tokio::task::yield_now().await;
                        }
                    }
                    Err(error) => is_short = self.endure(&error, is_short).await,
                },
                Some(ended) = tasks.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a connection's task ended badly");
                    }
                }
            }
        }
        drop(self.listener);
        let all = async { while tasks.join_next().await.is_some() {} };
        if timeout(farewell, all).await.is_err() {
            tasks.shutdown().await;
        }
    }

    /// Gives the connection a place and a task, or a refusal. Says whether another one had to go.
    fn admit(&self, stream: TcpStream, peer: SocketAddr, closing: &Closing, tasks: &mut JoinSet<()>) -> Room {
        // Tokens are small and each is wanted at once; a socket that is gone already shows at its first read.
        let _ = stream.set_nodelay(true);
        let Ok((place, room)) = self.places.take(peer.ip().to_canonical()) else {
            self.turn_away(stream, tasks);
            return Room::Free;
        };
        if room == Room::Made {
            self.metrics.connection_evicted();
        }
        let open = self.metrics.connection_opened();
        let served = attend(stream, place, self.router.clone(), self.limits.clone(), closing.clone());
        tasks.spawn(async move {
            served.await;
            drop(open);
        });
        room
    }

    fn turn_away(&self, stream: TcpStream, tasks: &mut JoinSet<()>) {
        self.metrics.connection_refused();
        if let Ok(permit) = self.refusals.clone().try_acquire_owned() {
            tasks.spawn(async move {
                let _ = timeout(REFUSAL_TIME, refuse(stream)).await;
                drop(permit);
            });
        }
    }

    /// Waits out a failed accept. Returns whether we are short of something, so that it is said once.
    async fn endure(&self, error: &io::Error, was_short: bool) -> bool {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
        if matches!(
            error.kind(),
            ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
        ) {
            return was_short;
        }
        if !was_short {
            tracing::warn!(%error, "cannot accept connections: closing idle ones; raise `ulimit -n` or lower `connections`");
        }
        if self.places.give_one_up().is_ok() {
            self.metrics.connection_evicted();
        }
        sleep(ACCEPT_PAUSE).await;
        true
    }
}

/// Answers without reading first, then reads what comes: closing on unread bytes would take the answer back.
async fn refuse(mut stream: TcpStream) -> io::Result<()> {
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{FULL}",
        FULL.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    let mut unread = [0; 1024];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}
