//! The binary as a child process: started on a port of its own, killed when the test is over.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

use super::http::{Connection, Events, Reply};
use super::talk::wait_until;

/// A server with the embedded tiny model that is ready for requests.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    said: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Server {
    /// Two CPU engines, everything else by default.
    pub(crate) fn start() -> Server {
        Server::with(&[])
    }

    /// `arguments` after `tandem serve --model tiny --listen ...`; devices are `cpu,cpu` unless they say otherwise.
    pub(crate) fn with(arguments: &[&str]) -> Server {
        Server::with_environment(arguments, &[])
    }

    /// The same, with settings in the environment.
    pub(crate) fn with_environment(arguments: &[&str], environment: &[(&str, &str)]) -> Server {
        let mut command = command();
        command.args(["serve", "--model", "tiny", "--listen", "127.0.0.1:0"]);
        if !arguments.contains(&"--devices") {
            command.args(["--devices", "cpu,cpu"]);
        }
        command.args(arguments).envs(environment.iter().copied());
        Server::spawn(command)
    }

    /// Any command that ends in a server which says where it listens.
    pub(crate) fn spawn(mut command: Command) -> Server {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let said = Arc::new(Mutex::new(String::new()));
        let (sender, addresses) = std::sync::mpsc::channel();
        let readers = vec![
            listen_to(child.stdout.take().unwrap(), said.clone(), sender.clone()),
            listen_to(child.stderr.take().unwrap(), said.clone(), sender),
        ];
        // Both senders are dropped when the child closes its output, so this ends when the child does.
        let Ok(address) = addresses.recv() else {
            let status = child.wait().expect("a status");
            panic!(
                "the server ended before it said where it listens, {status}:\n{}",
                said.lock().unwrap()
            );
        };
        let mut server = Server {
            child,
            address,
            said,
            readers,
        };
        server.wait_until_ready();
        server
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.address)
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.connect().get(path)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.connect().post(path, body.to_string().as_bytes())
    }

    /// Posts a request with `"stream": true` and hands over the events.
    pub(crate) fn stream(&self, path: &str, body: &Value) -> Events {
        let mut connection = self.connect();
        connection.send_post(path, body.to_string().as_bytes());
        connection.events()
    }

    /// Everything the server has printed so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it has said `words`: what it prints comes by a pipe, beside its replies.
    pub(crate) fn wait_until_said(&self, words: &str) {
        wait_until(words, || {
            thread::sleep(Duration::from_millis(1));
            self.said().contains(words)
        });
    }

    /// Sends a signal by its name, as an operator or a supervisor does.
    pub(crate) fn signal(&self, name: &str) {
        let signal = format!("kill -{name} {}", self.child.id());
        assert!(
            Command::new("sh").args(["-c", &signal]).status().unwrap().success(),
            "{signal}"
        );
    }

    /// Waits for the process to end by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let status = self.child.wait().expect("a status");
        for reader in self.readers.drain(..) {
            reader.join().expect("the reader ends with the output");
        }
        status
    }

    /// Fails if the process has ended.
    pub(crate) fn check_alive(&mut self) {
        if let Some(status) = self.child.try_wait().expect("a status") {
            panic!("the server ended, {status}:\n{}", self.said());
        }
    }

    fn wait_until_ready(&mut self) {
        loop {
            self.check_alive();
            let reply = Connection::try_open(self.address)
                .ok()
                .map(|mut connection| connection.get("/readyz"));
            if reply.is_some_and(|reply| reply.status == 200) {
                return;
            }
            thread::yield_now();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the server said:\n{}", self.said());
        }
    }
}

/// The binary under test, with no setting inherited from whoever runs the tests.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tandem"));
    let ours = ["TANDEM_", "RUST_", "OLLAMA_"];
    for (name, _) in std::env::vars().filter(|(name, _)| ours.iter().any(|ours| name.starts_with(ours))) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

fn listen_to(
    output: impl Read + Send + 'static,
    said: Arc<Mutex<String>>,
    addresses: std::sync::mpsc::Sender<SocketAddr>,
) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut addresses = Some(addresses);
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let mut said = said.lock().unwrap();
            said.push_str(&line);
            said.push('\n');
            if let Some(address) = address_in(&line)
                && let Some(addresses) = addresses.take()
            {
                let _ = addresses.send(address);
            }
        }
    })
}

/// The first `http://ADDRESS` of a line.
fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("http://")?;
    let end = rest
        .find(|c: char| !(c.is_ascii_digit() || ".:[]".contains(c)))
        .unwrap_or(rest.len());
    rest[..end].trim_end_matches('.').parse().ok()
}
