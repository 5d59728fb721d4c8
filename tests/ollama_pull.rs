//! Models pulled because a client of Ollama's API asks: from where the operator allows, once for all who wait.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::support::ollama::*;
use crate::support::*;

/// A registry that has the tiny model as `library/tiny:latest`. What it is asked for it tells, and then waits for a go.
struct Registry {
    address: SocketAddr,
    asked: Receiver<String>,
    go: Sender<()>,
}

impl Registry {
    fn open() -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ((tell, asked), (go, wait)) = (mpsc::channel(), mpsc::channel());
        let wait = Arc::new(Mutex::new(wait));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (tell, wait) = (tell.clone(), wait.clone());
                thread::spawn(move || answer_registry(stream.unwrap(), &tell, &wait));
            }
        });
        Registry { address, asked, go }
    }

    fn name(&self) -> String {
        format!("{}/library/tiny:latest", self.address)
    }

    fn hosts(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn answer_registry(stream: TcpStream, tell: &Sender<String>, wait: &Mutex<Receiver<()>>) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while reader.read_line(&mut head).unwrap_or(0) > 2 {}
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let _ = tell.send(path.clone());
    let _ = wait.lock().unwrap().recv();
    let (tiny, config) = (fs::read(TINY).unwrap(), b"{}".to_vec());
    let body = if path.ends_with(&hex(&tiny)) {
        Some(tiny)
    } else if path.ends_with(&hex(&config)) {
        Some(config)
    } else if path == "/v2/library/tiny/manifests/latest" {
        let layer = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": format!("sha256:{}", hex(bytes)), "size": bytes.len()});
        let manifest = json!({
            "schemaVersion": 2,
            "config": layer("application/vnd.docker.container.image.v1+json", &config),
            "layers": [layer("application/vnd.ollama.image.model", &tiny)]
        });
        Some(manifest.to_string().into_bytes())
    } else {
        None
    };
    let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
    let body = body.unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut stream = reader.into_inner();
    let _ = stream.write_all(&[head.as_bytes(), &body].concat());
    let _ = stream.read(&mut [0]);
}

#[test]
fn a_model_is_pulled_from_a_registry_that_the_operator_allows() {
    let store = Store::new();
    let registry = Registry::open();
    let server = serve(&store, &["--pull-hosts", &registry.hosts()]);
    (0..8).for_each(|_| registry.go.send(()).unwrap());
    let request = json!({"model": registry.name(), "insecure": true});
    let pulled = send(&server, "POST", "/api/pull", &request);
    let told = statuses(&pulled);
    let weights = hex(&fs::read(TINY).unwrap());
    let file = format!("pulling {}", &weights[..12]);
    for status in ["pulling manifest", &file, "verifying sha256 digest", "writing manifest"] {
        assert!(told.iter().any(|told| told == status), "{status:?} in {told:?}");
    }
    assert_eq!(told.last().unwrap(), "success");
    let lines = lines(&pulled);
    let last = lines.iter().rfind(|line| line["status"] == file).unwrap();
    assert_eq!(last["digest"], format!("sha256:{weights}"));
    assert_eq!(last["completed"], last["total"]);
    assert_eq!(last["total"], fs::metadata(TINY).unwrap().len());
    server
        .post(CHAT, &with(chat("1 + 1"), json!({"model": registry.name()})))
        .ok();
    let asked = registry.asked.try_iter().count();
    let again = send(&server, "POST", "/api/pull", &request);
    assert_eq!(
        (statuses(&again), registry.asked.try_iter().count()),
        (vec!["success".to_owned()], 0)
    );
    assert_eq!(asked, 3);
    let missing = format!("{}/library/none:latest", registry.address);
    let missing = send(
        &server,
        "POST",
        "/api/pull",
        &json!({"model": missing, "stream": false}),
    );
    check_refused(&missing, 404, &["file does not exist"]);
}

#[test]
fn nothing_is_pulled_from_elsewhere() {
    let store = Store::new();
    let server = serve(&store, &["--pull-hosts", "registry.example"]);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    other.set_nonblocking(true).unwrap();
    for host in [
        other.local_addr().unwrap().to_string(),
        "169.254.169.254".to_owned(),
        "0x7f.1".to_owned(),
    ] {
        let pull = |more: Value| {
            let request = with(json!({"model": format!("{host}/a/b:c")}), more);
            send(&server, "POST", "/api/pull", &request)
        };
        check_refused(&pull(json!({})), 403, &["pull_hosts"]);
        check_refused(&pull(json!({"stream": false})), 403, &["pull_hosts"]);
        check_refused(&pull(json!({"insecure": true})), 400, &["insecure", "pull_hosts"]);
    }
    assert!(other.accept().is_err(), "somebody connected");
    check_refused(
        &send(&server, "POST", "/api/pull", &json!({"model": "../x"})),
        400,
        &["no model's name"],
    );
}

#[test]
fn clients_that_want_the_same_model_share_one_download() {
    let store = Store::new();
    let registry = Registry::open();
    let server = serve(&store, &["--pull-hosts", &registry.hosts()]);
    let request = json!({"model": registry.name()});
    let pull = || {
        let mut connection = server.connect();
        connection.send_post("/api/pull", request.to_string().as_bytes());
        connection
    };
    let (mut first, mut second) = (pull(), pull());
    assert!(registry.asked.recv().unwrap().ends_with("/manifests/latest"));
    // Goes when the download has begun; the others stay until it ends.
    let left = pull();
    drop(left);
    (0..8).for_each(|_| registry.go.send(()).unwrap());
    for connection in [&mut first, &mut second] {
        let reply = connection.reply();
        let told: Vec<Value> = reply
            .text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(told.last().unwrap(), &json!({"status": "success"}));
    }
    let blobs = registry
        .asked
        .try_iter()
        .filter(|path| path.contains("/blobs/"))
        .count();
    assert_eq!(blobs, 2);
}
