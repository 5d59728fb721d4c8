//! A server that answers as a test wants it to, and remembers what it was asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What a client asked.
#[derive(Clone, Debug)]
pub(super) struct Request {
    method: String,
    /// With its query; of a proxy, where to connect to.
    pub(super) path: String,
    headers: BTreeMap<String, String>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    fn read(stream: &TcpStream) -> Option<Request> {
        let mut lines = BufReader::new(stream).lines();
        let line = lines.next()?.ok()?;
        let (method, rest) = line.split_once(' ')?;
        let (method, path) = (method.to_owned(), rest.split(' ').next()?.to_owned());
        let mut headers = BTreeMap::new();
        for line in lines {
            let line = line.ok()?;
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        Some(Request { method, path, headers })
    }
}

/// What it is answered.
pub(super) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// How much of the body is sent before the connection ends.
    sent: usize,
    /// Instead of the end, nothing more ever.
    is_stalled: bool,
    /// Not even a head.
    is_silent: bool,
}

impl Reply {
    pub(super) fn status(status: u16) -> Reply {
        Reply {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            sent: 0,
            is_stalled: false,
            is_silent: false,
        }
    }

    pub(super) fn ok(body: &[u8]) -> Reply {
        let (body, sent) = (body.to_vec(), body.len());
        Reply {
            body,
            sent,
            ..Reply::status(200)
        }
    }

    /// Nothing at all, for ever.
    pub(super) fn silence() -> Reply {
        Reply {
            is_silent: true,
            is_stalled: true,
            ..Reply::status(200)
        }
    }

    /// As much of `whole` as was asked for.
    pub(super) fn part(whole: &[u8], request: &Request) -> Reply {
        let Some(range) = request.header("range") else {
            return Reply::ok(whole);
        };
        let from: usize = range
            .strip_prefix("bytes=")
            .unwrap()
            .strip_suffix('-')
            .unwrap()
            .parse()
            .unwrap();
        let said = format!("bytes {from}-{}/{}", whole.len() - 1, whole.len());
        let reply = Reply::ok(&whole[from..]).with("Content-Range", &said);
        Reply { status: 206, ..reply }
    }

    pub(super) fn redirect(target: &str) -> Reply {
        Reply::status(307).with("Location", target)
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Reply {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With another value of that header.
    pub(super) fn replacing(mut self, name: &str, value: &str) -> Reply {
        self.headers.retain(|(found, _)| found != name);
        self.with(name, value)
    }

    /// Of which no more than `bytes` come.
    pub(super) fn cut_after(mut self, bytes: usize) -> Reply {
        self.sent = bytes.min(self.body.len());
        self
    }

    /// Of which no more than `bytes` come, and then no end either.
    pub(super) fn stalled_after(mut self, bytes: usize) -> Reply {
        self.is_stalled = true;
        self.cut_after(bytes)
    }

    fn write(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        let mut head = format!("HTTP/1.1 {} Said\r\nConnection: close\r\n", self.status);
        if !self.headers.iter().any(|(name, _)| name == "Content-Length") {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        if !self.is_silent {
            stream.write_all(head.as_bytes())?;
            stream.write_all(&self.body[..self.sent])?;
        }
        if self.is_stalled {
            // Until the client goes away.
            let _ = stream.read(&mut [0]);
        }
        Ok(())
    }
}

type Answer = dyn Fn(&Request) -> Reply + Send + Sync;

/// A server on this machine, until it is dropped.
pub(super) struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Request>>>,
    is_over: Arc<AtomicBool>,
}

impl Server {
    pub(super) fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server {
            address: listener.local_addr().unwrap(),
            asked: Arc::default(),
            is_over: Arc::default(),
        };
        let (asked, is_over) = (server.asked.clone(), server.is_over.clone());
        let answer: Arc<Answer> = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let (asked, answer) = (asked.clone(), answer.clone());
                thread::spawn(move || serve(&stream.unwrap(), &asked, &*answer));
            }
        });
        server
    }

    /// As it is written in a list of allowed hosts.
    pub(super) fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// As it is written in a model's name.
    pub(super) fn host(&self) -> String {
        self.address.to_string()
    }

    /// Every connection to it counts, also one that asked nothing.
    pub(super) fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }

    /// What was asked of one path.
    pub(super) fn asked_for(&self, path: &str) -> Vec<Request> {
        let mut asked = self.asked();
        asked.retain(|request| request.path == path);
        asked
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Wakes it.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: &TcpStream, asked: &Mutex<Vec<Request>>, answer: &Answer) {
    let request = Request::read(stream).unwrap_or(Request {
        method: String::new(),
        path: "nothing".to_owned(),
        headers: BTreeMap::new(),
    });
    asked.lock().unwrap().push(request.clone());
    if request.method == "CONNECT" {
        // As a proxy it is whoever it is asked to connect to.
        let mut stream = stream;
        stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").unwrap();
        return serve(stream, asked, answer);
    }
    // The client may have gone away.
    let _ = answer(&request).write(stream);
}
