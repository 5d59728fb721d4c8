//! One connection from accept to close: HTTP/1 by hyper, deadlines by its phase, a stall limit on writes.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::http::{Request, Response};
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};
use tokio_io_timeout::TimeoutWriter;
use tower::ServiceExt;

use super::HttpLimits;
use super::accept::Closing;
use super::places::{Busy, Life, Phase, Place};

/// Serves `stream` until the client leaves, a limit is passed, its place is given away, or we close.
pub(super) async fn attend(stream: TcpStream, place: Place, router: Router, limits: HttpLimits, mut closing: Closing) {
    let life = place.life.clone();
    let mut writer = TimeoutWriter::new(Watched {
        stream,
        life: life.clone(),
    });
    writer.set_timeout(Some(limits.write_time));
    let io = TokioIo::new(Box::pin(writer));
    let service = service_fn(|request| answer(router.clone(), life.clone(), request));
    let mut connection = builder(&limits).serve_connection(io, service);
    let mut timer = pin!(sleep_until(life.deadline(&limits)));
    // Last in the order below: by then hyper has read what there is, and the phase is true.
    let mut lapse = poll_fn(|cx: &mut Context<'_>| {
        let deadline = life.deadline(&limits);
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx)
    });
    let mut is_closing = false;
    let ended = loop {
        tokio::select! {
            biased;
            () = life.evicted() => break End::Evicted,
            result = Pin::new(&mut connection) => break End::Done(result),
            () = closing.begun(), if !is_closing => {
                is_closing = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            () = &mut lapse => break End::Lapsed(life.phase()),
        }
    };
    match ended {
        End::Done(Err(error)) => tracing::debug!(%error, "connection ended"),
        End::Lapsed(Phase::Head) => tell_of_timeout(connection.into_parts().io.into_inner(), &limits).await,
        End::Done(Ok(())) | End::Evicted | End::Lapsed(_) => {}
    }
}

enum End {
    Done(hyper::Result<()>),
    Evicted,
    Lapsed(Phase),
}

fn builder(limits: &HttpLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // A client that closes its half has left: the running request is dropped, which cancels its job.
    builder.half_close(false).timer(TokioTimer::new());
    // hyper's own header timer also runs between requests; our deadlines tell the two apart.
    builder.header_read_timeout(None);
    builder.max_headers(limits.headers).max_header_size(limits.header_bytes);
    // hyper accepts no smaller buffer than 8 KiB.
    builder.max_buf_size(limits.header_bytes.max(8 * 1024));
    builder
}

async fn answer(router: Router, life: Arc<Life>, request: Request<Incoming>) -> Result<Response<BusyBody>, Infallible> {
    let busy = life.busy();
    let response = router.oneshot(request.map(Body::new)).await?;
    Ok(response.map(|body| BusyBody { body, _busy: busy }))
}

/// The last words to a client that began a request and never came to its headers' end.
async fn tell_of_timeout(mut io: impl AsyncWrite + Unpin, limits: &HttpLimits) {
    const ANSWER: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let farewell = async {
        io.write_all(ANSWER).await?;
        io.shutdown().await
    };
    // Whoever is too slow to send headers may be too slow to read; nothing more is owed.
    let _ = timeout(limits.header_time, farewell).await;
}

/// A reply's body that keeps its connection busy until it ends or is dropped.
struct BusyBody {
    body: Body,
    _busy: Busy,
}

impl HttpBody for BusyBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket that tells its connection's life when bytes come in.
struct Watched {
    stream: TcpStream,
    life: Arc<Life>,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.life.bytes_read();
        }
        result
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
