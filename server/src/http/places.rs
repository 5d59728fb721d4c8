//! Who holds a connection. When all places are taken, the connection that has waited longest without a request gives
//! its place up, so that a crowd of idle or slow clients cannot keep a good one out; running requests never do.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::HttpLimits;

/// The table of open connections. Clones share it.
#[derive(Clone)]
pub(super) struct Places {
    table: Arc<Mutex<Table>>,
    places_max: usize,
    per_ip_max: usize,
}

#[derive(Default)]
struct Table {
    open: HashMap<u64, Entry>,
    next_key: u64,
}

struct Entry {
    ip: IpAddr,
    life: Arc<Life>,
}

/// Every place is held by a running request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// Says whether another connection had to go.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(super) enum Room {
    Free,
    Made,
}

impl Places {
    pub(super) fn new(limits: &HttpLimits) -> Places {
        Places {
            table: Arc::default(),
            places_max: limits.connections,
            per_ip_max: limits.connections_per_ip,
        }
    }

    /// Takes a place for a client at `ip`, if need be from the connection that has waited longest.
    pub(super) fn take(&self, ip: IpAddr) -> Result<(Place, Room), Full> {
        let mut table = self.lock();
        let same = table.open.values().filter(|entry| entry.ip == ip).count();
        let mut room = Room::Free;
        if !ip.is_loopback() && same >= self.per_ip_max {
            table.evict(|entry| entry.ip == ip)?;
            room = Room::Made;
        }
        if table.open.len() >= self.places_max {
            table.evict(|_| true)?;
            room = Room::Made;
        }
        let key = table.next_key;
        table.next_key += 1;
        let life = Arc::new(Life::new());
        table.open.insert(key, Entry { ip, life: life.clone() });
        Ok((
            Place {
                places: self.clone(),
                key,
                life,
            },
            room,
        ))
    }

    /// Closes the connection that has waited longest, for want of file descriptors.
    pub(super) fn give_one_up(&self) -> Result<(), Full> {
        self.lock().evict(|_| true)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn evict(&mut self, may_go: impl Fn(&Entry) -> bool) -> Result<(), Full> {
        let waiting = self.open.iter().filter(|(_, entry)| may_go(entry));
        let longest = waiting
            .filter_map(|(key, entry)| Some((entry.life.waiting_since()?, *key)))
            .min();
        let (_, key) = longest.ok_or(Full)?;
        if let Some(entry) = self.open.remove(&key) {
            entry.life.evicted.notify_one();
        }
        Ok(())
    }
}

/// One open connection's place; given back on drop.
pub(super) struct Place {
    places: Places,
    key: u64,
    pub(super) life: Arc<Life>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().open.remove(&self.key);
    }
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Open, no byte of a first request yet.
    Fresh,
    /// Between two requests.
    Idle,
    /// In the middle of a request's headers.
    Head,
    /// A request is being answered.
    Busy,
}

/// One connection's phase and since when, seen by its task and by the table.
pub(super) struct Life {
    state: Mutex<(Phase, Instant)>,
    evicted: Notify,
}

impl Life {
    fn new() -> Life {
        Life {
            state: Mutex::new((Phase::Fresh, Instant::now())),
            evicted: Notify::new(),
        }
    }

    /// Resolves when the place was given to another.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Bytes came in: outside a request they begin the next one's headers.
    pub(super) fn bytes_read(&self) {
        let mut state = self.lock();
        if matches!(state.0, Phase::Fresh | Phase::Idle) {
            *state = (Phase::Head, Instant::now());
        }
    }

    /// A request is being answered for as long as the result lives.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        *self.lock() = (Phase::Busy, Instant::now());
        Busy(self.clone())
    }

    pub(super) fn phase(&self) -> Phase {
        self.lock().0
    }

    /// When the connection has waited long enough; far away while it is busy.
    pub(super) fn deadline(&self, limits: &HttpLimits) -> Instant {
        let (phase, since) = *self.lock();
        let patience = match phase {
            Phase::Fresh | Phase::Head => limits.header_time,
            Phase::Idle => limits.idle_time,
            Phase::Busy => Duration::from_secs(24 * 60 * 60),
        };
        since + patience
    }

    fn waiting_since(&self) -> Option<Instant> {
        let (phase, since) = *self.lock();
        (phase != Phase::Busy).then_some(since)
    }

    fn lock(&self) -> MutexGuard<'_, (Phase, Instant)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lives as long as a request is answered; its end makes the connection idle.
pub(super) struct Busy(Arc<Life>);

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.lock() = (Phase::Idle, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::limits;

    const NEAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const FAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn places(connections: usize, connections_per_ip: usize) -> Places {
        Places::new(&HttpLimits {
            connections,
            connections_per_ip,
            ..limits()
        })
    }

    #[test]
    fn the_last_place_is_free_and_one_past_it_closes_the_longest_waiting() {
        let places = places(2, 64);
        let (_first, room) = places.take(NEAR).unwrap();
        assert_eq!(room, Room::Free);
        let (second, room) = places.take(NEAR).unwrap();
        assert_eq!(room, Room::Free);
        let _busy = second.life.busy();
        let (third, room) = places.take(NEAR).unwrap();
        assert_eq!(room, Room::Made);
        let _also_busy = third.life.busy();
        assert_eq!(places.take(NEAR).err(), Some(Full));
    }

    #[test]
    fn one_address_cannot_take_the_places_of_another() {
        let places = places(8, 2);
        let (first, _) = places.take(FAR).unwrap();
        let (second, _) = places.take(FAR).unwrap();
        let (_busy, _too) = (first.life.busy(), second.life.busy());
        assert_eq!(places.take(FAR).err(), Some(Full));
        assert_eq!(places.take(OTHER).unwrap().1, Room::Free);
    }

    #[test]
    fn loopback_is_exempt_from_the_limit_per_address() {
        let places = places(8, 1);
        let _held: Vec<_> = (0..8).map(|_| places.take(NEAR).unwrap()).collect();
    }

    #[test]
    fn a_place_given_back_is_free_again() {
        let places = places(1, 64);
        let (place, _) = places.take(NEAR).unwrap();
        drop(place);
        assert_eq!(places.take(NEAR).unwrap().1, Room::Free);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_after_a_request_begin_the_next_head_and_its_shorter_deadline() {
        let limits = limits();
        let life = Arc::new(Life::new());
        life.bytes_read();
        assert_eq!(life.phase(), Phase::Head);
        let busy = life.busy();
        life.bytes_read();
        assert_eq!(life.phase(), Phase::Busy, "a body's bytes are not a head's");
        drop(busy);
        assert_eq!(life.phase(), Phase::Idle);
        assert_eq!(life.deadline(&limits), Instant::now() + limits.idle_time);
        tokio::time::advance(limits.idle_time / 2).await;
        life.bytes_read();
        assert_eq!(life.deadline(&limits), Instant::now() + limits.header_time);
    }
}
