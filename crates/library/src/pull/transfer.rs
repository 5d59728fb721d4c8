//! One large file, fetched from where its beginning ends: however often the connection breaks, and whether or not the
//! server knows of ranges.

use std::io::{self, Read};

use super::client::{Client, Reply};
use super::error::PullError;
use super::progress::FileReport;
use crate::Quoted;
use crate::store::Partial;

/// Bytes read at a time.
const CHUNK_BYTES: usize = 256 << 10;
/// Bytes that an attempt must have brought for the count of failed ones to begin anew: a server that sends single bytes
/// is not asked for ever.
const GAIN_BYTES_MIN: u64 = 1 << 20;

/// Fetches the rest of a file of `total` bytes. `open` asks for it from a position.
pub(super) fn fetch(
    client: &Client,
    total: u64,
    open: &mut dyn FnMut(u64) -> Result<Reply, PullError>,
    partial: &mut Partial,
    report: &mut FileReport<'_>,
) -> Result<(), PullError> {
    if partial.bytes() > total {
        restart(partial, total)?;
    }
    let mut failed = 0;
    loop {
        let before = partial.bytes();
        report.at(before)?;
        if before == total {
            return Ok(());
        }
        match attempt(client, total, open, partial, report) {
            Ok(()) => {}
            Err(error) if error.is_passing() => {
                if partial.bytes() >= before.saturating_add(GAIN_BYTES_MIN) {
                    failed = 0;
                }
                failed += 1;
                client.pause(failed, error)?;
            }
            Err(error) => return Err(error),
        }
    }
}

fn attempt(
    client: &Client,
    total: u64,
    open: &mut dyn FnMut(u64) -> Result<Reply, PullError>,
    partial: &mut Partial,
    report: &mut FileReport<'_>,
) -> Result<(), PullError> {
    let reply = open(partial.bytes())?;
    match reply.status() {
        // All of it, asked for or not.
        200 => {
            restart(partial, total)?;
            require_length(&reply, total)?;
        }
        206 => require_range(&reply, partial.bytes(), total)?,
        _ => return Err(reply.unexpected()),
    }
    let (host, mut body) = reply.into_body();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        client.require_going()?;
        // No more than is missing, whatever the server goes on sending.
        let missing = usize::try_from(total - partial.bytes())
            .unwrap_or(CHUNK_BYTES)
            .min(CHUNK_BYTES);
        if missing == 0 {
            return Ok(());
        }
        let wanted = chunk.get_mut(..missing).unwrap_or_default();
        let read = match body.read(wanted) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(error) => return Err(client.broken(&host, error)),
        };
        if read == 0 {
            client.require_going()?;
            let found = partial.bytes();
            return Err(PullError::Cut {
                host,
                found,
                expected: total,
            });
        }
        let appended = partial.append(chunk.get(..read).unwrap_or_default());
        appended.map_err(|error| PullError::of_store(error, total - partial.bytes()))?;
        report.at(partial.bytes())?;
    }
}

fn restart(partial: &mut Partial, total: u64) -> Result<(), PullError> {
    partial.restart().map_err(|error| PullError::of_store(error, total))
}

/// A whole file that says it has another length is not the file.
fn require_length(reply: &Reply, total: u64) -> Result<(), PullError> {
    let said = reply.header("content-length");
    match said.map(str::parse::<u64>) {
        None => Ok(()),
        Some(Ok(bytes)) if bytes == total => Ok(()),
        _ => Err(PullError::Malformed {
            host: reply.origin.to_string(),
            what: "a file",
            cause: Quoted::new(&format!(
                "it has {} bytes, {total} were announced",
                said.unwrap_or_default()
            )),
        }),
    }
}

/// A part of the file must be the part that was asked for.
fn require_range(reply: &Reply, from: u64, total: u64) -> Result<(), PullError> {
    let said = reply.header("content-range").unwrap_or_default();
    let range = said.strip_prefix("bytes ").and_then(|range| range.split_once('/'));
    let is_asked_for = range.is_some_and(|(range, whole)| {
        let first = range.split_once('-').and_then(|(first, _)| first.trim().parse().ok());
        first == Some(from) && (whole == "*" || whole.parse() == Ok(total))
    });
    if is_asked_for {
        return Ok(());
    }
    Err(PullError::Malformed {
        host: reply.origin.to_string(),
        what: "a part of a file",
        cause: Quoted::new(&format!("it is `{said}`, asked for was {from} to the end of {total}")),
    })
}
