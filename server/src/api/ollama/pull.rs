//! `POST /api/pull`: a model fetched by this server because a client asks, and every client that waits told how far it is.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use library::pull::{Progress, PullError};
use library::store::ModelName;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::timeout;

use super::files::{flag, name_of, refused, reply};
use super::{AnyJson, OllamaError};
use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::framing::Framing;
use crate::api::wire::{Given, json};
use crate::roster::Meaning;
use crate::shelf::{Ended, PullName, Pulls, Told};

/// How long an answer waits for more to tell than that a download has begun, so that a refusal has its own status.
const FIRST_STEP_TIME: Duration = Duration::from_secs(1);
/// Times that a download is begun anew because the last client but this one has just left it.
const BEGINNINGS_MAX: usize = 3;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct PullRequest {
    model: Given,
    name: Given,
    stream: Given,
    insecure: Given,
}

/// One line of a stream, or the whole answer.
#[derive(Serialize)]
pub(super) struct Status {
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<u64>,
}

impl Status {
    /// Words alone.
    pub(super) fn of(status: impl Into<String>) -> Status {
        Status {
            status: status.into(),
            digest: None,
            total: None,
            completed: None,
        }
    }

    /// The last line of what went well.
    pub(super) fn success() -> Status {
        Status::of("success")
    }
}

impl From<&Progress> for Status {
    fn from(progress: &Progress) -> Status {
        let mut status = Status::of(progress.status());
        if let Progress::File {
            digest,
            total_bytes,
            completed_bytes,
        } = progress
        {
            status.digest = Some(digest.to_string());
            status.total = Some(*total_bytes);
            status.completed = Some(*completed_bytes);
        }
        status
    }
}

/// Lines that are all there.
pub(super) fn lines(statuses: &[Status]) -> Result<Response, OllamaError> {
    let lines: Result<Vec<Bytes>, ApiError> = statuses.iter().map(line).collect();
    Ok(streamed(Body::from(lines?.concat())))
}

fn line(status: &Status) -> Result<Bytes, ApiError> {
    Ok(Framing::Lines.frame(&json::to_line(status)?))
}

fn streamed(body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, Framing::Lines.content_type()),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, body).into_response()
}

/// `POST /api/pull`
pub(super) async fn pull(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    AnyJson(request): AnyJson<PullRequest>,
) -> Result<Response, OllamaError> {
    let name = name_of(&request.model, &request.name)?;
    let is_streamed = flag("stream", &request.stream, true)?;
    let is_insecure = flag("insecure", &request.insecure, false)?;
    if is_there(&api, &name).await {
        return if is_streamed {
            lines(&[Status::success()])
        } else {
            reply(&Status::success())
        };
    }
    api.require_changeable(&headers)?;
    let wanted: PullName = name.parse().map_err(|error| refused(&error, &name))?;
    if is_insecure {
        require_insecure_host(&api, &wanted)?;
    }
    let mut following = Following::begin(api, wanted)?;
    // A name that is refused at once is refused with its status.
    following.wait_for_a_step().await;
    if let Some(Ended::Badly(error)) = &following.told.borrow().ended
        && following
            .told
            .borrow()
            .steps
            .iter()
            .all(|step| *step == Progress::Manifest)
    {
        return Err(refusal(error));
    }
    if is_streamed {
        return Ok(following.stream());
    }
    following.end().await?;
    reply(&Status::success())
}

/// Whether a model of this name can be used as it is.
async fn is_there(api: &Arc<Api>, name: &str) -> bool {
    let (names, asked) = (api.app.roster.names().clone(), name.to_owned());
    let looked = api.on_shelf(move |shelf| match names.meaning(Some(&asked)) {
        Meaning::Configured { .. } => true,
        Meaning::Stored { name, .. } => {
            let is_stored = shelf.find(&name).is_some_and(|choice| shelf.has(&choice));
            // One that stands in for it is not it, and is taken for it only where it cannot be fetched.
            is_stored || names.any_model || !shelf.rules.is_changeable && names.stands_in(&name)
        }
    });
    looked.await.unwrap_or_default()
}

/// Without TLS only where the operator has written so: who asks may not decide it.
fn require_insecure_host(api: &Api, wanted: &PullName) -> Result<(), OllamaError> {
    let host = match wanted {
        PullName::Registry(name) => host(name),
        PullName::Hub(_) => "",
    };
    let allowed = api.app.shelf.rules.pull.hosts.iter().flatten();
    let mut plain = allowed.filter_map(|allowed| allowed.trim().strip_prefix("http://"));
    if plain.any(|plain| plain.trim_end_matches('/').eq_ignore_ascii_case(host)) {
        return Ok(());
    }
    Err(OllamaError::bad_request(
        "insecure is true: leave it out, or let whoever runs this server add that host with `http://` to `pull_hosts`",
    ))
}

fn host(name: &ModelName) -> &str {
    let [host, ..] = name.parts();
    host
}

/// What a client is told of a download that failed.
fn refusal(error: &PullError) -> OllamaError {
    let status = match error {
        PullError::Host { .. } | PullError::PrivateAddress { .. } => StatusCode::FORBIDDEN,
        PullError::SignIn { .. } | PullError::Gated { .. } => StatusCode::FORBIDDEN,
        PullError::NoSuchModel | PullError::NoSuchRepo { .. } | PullError::Choice(_) => StatusCode::NOT_FOUND,
        PullError::NotGguf | PullError::Adapter => StatusCode::BAD_REQUEST,
        PullError::Busy => StatusCode::CONFLICT,
        PullError::DiskFull { .. } => StatusCode::INSUFFICIENT_STORAGE,
        PullError::Disk(_) | PullError::Store(_) | PullError::Setting { .. } | PullError::Token => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        _ => StatusCode::BAD_GATEWAY,
    };
    let hint = if matches!(error, PullError::Host { .. } | PullError::PrivateAddress { .. }) {
        " with the setting `pull_hosts`"
    } else {
        ""
    };
    OllamaError::Own {
        status,
        message: format!("{error}{hint}"),
    }
}

/// One client's look at a download.
struct Following {
    api: Arc<Api>,
    name: PullName,
    told: watch::Receiver<Told>,
    /// What the client was told, step by step.
    sent: Vec<Progress>,
    begun: usize,
    is_over: bool,
}

impl Following {
    fn begin(api: Arc<Api>, name: PullName) -> Result<Following, OllamaError> {
        Ok(Following {
            told: follow(&api, &name)?,
            api,
            name,
            sent: Vec::new(),
            begun: 1,
            is_over: false,
        })
    }

    /// Returns when there is more to tell than that the download has begun.
    async fn wait_for_a_step(&mut self) {
        let is_under_way = |told: &Told| told.ended.is_some() || told.steps.len() > 1;
        let _ = timeout(FIRST_STEP_TIME, self.told.wait_for(is_under_way)).await;
    }

    /// Returns when the download has ended, with its error if it has one.
    async fn end(mut self) -> Result<(), OllamaError> {
        loop {
            let drain = self.api.app.drain.clone();
            let ended = tokio::select! {
                told = self.told.wait_for(|told| told.ended.is_some()) => told.ok().and_then(|told| told.ended.clone()),
                () = drain.deadline() => return Err(ApiError::ShuttingDown.into()),
            };
            if !self.begins_anew(ended.as_ref())? {
                return outcome(ended.as_ref());
            }
        }
    }

    /// Begins anew if the download was stopped because nobody followed it, just before this client came.
    fn begins_anew(&mut self, ended: Option<&Ended>) -> Result<bool, OllamaError> {
        let is_stopped = matches!(ended, Some(Ended::Badly(error)) if matches!(**error, PullError::Stopped));
        if !is_stopped || self.begun >= BEGINNINGS_MAX {
            return Ok(false);
        }
        self.begun += 1;
        self.told = follow(&self.api, &self.name)?;
        Ok(true)
    }

    fn stream(self) -> Response {
        let body = stream::unfold(self, |mut following| async move {
            let chunk = following.next().await?;
            Some((Ok::<_, Infallible>(chunk), following))
        });
        streamed(Body::from_stream(body))
    }

    /// The next lines.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.is_over {
                return None;
            }
            let told = self.told.borrow_and_update().clone();
            match self.news(&told) {
                Ok(lines) if lines.is_empty() => {}
                Ok(lines) => return Some(lines),
                Err(error) => return Some(self.failed(error.into())),
            }
            if told.ended.is_some() {
                match self.begins_anew(told.ended.as_ref()) {
                    Ok(true) => continue,
                    Ok(false) => {}
                    Err(error) => return Some(self.failed(error)),
                }
                let ended = outcome(told.ended.as_ref()).err();
                self.is_over = true;
                return ended.map(|error| self.failed(error));
            }
            let drain = self.api.app.drain.clone();
            let silence = self.api.app.limits.keep_alive;
            tokio::select! {
                changed = timeout(silence, self.told.changed()) => match changed {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Some(self.failed(ApiError::Internal.into())),
                    // The last line again: proxies and clients take a long silence for an end.
                    Err(_) => drop(self.sent.pop()),
                },
                () = drain.deadline() => return Some(self.failed(ApiError::ShuttingDown.into())),
            }
        }
    }

    /// A line for each step that the client does not know.
    fn news(&mut self, told: &Told) -> Result<Bytes, ApiError> {
        let mut lines = Vec::new();
        for (index, step) in told.steps.iter().enumerate() {
            if self.sent.get(index) == Some(step) {
                continue;
            }
            lines.push(line(&Status::from(step))?);
            match self.sent.get_mut(index) {
                Some(sent) => sent.clone_from(step),
                None => self.sent.push(step.clone()),
            }
        }
        Ok(lines.concat().into())
    }

    fn failed(&mut self, error: OllamaError) -> Bytes {
        self.is_over = true;
        Framing::Lines.frame(&error.to_json())
    }
}

fn follow(api: &Api, name: &PullName) -> Result<watch::Receiver<Told>, OllamaError> {
    Pulls::follow(&api.app.shelf, name).ok_or_else(|| OllamaError::Own {
        status: StatusCode::SERVICE_UNAVAILABLE,
        message: "too many models are being pulled: try again when one of them is there".to_owned(),
    })
}

fn outcome(ended: Option<&Ended>) -> Result<(), OllamaError> {
    match ended {
        Some(Ended::Well) => Ok(()),
        Some(Ended::Badly(error)) => Err(refusal(error)),
        Some(Ended::Lost) | None => Err(ApiError::Internal.into()),
    }
}
