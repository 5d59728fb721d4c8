//! Serving, and the end of it: refuse what is new, let running replies end, cut what is left, stop the engines.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{ENDED_AT_ONCE, Loaded, Signals, banner, descriptors};
use crate::api;
use crate::app::App;
use crate::config::Config;
use crate::failure::Failure;
use crate::http::{Closing, Front, Guards, Hosts, HttpLimits, InFlight, guarded};

/// After the drain's deadline: time for streams to say that they end, and for sockets to take it.
const FAREWELL: Duration = Duration::from_secs(1);

/// Time for the engines to end the step they are in.
const ENGINES_STOP: Duration = Duration::from_secs(10);

/// Serves `loaded` on `listener` until a signal has been obeyed.
///
/// # Errors
/// Nothing that a client can cause.
pub(super) async fn serve(
    loaded: Loaded,
    listener: TcpListener,
    config: &Config,
    mut signals: Signals,
) -> Result<ExitCode, Failure> {
    let address = listener.local_addr().context("the listening socket has no address")?;
    banner::show(&loaded, config, address);
    let open = Open::begin(loaded, listener, address, config);
    let app = &open.app;
    let ending = tokio::select! {
        name = signals.next() => Ending::Signal(name),
        reasons = app.roster.lost() => Ending::NoEngineLeft(reasons),
    };
    let leave = async {
        match &ending {
            Ending::Signal(name) => drain(&open.app, &open.in_flight, config, name).await,
            Ending::NoEngineLeft(_) => say_farewell(&open.app, &open.in_flight).await,
        }
        open.close().await;
    };
    tokio::select! {
        () = leave => {}
        name = signals.next() => {
            tracing::warn!(signal = name, "second signal: ended at once");
            return Ok(ExitCode::from(ENDED_AT_ONCE));
        }
    }
    match ending {
        Ending::Signal(_) => Ok(ExitCode::SUCCESS),
        Ending::NoEngineLeft(reasons) => Err(Failure::NoEngineLeft(reasons)),
    }
}

/// Routes with clients at them.
pub(super) struct Open {
    app: Arc<App>,
    in_flight: InFlight,
    close: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Open {
    /// Serves on `listener`, which is at `address`.
    pub(super) fn begin(loaded: Loaded, listener: TcpListener, address: SocketAddr, config: &Config) -> Open {
        let app = Arc::new(loaded.app);
        let in_flight = InFlight::new();
        let guards = Guards {
            limits: config.http.clone(),
            body_bytes_max: config.limits.body_bytes_max,
            blob_bytes_max: config.rules.blob_bytes_max,
            drain: app.drain.clone(),
            metrics: app.metrics.clone(),
            in_flight: in_flight.clone(),
            origins: config.origins.clone(),
            hosts: Hosts::of(address.ip(), &config.hosts),
        };
        let routes = guarded(api::router(app.clone()), guards);
        let (close, closing) = Closing::switch();
        let limits = HttpLimits {
            connections: descriptors::bounded(config.http.connections),
            ..config.http.clone()
        };
        let front = Front::new(listener, routes, limits, app.metrics.clone());
        tokio::spawn(app.roster.clone().tend());
        Open {
            serving: tokio::spawn(front.serve(closing, FAREWELL)),
            app,
            in_flight,
            close,
        }
    }

    /// Closes every connection and stops the engines; requests that still run are cut.
    pub(super) async fn close(self) {
        self.app.drain.begin();
        self.app.drain.expire();
        let _ = self.close.send(true);
        if let Err(error) = self.serving.await {
            tracing::error!(%error, "the accept loop ended badly");
        }
        stop_engines(&self.app).await;
    }
}

/// Why serving ends.
enum Ending {
    Signal(&'static str),
    /// Each engine's reason.
    NoEngineLeft(String),
}

/// Nobody can compute: the requests have ended as failed, and their clients get a moment to hear it.
async fn say_farewell(app: &App, in_flight: &InFlight) {
    app.drain.begin();
    app.drain.expire();
    let _ = timeout(FAREWELL, in_flight.none()).await;
}

/// Waits for the running requests, first of their own accord, then by force.
async fn drain(app: &App, in_flight: &InFlight, config: &Config, signal: &str) {
    let running = in_flight.count();
    app.drain.begin();
    app.metrics.draining();
    tracing::info!(
        signal,
        running,
        drain_seconds = config.drain.as_secs(),
        "shutting down: no new requests"
    );
    if timeout(config.drain, in_flight.none()).await.is_ok() {
        tracing::info!(finished = running, cut = 0, "all requests have ended");
        return;
    }
    let cut = in_flight.count();
    app.drain.expire();
    let is_gone = timeout(FAREWELL, in_flight.none()).await.is_ok();
    tracing::warn!(
        finished = running.saturating_sub(cut),
        cut,
        told = is_gone,
        "time is up: requests were cut"
    );
}

/// The engines' threads end after their current step.
async fn stop_engines(app: &App) {
    let roster = app.roster.clone();
    let stopping = tokio::task::spawn_blocking(move || roster.stop());
    match timeout(ENGINES_STOP, stopping).await {
        Ok(Ok(())) => tracing::info!("stopped"),
        Ok(Err(error)) => tracing::error!(%error, "stopping the engines ended badly"),
        Err(_) => tracing::warn!("an engine is still in its step: left behind"),
    }
}
