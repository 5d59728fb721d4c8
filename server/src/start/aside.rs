//! A server for one user inside a command: on a port that the system chooses, without a banner, ended by the command.

use std::net::SocketAddr;

use anyhow::Context;
use tokio::net::TcpListener;

use super::load;
use super::serve::Open;
use crate::config::Config;
use crate::failure::Failure;

/// A model that is served to this process only as long as it wants.
pub(crate) struct Aside {
    /// Where, on this machine.
    pub(crate) address: SocketAddr,
    /// The model's own name.
    pub(crate) model: String,
    open: Open,
}

impl Aside {
    /// Loads the configured model, which may take minutes and is shown, and serves it.
    ///
    /// # Errors
    /// What kept it from loading.
    pub(crate) async fn start(config: &Config) -> Result<Aside, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.context("cannot listen on a port of this machine")?;
        let address = listener.local_addr().context("the listening socket has no address")?;
        let loading = tokio::task::spawn_blocking({
            let config = config.clone();
            move || load(&config)
        });
        let loaded = loading.await.context("loading the model ended badly")??;
        let first = loaded.app.roster.loaded().into_iter().next();
        let model = first.map_or_else(|| "default".to_owned(), |served| served.card.id.clone());
        Ok(Aside {
            address,
            model,
            open: Open::begin(loaded, listener, address, config),
        })
    }

    /// Stops the engines.
    pub(crate) async fn end(self) {
        self.open.close().await;
    }
}
