//! The bytes' side of HTTP: who may hold a connection, how long a head, a body or a write may take, and what is
//! written down of each request. The routes themselves are `api`'s.

mod accept;
mod body;
mod connection;
mod cors;
mod form;
mod host;
mod notes;
mod places;
mod record;
mod refuse;
mod request_id;

use std::time::Duration;

pub(crate) use accept::{Closing, Front};
pub(crate) use cors::Origins;
pub(crate) use form::ErrorForm;
pub(crate) use host::Hosts;
pub(crate) use notes::Notes;
pub(crate) use record::InFlight;
pub(crate) use refuse::{Guards, guarded};
pub(crate) use request_id::RequestId;
#[cfg(test)]
pub(crate) use request_id::name_and_contain;

/// What one client may hold or take its time with. Each is a setting; the defaults are Envoy's and HAProxy's kind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HttpLimits {
    /// Connections open at once.
    pub(crate) connections: usize,
    /// Connections open at once from one address; loopback is exempt, because a proxy there speaks for many.
    pub(crate) connections_per_ip: usize,
    /// From a request's first byte to the end of its headers.
    pub(crate) header_time: Duration,
    /// Bytes of the request line and the headers; past it 431.
    pub(crate) header_bytes: usize,
    /// Number of headers; past it 431.
    pub(crate) headers: usize,
    /// Bytes of path and query; past it 414.
    pub(crate) uri_bytes: usize,
    /// From the headers' end to the body's; past it 408.
    pub(crate) body_time: Duration,
    /// Between two requests on one connection.
    pub(crate) idle_time: Duration,
    /// Without the client taking a single byte of what waits for it.
    pub(crate) write_time: Duration,
}

#[cfg(test)]
mod tests;
