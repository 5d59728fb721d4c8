//! A small HTTP/1.1 client that hides nothing: bytes out, status, headers and body in.
//!
//! Every read has a watchdog: a server that says nothing for a minute fails the test instead of hanging it.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

const WATCHDOG: Duration = Duration::from_secs(60);

/// One whole reply.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap_or_else(|_| panic!("the body is not UTF-8: {self:?}"))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}: {}", self.status, self.text()))
    }

    /// The body, if the status is 200; the failure shows what came instead.
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }
}

/// One connection, kept open from request to request.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Connection {
        Connection::try_open(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    pub(crate) fn try_open(address: SocketAddr) -> std::io::Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(WATCHDOG))?;
        stream.set_write_timeout(Some(WATCHDOG))?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream: BufReader::new(stream),
        })
    }

    pub(crate) fn get(&mut self, path: &str) -> Reply {
        self.write(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        self.reply()
    }

    pub(crate) fn post(&mut self, path: &str, body: &[u8]) -> Reply {
        self.send_post(path, body);
        self.reply()
    }

    /// Sends a JSON request and leaves the reply to be read.
    pub(crate) fn send_post(&mut self, path: &str, body: &[u8]) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.write(&[head.as_bytes(), body].concat());
    }

    /// Writes bytes as they are. A server may answer and close before it has read them all: that is no failure here.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        match self.stream.get_mut().write_all(bytes) {
            Err(error) if !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                panic!("cannot write: {error}")
            }
            _ => {}
        }
    }

    /// Tells the server that nothing more will be written.
    pub(crate) fn end_writing(&mut self) {
        let _ = self.stream.get_mut().shutdown(Shutdown::Write);
    }

    pub(crate) fn reply(&mut self) -> Reply {
        self.try_reply()
            .expect("the server closed the connection without a reply")
    }

    /// The next reply, or `None` if the server closed or reset the connection instead.
    pub(crate) fn try_reply(&mut self) -> Option<Reply> {
        let (status, headers) = self.head()?;
        let mut body = Vec::new();
        if header(&headers, "transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk() {
                body.extend(chunk);
            }
        } else if let Some(length) = header(&headers, "content-length") {
            body.resize(length.parse().expect("a length in bytes"), 0);
            self.stream.read_exact(&mut body).expect("the whole body");
        } else {
            self.stream
                .read_to_end(&mut body)
                .expect("the body up to the end of the connection");
        }
        Some(Reply { status, headers, body })
    }

    /// The status of a reply that has a head only, such as `100 Continue`.
    pub(crate) fn interim(&mut self) -> u16 {
        self.head().expect("a reply").0
    }

    /// Reads the head of an event stream and hands over its events.
    pub(crate) fn events(mut self) -> Events {
        let (status, headers) = self.head().expect("a reply");
        assert_eq!(status, 200, "a stream was expected, the reply is {headers:?}");
        assert_eq!(header(&headers, "transfer-encoding"), Some("chunked"), "{headers:?}");
        Events {
            connection: self,
            headers,
            buffer: Vec::new(),
        }
    }

    /// What the server still sends until it closes the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => {
                panic!("the connection stays open: {error}")
            }
            _ => bytes,
        }
    }

    fn head(&mut self) -> Option<(u16, Vec<(String, String)>)> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not a status line: {first:?}"));
        let mut headers = Vec::new();
        loop {
            let line = self.line().expect("the end of the headers");
            if line.is_empty() {
                return Some((status, headers));
            }
            let (name, value) = line.split_once(':').expect("a header");
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        match self.stream.read_until(b'\n', &mut line) {
            Ok(0) => return None,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            result => result.expect("the server says something within a minute"),
        };
        Some(String::from_utf8(line).expect("heads are ASCII").trim_end().to_owned())
    }

    /// One chunk of a chunked body; `None` at its end.
    fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = self.line().expect("the size of a chunk");
        let size = usize::from_str_radix(&size, 16).unwrap_or_else(|_| panic!("not a chunk size: {size:?}"));
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk).expect("a whole chunk");
        chunk.truncate(size);
        (size > 0).then_some(chunk)
    }
}

/// The events of one server-sent stream, as they arrive. Dropping it closes the connection.
pub(crate) struct Events {
    connection: Connection,
    pub(crate) headers: Vec<(String, String)>,
    buffer: Vec<u8>,
}

impl Events {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// Waits for a comment, which says only that the server is there; events on the way are lost.
    pub(crate) fn wait_for_comment(&mut self) {
        while let Some(block) = self.block() {
            if block.starts_with(':') {
                return;
            }
        }
        panic!("the stream ends without a comment");
    }

    /// The name and the data of the next event of a stream whose events have names; `None` at the end of the body.
    pub(crate) fn named(&mut self) -> Option<(String, Value)> {
        let mut block = self.block()?;
        while block.starts_with(':') {
            block = self.block()?;
        }
        let parts = block
            .strip_prefix("event: ")
            .and_then(|rest| rest.trim_end().split_once("\ndata: "));
        let (name, data) = parts.unwrap_or_else(|| panic!("not an event with a name: {block:?}"));
        let data = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error} in {data}"));
        Some((name.to_owned(), data))
    }

    /// What stands before the next empty line; `None` at the end of the body.
    fn block(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                let block = String::from_utf8(block).expect("events are UTF-8");
                assert!(!block.contains('\r'), "a carriage return in {block:?}");
                return Some(block);
            }
            let Some(chunk) = self.connection.chunk() else {
                assert_eq!(self.buffer, b"", "the stream ends in the middle of an event");
                return None;
            };
            self.buffer.extend(chunk);
        }
    }
}

impl Iterator for Events {
    type Item = String;

    /// The data of the next event; `None` at the end of the body.
    fn next(&mut self) -> Option<String> {
        let mut block = self.block()?;
        while block.starts_with(':') {
            block = self.block()?;
        }
        let data = block.trim_end().strip_prefix("data: ");
        Some(data.unwrap_or_else(|| panic!("not an event: {block:?}")).to_owned())
    }
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(header, _)| header == name)
        .map(|(_, value)| value.as_str())
}
