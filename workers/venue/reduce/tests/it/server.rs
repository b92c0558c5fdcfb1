//! A loopback HTTP server that answers by script: one behaviour per request, then the last one for ever; or by question,
//! where several are asked side by side.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Answers.
    Answer(u16, String),
    /// Reads the request and says nothing.
    Hang,
    /// Reads the request and closes the connection.
    Close,
    /// Answers with half of what it announced.
    Cut,
}

/// One request as received.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// `/info` or `/exchange`.
    pub(crate) path: String,
    /// Its body.
    pub(crate) body: String,
}

/// A kind of question, by words that are all in its body, and what is done with it.
pub(crate) type Rule = (&'static [&'static str], Act);

enum Script {
    InOrder(VecDeque<Act>),
    ByQuestion(Vec<Rule>),
}

impl Script {
    /// What is done with this request; one that no rule knows ends the connection.
    fn act(&mut self, body: &str) -> Act {
        let act = match self {
            Self::InOrder(acts) if acts.len() > 1 => acts.pop_front(),
            Self::InOrder(acts) => acts.front().cloned(),
            Self::ByQuestion(rules) => {
                let knows = |(words, _): &&Rule| words.iter().all(|word| body.contains(word));
                rules.iter().find(knows).map(|(_, act)| act.clone())
            }
        };
        act.unwrap_or(Act::Close)
    }
}

/// A running server.
pub(crate) struct Server {
    /// `http://127.0.0.1:port`.
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub(crate) async fn start(script: &[Act]) -> Self {
        Self::run(Script::InOrder(script.iter().cloned().collect())).await
    }

    /// The first rule that knows a question answers it, as often as it is asked.
    pub(crate) async fn asked(rules: Vec<Rule>) -> Self {
        Self::run(Script::ByQuestion(rules)).await
    }

    async fn run(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(Mutex::new(script));
        let seen2 = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&seen2), Arc::clone(&script)));
            }
        });
        Self { url, seen }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Vec<Seen>>>, script: Arc<Mutex<Script>>) {
    let mut buffer = Vec::new();
    loop {
        let Some((path, body)) = request(&mut stream, &mut buffer).await else { return };
        let act = script.lock().unwrap().act(&body);
        seen.lock().unwrap().push(Seen { path, body });
        let (status, body, length) = match act {
            Act::Answer(status, body) => (status, body.clone(), body.len()),
            Act::Cut => (200, "{\"status\":".to_owned(), 100),
            Act::Close => return,
            Act::Hang => std::future::pending().await,
        };
        let text = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{body}");
        if stream.write_all(text.as_bytes()).await.is_err() || length != body.len() {
            return;
        }
    }
}

async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, String)> {
    loop {
        let text = String::from_utf8_lossy(buffer).into_owned();
        if let Some((head, rest)) = text.split_once("\r\n\r\n") {
            let lower = head.to_ascii_lowercase();
            let length: usize =
                lower.lines().find_map(|l| l.strip_prefix("content-length:")).map_or(0, |v| v.trim().parse().unwrap());
            if rest.len() >= length {
                let path = head.split_whitespace().nth(1)?.to_owned();
                let body = rest[..length].to_owned();
                buffer.drain(..head.len() + 4 + length);
                return Some((path, body));
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => buffer.extend_from_slice(&chunk[..n]),
        }
    }
}
