//! Bytes in, bytes out, over real sockets. Clocks are paused where a limit is waited for: the runtime then jumps to
//! the next deadline whenever nothing else is left to do, so the tests assert what happens, not how long it takes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use super::*;
use crate::drain::Drain;
use crate::metrics::Metrics;

const BODY_MAX: usize = 1000;
const BLOB_MAX: u64 = 3000;

pub(super) fn limits() -> HttpLimits {
    HttpLimits {
        connections: 16,
        connections_per_ip: 16,
        header_time: Duration::from_secs(10),
        header_bytes: 16 * 1024,
        headers: 20,
        uri_bytes: 200,
        body_time: Duration::from_secs(30),
        idle_time: Duration::from_secs(60),
        write_time: Duration::from_secs(30),
    }
}

/// A front with a few routes behind it, and what the tests see of it.
struct House {
    address: SocketAddr,
    drain: Drain,
    in_flight: InFlight,
    metrics: Metrics,
    close: watch::Sender<bool>,
    serving: JoinHandle<()>,
    /// Lets `/hold` answer.
    go: Arc<Notify>,
    /// Hears of `/hold` beginning and of dropped handlers and bodies.
    heard: mpsc::UnboundedReceiver<&'static str>,
}

/// Says so when it is dropped.
struct Farewell(mpsc::UnboundedSender<&'static str>);

impl Drop for Farewell {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

impl House {
    async fn open(limits: HttpLimits) -> House {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (drain, in_flight, metrics) = (Drain::new(), InFlight::new(), Metrics::new().unwrap());
        let (tell, heard) = mpsc::unbounded_channel();
        let go = Arc::new(Notify::new());
        let guards = Guards {
            limits: limits.clone(),
            body_bytes_max: BODY_MAX,
            blob_bytes_max: BLOB_MAX,
            drain: drain.clone(),
            metrics: metrics.clone(),
            in_flight: in_flight.clone(),
            origins: Origins::Any,
            hosts: Hosts::Any,
        };
        let routes = guarded(routes(tell, go.clone()), guards);
        let (close, closing) = Closing::switch();
        let front = Front::new(listener, routes, limits, metrics.clone());
        let serving = tokio::spawn(front.serve(closing, Duration::from_secs(1)));
        House {
            address,
            drain,
            in_flight,
            metrics,
            close,
            serving,
            go,
            heard,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends `bytes` on a new connection and reads to its end.
    async fn talk(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_ref()).await.unwrap();
        rest(&mut stream).await
    }

    fn count(&self, series: &str) -> bool {
        self.metrics.render(&[]).lines().any(|line| line == series)
    }
}

fn routes(tell: mpsc::UnboundedSender<&'static str>, go: Arc<Notify>) -> Router {
    let hold = {
        let tell = tell.clone();
        move || async move {
            let farewell = Farewell(tell.clone());
            let _ = tell.send("begun");
            go.notified().await;
            drop(farewell);
            "held"
        }
    };
    let flood = move || async move {
        let farewell = Farewell(tell);
        let stream = futures_util::stream::repeat_with(move || {
            let _ = &farewell;
            Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 4096]))
        });
        Body::from_stream(stream)
    };
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/readyz", get(|| async { "ready" }))
        .route("/echo", post(|body: String| async move { body.len().to_string() }))
        .route(
            "/api/blobs/x",
            post(|body: String| async move { body.len().to_string() }),
        )
        .route("/hold", get(hold))
        .route("/flood", get(flood))
        .route("/panic", get(panicking))
}

async fn panicking() -> &'static str {
    panic!("as the test wants")
}

/// What comes until the other side closes; a reset counts as closed.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8(bytes).unwrap()
}

/// One answer's head and its body of known length, on a connection that stays open.
async fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .unwrap();
            if body.len() >= length.parse().unwrap() {
                return text;
            }
        }
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "closed after {text:?}");
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or(answer)
}

const CLOSE: &str = "host: x\r\nconnection: close\r\n";

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\n{CLOSE}\r\n")
}

fn post_of(bytes: usize) -> String {
    format!(
        "POST /echo HTTP/1.1\r\n{CLOSE}content-length: {bytes}\r\n\r\n{}",
        "a".repeat(bytes)
    )
}

#[tokio::test(start_paused = true)]
async fn slow_headers_are_told_408_and_closed() {
    let house = House::open(limits()).await;
    let answer = house.talk("GET / HTTP/1.1\r\nhost: x\r\nx-slow: ").await;
    assert_eq!(status(&answer), "408", "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_closed_without_a_word() {
    let house = House::open(limits()).await;
    assert_eq!(house.talk("").await, "");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_after_its_answer() {
    let house = House::open(limits()).await;
    let answer = house.talk("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(status(&answer), "200");
    assert!(answer.ends_with("hello"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_second_request_gets_the_short_limit_too() {
    let house = House::open(limits()).await;
    let mut stream = house.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert_eq!(status(&answer(&mut stream).await), "200");
    stream.write_all(b"GET / HT").await.unwrap();
    assert_eq!(status(&rest(&mut stream).await), "408");
}

#[tokio::test]
async fn as_many_headers_as_allowed_pass_and_one_more_is_431() {
    let house = House::open(limits()).await;
    let with = |count: usize| {
        let more: String = (2..count).map(|index| format!("x-{index}: 1\r\n")).collect();
        format!("GET / HTTP/1.1\r\n{CLOSE}{more}\r\n")
    };
    assert_eq!(status(&house.talk(with(20)).await), "200");
    assert_eq!(status(&house.talk(with(21)).await), "431");
}

#[tokio::test]
async fn headers_over_their_bytes_are_431() {
    let house = House::open(limits()).await;
    let with = |bytes: usize| format!("GET / HTTP/1.1\r\n{CLOSE}x: {}\r\n\r\n", "a".repeat(bytes));
    assert_eq!(status(&house.talk(with(16_000)).await), "200");
    assert_eq!(status(&house.talk(with(17_000)).await), "431");
}

#[tokio::test]
async fn an_address_at_its_limit_passes_and_one_byte_more_is_414() {
    let house = House::open(limits()).await;
    let with = |bytes: usize| request(&format!("/?{}", "a".repeat(bytes - 2)));
    assert_eq!(status(&house.talk(with(200)).await), "200");
    let refused = house.talk(with(201)).await;
    assert_eq!(status(&refused), "414");
    assert!(
        refused.contains("\"code\":\"uri_too_long\"") && refused.contains("201 bytes, 200 are allowed"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_body_at_its_limit_passes_and_one_byte_more_is_413_in_the_common_shape() {
    let house = House::open(limits()).await;
    let whole = house.talk(post_of(BODY_MAX)).await;
    assert!(status(&whole) == "200" && whole.ends_with("1000"), "{whole}");
    let refused = house.talk(post_of(BODY_MAX + 1)).await;
    assert_eq!(status(&refused), "413");
    let error: serde_json::Value = serde_json::from_str(refused.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(error["error"]["code"], "request_too_large");
    assert_eq!(error["error"]["type"], "invalid_request_error");
}

#[tokio::test]
async fn a_models_file_has_a_limit_of_its_own() {
    let house = House::open(limits()).await;
    let upload = |bytes: usize| {
        let head = format!("POST /api/blobs/x HTTP/1.1\r\n{CLOSE}content-length: {bytes}\r\n\r\n");
        head + &"a".repeat(bytes)
    };
    let whole = house.talk(upload(3000)).await;
    assert!(status(&whole) == "200" && whole.ends_with("3000"), "{whole}");
    let refused = house.talk(upload(3001)).await;
    assert!(
        status(&refused) == "413" && refused.contains("`blob_bytes`"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_body_of_unknown_length_is_measured_as_it_comes() {
    let house = House::open(limits()).await;
    let chunked = |chunks: usize| {
        let head = format!("POST /echo HTTP/1.1\r\n{CLOSE}transfer-encoding: chunked\r\n\r\n");
        let chunk = format!("{:x}\r\n{}\r\n", 100, "a".repeat(100));
        format!("{head}{}0\r\n\r\n", chunk.repeat(chunks))
    };
    assert!(house.talk(chunked(10)).await.ends_with("\r\n1000"));
    assert_eq!(status(&house.talk(chunked(11)).await), "413");
    assert_eq!(status(&house.talk(chunked(5000)).await), "413");
}

#[tokio::test]
async fn a_client_that_asks_first_is_refused_before_it_sends() {
    let house = House::open(limits()).await;
    let head = format!("POST /echo HTTP/1.1\r\n{CLOSE}content-length: 5000\r\nexpect: 100-continue\r\n\r\n");
    assert_eq!(status(&house.talk(head).await), "413");
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_is_told_408() {
    let house = House::open(limits()).await;
    let refused = house
        .talk(format!("POST /echo HTTP/1.1\r\n{CLOSE}content-length: 10\r\n\r\nabc"))
        .await;
    assert_eq!(status(&refused), "408");
    assert!(refused.contains("\"code\":\"request_timeout\""), "{refused}");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let house = House::open(limits()).await;
    let answers = house
        .talk(format!("GET / HTTP/1.1\r\nhost: x\r\n\r\n{}", request("/nowhere")))
        .await;
    let found: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(found, ["200", "404"]);
}

#[tokio::test]
async fn http_1_0_is_answered_and_closed() {
    let house = House::open(limits()).await;
    let answer = house.talk("GET / HTTP/1.0\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.0 200") && answer.ends_with("hello"),
        "{answer}"
    );
}

#[tokio::test]
async fn what_is_not_http_is_400_or_closed() {
    let house = House::open(limits()).await;
    for bytes in [
        "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n",
        "GET  HTTP/1.1\r\n\r\n",
        "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
    ] {
        let answer = house.talk(bytes).await;
        assert!(answer.is_empty() || status(&answer) == "400", "{bytes:?}: {answer}");
    }
    assert_eq!(status(&house.talk(request("/")).await), "200");
}

#[tokio::test]
async fn a_client_that_leaves_drops_its_handler() {
    let mut house = House::open(limits()).await;
    let mut stream = house.connect().await;
    stream.write_all(request("/hold").as_bytes()).await.unwrap();
    assert_eq!(house.heard.recv().await, Some("begun"));
    drop(stream);
    assert_eq!(house.heard.recv().await, Some("dropped"));
    house.in_flight.none().await;
    assert!(house.count("tandem_requests_total{api=\"/hold\",code=\"499\"} 1"));
}

#[tokio::test]
async fn a_client_that_closes_its_half_has_left() {
    let mut house = House::open(limits()).await;
    let mut stream = house.connect().await;
    stream.write_all(request("/hold").as_bytes()).await.unwrap();
    assert_eq!(house.heard.recv().await, Some("begun"));
    stream.shutdown().await.unwrap();
    assert_eq!(house.heard.recv().await, Some("dropped"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_loses_its_stream() {
    let mut house = House::open(limits()).await;
    let mut stream = house.connect().await;
    stream.write_all(request("/flood").as_bytes()).await.unwrap();
    assert_eq!(house.heard.recv().await, Some("dropped"));
}

#[tokio::test]
async fn a_handler_that_panics_is_500_and_the_server_goes_on() {
    let house = House::open(limits()).await;
    let answer = house.talk(request("/panic")).await;
    assert_eq!(status(&answer), "500");
    assert!(
        answer.contains("\"type\":\"server_error\"") && !answer.contains("as the test wants"),
        "{answer}"
    );
    assert_eq!(status(&house.talk(request("/")).await), "200");
}

#[tokio::test]
async fn a_full_house_refuses_with_503_and_serves_again_when_a_place_is_free() {
    let mut house = House::open(HttpLimits {
        connections: 1,
        ..limits()
    })
    .await;
    let mut first = house.connect().await;
    first.write_all(request("/hold").as_bytes()).await.unwrap();
    assert_eq!(house.heard.recv().await, Some("begun"));
    let mut second = house.connect().await;
    let mut refused = Vec::new();
    second.read_to_end(&mut refused).await.unwrap();
    let refused = String::from_utf8(refused).unwrap();
    assert_eq!(status(&refused), "503");
    let (head, body) = refused.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains("retry-after: 1") && head.contains(&format!("content-length: {}", body.len())),
        "{head}"
    );
    assert!(serde_json::from_str::<serde_json::Value>(body).is_ok(), "{body}");
    house.go.notify_one();
    assert!(rest(&mut first).await.ends_with("held"));
    assert_eq!(status(&house.talk(request("/")).await), "200");
}

#[tokio::test]
async fn idle_connections_make_room_for_a_new_one() {
    let house = House::open(HttpLimits {
        connections: 2,
        ..limits()
    })
    .await;
    let mut oldest = house.connect().await;
    oldest.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    answer(&mut oldest).await;
    let mut newer = house.connect().await;
    newer.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    answer(&mut newer).await;
    assert_eq!(status(&house.talk(request("/")).await), "200");
    assert_eq!(rest(&mut oldest).await, "");
    newer.write_all(request("/").as_bytes()).await.unwrap();
    assert_eq!(status(&rest(&mut newer).await), "200");
}

#[tokio::test]
async fn a_draining_server_refuses_the_new_and_ends_the_running() {
    let mut house = House::open(limits()).await;
    let mut running = house.connect().await;
    running
        .write_all(b"GET /hold HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut idle = house.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    answer(&mut idle).await;
    assert_eq!(house.heard.recv().await, Some("begun"));
    house.drain.begin();
    let refused = house.talk("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(status(&refused), "503");
    assert!(
        refused.contains("connection: close") && refused.contains("server_shutting_down"),
        "{refused}"
    );
    idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert_eq!(
        status(&rest(&mut idle).await),
        "503",
        "an open connection gets its answer too"
    );
    assert_eq!(
        status(&house.talk("GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n").await),
        "200",
        "the route itself decides"
    );
    assert_eq!(house.in_flight.count(), 1);
    house.go.notify_one();
    assert!(answer(&mut running).await.ends_with("held"));
    house.in_flight.none().await;
}

#[tokio::test]
async fn closing_lets_answers_out_and_ends_the_loop() {
    let mut house = House::open(limits()).await;
    let mut running = house.connect().await;
    running
        .write_all(b"GET /hold HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(house.heard.recv().await, Some("begun"));
    let mut idle = house.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    answer(&mut idle).await;
    house.close.send(true).unwrap();
    assert_eq!(rest(&mut idle).await, "");
    house.go.notify_one();
    assert!(rest(&mut running).await.ends_with("held"));
    house.serving.await.unwrap();
    assert!(TcpStream::connect(house.address).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn closing_does_not_wait_for_a_request_that_never_ends() {
    let mut house = House::open(limits()).await;
    let mut running = house.connect().await;
    running.write_all(request("/hold").as_bytes()).await.unwrap();
    assert_eq!(house.heard.recv().await, Some("begun"));
    house.close.send(true).unwrap();
    house.serving.await.unwrap();
    assert_eq!(house.heard.recv().await, Some("dropped"));
}
