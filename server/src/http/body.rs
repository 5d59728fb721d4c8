//! A request's body within its size and its time. What is too large is read on and thrown away up to a bound, because
//! a client that is still sending does not see an answer before its last byte.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

/// Bytes past the limit that are read and thrown away, as a multiple of it.
pub(super) const DISCARDED_TIMES: u64 = 16;

// Anything else is a body without fault so far.
const TOO_LARGE: u8 = 1;
const TOO_SLOW: u8 = 2;

/// What a body may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measure {
    /// Bytes that are handed on at most.
    pub(super) bytes_max: u64,
    /// Bytes past them that are read and thrown away.
    pub(super) discarded_max: u64,
    pub(super) time: BodyTime,
}

/// How long a body may take.
#[derive(Clone, Copy, Debug)]
pub(super) enum BodyTime {
    /// All of it.
    Whole(Duration),
    /// Each of its chunks, however many there are.
    EachChunk(Duration),
}

/// Why a body was not handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    TooLarge,
    TooSlow,
}

/// What became of one body; read after its handler has answered.
#[derive(Clone, Default)]
pub(super) struct Verdict(Arc<AtomicU8>);

impl Verdict {
    pub(super) fn fault(&self) -> Option<Fault> {
        match self.0.load(Ordering::Relaxed) {
            TOO_LARGE => Some(Fault::TooLarge),
            TOO_SLOW => Some(Fault::TooSlow),
            _ => None,
        }
    }
}

/// Hands on at most so many bytes within so much time, then fails.
pub(super) struct MeasuredBody {
    body: Body,
    left: u64,
    discard_left: u64,
    /// Begins again with each chunk, if it is for each.
    chunk_time: Option<Duration>,
    deadline: Pin<Box<Sleep>>,
    verdict: Verdict,
}

impl MeasuredBody {
    pub(super) fn new(body: Body, measure: Measure) -> (MeasuredBody, Verdict) {
        let verdict = Verdict::default();
        let (time, chunk_time) = match measure.time {
            BodyTime::Whole(time) => (time, None),
            BodyTime::EachChunk(time) => (time, Some(time)),
        };
        let measured = MeasuredBody {
            body,
            left: measure.bytes_max,
            discard_left: measure.discarded_max,
            chunk_time,
            deadline: Box::pin(sleep(time)),
            verdict: verdict.clone(),
        };
        (measured, verdict)
    }

    fn fail(&self, fault: u8) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.verdict.0.store(fault, Ordering::Relaxed);
        let why = if fault == TOO_SLOW {
            "request body took too long"
        } else {
            "request body is too large"
        };
        Poll::Ready(Some(Err(axum::Error::new(std::io::Error::other(why)))))
    }
}

impl HttpBody for MeasuredBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        loop {
            let is_over = self.verdict.fault() == Some(Fault::TooLarge);
            // First what has come: the sender is not slow whose bytes have waited for us.
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx)? else {
                ready!(self.deadline.as_mut().poll(cx));
                return self.fail(if is_over { TOO_LARGE } else { TOO_SLOW });
            };
            let Some(frame) = frame else {
                return if is_over {
                    self.fail(TOO_LARGE)
                } else {
                    Poll::Ready(None)
                };
            };
            if let Some(time) = self.chunk_time {
                self.deadline.as_mut().reset(Instant::now() + time);
            }
            let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
            if !is_over && bytes <= self.left {
                self.left -= bytes;
                return Poll::Ready(Some(Ok(frame)));
            }
            self.verdict.0.store(TOO_LARGE, Ordering::Relaxed);
            match self.discard_left.checked_sub(bytes) {
                Some(left) => self.discard_left = left,
                None => return self.fail(TOO_LARGE),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.verdict.fault().is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::BodyExt;

    use super::*;

    /// What becomes of three bytes that come 20 seconds after one another.
    async fn outcome(time: BodyTime) -> (Option<usize>, Option<Fault>) {
        let bytes = stream::unfold(0, |sent| async move {
            sleep(Duration::from_secs(20)).await;
            (sent < 3).then(|| (Ok::<_, std::io::Error>(Bytes::from_static(b"a")), sent + 1))
        });
        let measure = Measure {
            bytes_max: 3,
            discarded_max: 0,
            time,
        };
        let (body, verdict) = MeasuredBody::new(Body::from_stream(bytes), measure);
        let whole = body.collect().await.ok();
        (whole.map(|whole| whole.to_bytes().len()), verdict.fault())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_timed_by_its_chunks_may_take_as_long_as_it_keeps_coming() {
        let time = Duration::from_secs(30);
        assert_eq!(outcome(BodyTime::EachChunk(time)).await, (Some(3), None));
        assert_eq!(outcome(BodyTime::Whole(time)).await, (None, Some(Fault::TooSlow)));
        let short = BodyTime::EachChunk(Duration::from_secs(10));
        assert_eq!(outcome(short).await, (None, Some(Fault::TooSlow)));
    }
}
