//! A small HTTP client of a running Tandem or Ollama, for the commands that talk to one. Plain HTTP/1.1, one connection
//! for each request; what the server says is bounded, and dropping a reply closes its connection.

mod address;
mod error;
mod lines;

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

pub(crate) use address::Address;
pub(crate) use error::ClientError;
pub(crate) use lines::Lines;

/// Time for a connection.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Time for the whole of an answer that needs no model.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// Bytes of one whole answer at most: the description of a model with all its metadata is the longest.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Talks to the server at one address.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    address: Address,
}

impl Client {
    /// Connects to nothing yet.
    pub(crate) fn new(address: Address) -> Client {
        Client { address }
    }

    /// Whether anything accepts connections there.
    pub(crate) async fn finds_a_server(&self) -> bool {
        self.connect().await.is_ok()
    }

    /// A whole answer to a question without a body.
    ///
    /// # Errors
    /// No server, or it refuses.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.whole(Method::GET, path, None).await
    }

    /// A whole answer; null where there is none but the status.
    ///
    /// # Errors
    /// No server, or it refuses.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.whole(Method::POST, path, Some(body)).await
    }

    /// The same, for what takes something away.
    ///
    /// # Errors
    /// No server, or it refuses.
    pub(crate) async fn delete(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.whole(Method::DELETE, path, Some(body)).await
    }

    /// An answer of many JSON lines, each as it comes. A model may have to be loaded first: that takes the time it takes.
    ///
    /// # Errors
    /// No server, or it refuses.
    pub(crate) async fn lines(&self, path: &str, body: &Value) -> Result<Lines, ClientError> {
        let response = self.send(Method::POST, path, Some(body)).await?;
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        Ok(Lines::new(response.into_body(), self.address.clone()))
    }

    async fn whole(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, ClientError> {
        let answer = async {
            let response = self.send(method, path, body).await?;
            if !response.status().is_success() {
                return Err(self.refusal(response).await);
            }
            let bytes = self.body(response).await?;
            if bytes.is_empty() {
                return Ok(Value::Null);
            }
            serde_json::from_slice(&bytes).map_err(|_| ClientError::Foreign {
                address: self.address.clone(),
            })
        };
        let silent = || ClientError::Silent {
            address: self.address.clone(),
            seconds: ANSWER_TIME.as_secs(),
        };
        timeout(ANSWER_TIME, answer).await.map_err(|_| silent())?
    }

    async fn connect(&self) -> Result<TcpStream, ClientError> {
        let nobody = |cause: String| ClientError::NoServer {
            address: self.address.clone(),
            cause,
        };
        let connecting = TcpStream::connect((self.address.host(), self.address.port()));
        match timeout(CONNECT_TIME, connecting).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(nobody(error.to_string())),
            Err(_) => Err(nobody(format!("no answer within {} s", CONNECT_TIME.as_secs()))),
        }
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Response<Incoming>, ClientError> {
        let broken = |error: hyper::Error| ClientError::Broken {
            address: self.address.clone(),
            cause: error.to_string(),
        };
        let stream = self.connect().await?;
        // Tokens are small, and each is wanted at once.
        let _ = stream.set_nodelay(true);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Ends with the reply's body, or when that is dropped.
        tokio::spawn(connection);
        let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.address.prefix()))
            .header(HOST, self.address.authority())
            .header(ACCEPT, "application/json, application/x-ndjson")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(bytes))
            .map_err(|_| ClientError::Foreign {
                address: self.address.clone(),
            })?;
        sender.send_request(request).await.map_err(broken)
    }

    async fn body(&self, response: Response<Incoming>) -> Result<Bytes, ClientError> {
        let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
        let bytes = body.map_err(|error| ClientError::Broken {
            address: self.address.clone(),
            cause: error.to_string(),
        })?;
        Ok(bytes.to_bytes())
    }

    /// What the server says against it: Ollama's error is a text, OpenAI's an object with one.
    async fn refusal(&self, response: Response<Incoming>) -> ClientError {
        let status = response.status();
        let bytes = self.body(response).await.unwrap_or_default();
        let text = serde_json::from_slice(&bytes).ok().and_then(|body| error_text(&body));
        match (status, text) {
            (StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED, None) => ClientError::Foreign {
                address: self.address.clone(),
            },
            (_, text) => ClientError::Refused {
                status: status.as_u16(),
                text: text.unwrap_or_else(|| format!("the server at {} answers {status}", self.address)),
            },
        }
    }
}

/// The words of an error object.
fn error_text(body: &Value) -> Option<String> {
    let error = body.get("error")?;
    let text = error.as_str().or_else(|| error.get("message")?.as_str())?;
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_read_in_ollamas_shape_and_in_openais() {
        for (body, text) in [
            (r#"{"error":"no"}"#, Some("no")),
            (r#"{"error":{"message":"no"}}"#, Some("no")),
            (r#"{"error":5}"#, None),
            (r#"[]"#, None),
        ] {
            let body: Value = serde_json::from_str(body).unwrap();
            assert_eq!(error_text(&body).as_deref(), text, "{body}");
        }
    }

    #[tokio::test]
    async fn where_nobody_listens_the_error_says_how_to_start_a_server() {
        // Taken and given back: nobody listens there now.
        let port = {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap().port()
        };
        let address: Address = format!("127.0.0.1:{port}").parse().unwrap();
        let error = Client::new(address).get("/api/tags").await.unwrap_err().to_string();
        for words in [
            &format!("no server at http://127.0.0.1:{port}"),
            "tandem serve",
            "--host",
        ] {
            assert!(error.contains(words), "{error}");
        }
    }
}
