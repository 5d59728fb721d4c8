//! `tandem cp` and `tandem rm`: by the server, which lets go of what it has loaded; where none runs, or the usual one does
//! not know the model, in our own store directly.

use std::process::ExitCode;

use library::store::{ModelName, StoreError};
use serde_json::{Value, json};

use super::server::{Server, with_near_names};
use crate::client::ClientError;
use crate::config::{Config, Said};
use crate::failure::Failure;
use crate::logging::safe;
use crate::shelf::Places;

/// Characters of a name at most.
const NAME_CHARS: usize = 200;

/// Gives the model `from` the second name `to`.
///
/// # Errors
/// There is no such model, or the name is none.
pub(super) async fn copy(server: &Server, said: &Said, from: &str, to: &str) -> Result<ExitCode, Failure> {
    let request = json!({"source": from, "destination": to});
    let answer = server.client.post("/api/copy", &request).await;
    let here = |places: &Places| {
        let (from, to) = (from.parse::<ModelName>()?, to.parse::<ModelName>()?);
        places.own.copy(&places.stores, &from, &to).map(drop)
    };
    done(answer, server, said, from, here).await?;
    crate::print(&format!("copied '{}' to '{}'\n", shown(from), shown(to)))
}

/// Removes each of `models`, and the files that nothing else needs.
///
/// # Errors
/// There is no such model, or only in a store that is not ours; those before it are removed.
pub(super) async fn remove(server: &Server, said: &Said, models: &[String]) -> Result<ExitCode, Failure> {
    for model in models {
        let answer = server.client.delete("/api/delete", &json!({"model": model})).await;
        let here = |places: &Places| places.own.delete(&places.stores, &model.parse()?);
        done(answer, server, said, model, here).await?;
        crate::print(&format!("deleted '{}'\n", shown(model)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes the server's answer, or does it here where the server is none that was named.
async fn done(
    answer: Result<Value, ClientError>,
    server: &Server,
    said: &Said,
    model: &str,
    here: impl FnOnce(&Places) -> Result<(), StoreError>,
) -> Result<(), Failure> {
    match answer {
        Ok(_) => Ok(()),
        Err(error) if !server.is_named && (error.is_nobody() || error.is_not_found()) => {
            Ok(here(&Config::resolve(said)?.places())?)
        }
        Err(error) => Err(with_near_names(error, &server.client, model).await),
    }
}

fn shown(name: &str) -> String {
    safe(name, NAME_CHARS)
}
