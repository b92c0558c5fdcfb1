//! A client of the venue with nothing in it: one kept-alive connection per question, bodies made beforehand, answers
//! read and thrown away. What the program does on top of this is the program's own cost.

use holdfast_ipc::clock;
use holdfast_venue_reduce::sign::{AgentKey, Context, signed_body};
use holdfast_venue_reduce::wire::{Address, Network};
use serde::Serialize;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// One connection that stays open.
pub(crate) struct Line {
    stream: TcpStream,
    address: SocketAddr,
}

impl Line {
    /// Connects.
    pub(crate) fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a venue");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
        Self { stream, address }
    }

    /// Sends a question.
    pub(crate) fn send(&mut self, path: &str, body: &[u8]) {
        let mut bytes = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        )
        .into_bytes();
        bytes.extend_from_slice(body);
        self.stream.write_all(&bytes).expect("a venue that reads");
    }

    /// Reads the answer to the question sent last.
    pub(crate) fn read(&mut self) -> String {
        let mut bytes = Vec::new();
        let mut chunk = [0; 64 * 1024];
        loop {
            let count = self.stream.read(&mut chunk).expect("an answer");
            assert!(count > 0, "the venue hung up: {}", String::from_utf8_lossy(&bytes));
            bytes.extend_from_slice(&chunk[..count]);
            let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.and_then(|n| n.trim().parse().ok()).expect("a length");
            if bytes.len() >= head + 4 + length {
                return String::from_utf8_lossy(&bytes[head + 4..]).into_owned();
            }
        }
    }

    /// Both.
    pub(crate) fn ask(&mut self, path: &str, body: &[u8]) -> String {
        self.send(path, body);
        self.read()
    }
}

/// Asks several questions at the same time, each on its own connection, and waits for all.
pub(crate) fn together(lines: &mut [Line], bodies: &[Vec<u8>]) {
    for (line, body) in lines.iter_mut().zip(bodies) {
        line.send("/info", body);
    }
    for line in lines.iter_mut().take(bodies.len()) {
        let _ = line.read();
    }
}

/// An order batch, its keys in the order that is hashed.
#[derive(Serialize)]
#[serde(tag = "type", rename = "order")]
pub(crate) struct Batch {
    pub(crate) orders: Vec<Entry>,
    pub(crate) grouping: &'static str,
}

/// One order.
#[derive(Serialize)]
pub(crate) struct Entry {
    #[serde(rename = "a")]
    pub(crate) asset: u32,
    #[serde(rename = "b")]
    pub(crate) is_buy: bool,
    #[serde(rename = "p")]
    pub(crate) px: String,
    #[serde(rename = "s")]
    pub(crate) sz: String,
    #[serde(rename = "r")]
    pub(crate) reduce_only: bool,
    #[serde(rename = "t")]
    pub(crate) kind: Kind,
    #[serde(rename = "c")]
    pub(crate) cloid: String,
}

/// Immediate or cancel.
#[derive(Serialize)]
pub(crate) struct Kind {
    pub(crate) limit: Limit,
}

/// See [`Kind`].
#[derive(Serialize)]
pub(crate) struct Limit {
    pub(crate) tif: &'static str,
}

/// An account of the harness at the paper venue.
pub(crate) struct Trader {
    key: AgentKey,
    account: Address,
    nonce: u64,
    cloids: u128,
}

impl Trader {
    /// Opens an account with one agent.
    pub(crate) fn open(line: &mut Line) -> Self {
        let (owner, key) = (AgentKey::generate().expect("a key"), AgentKey::generate().expect("a key"));
        let account = owner.address();
        let body = serde_json::json!({
            "address": account.to_string(), "usd": "1000000", "agents": [key.address().to_string()],
        });
        let answer = line.ask("/sim/account", body.to_string().as_bytes());
        assert!(answer.contains("\"ok\":true"), "{answer}");
        Self { key, account, nonce: clock::wall_ms(), cloids: u128::from(clock::now().0) << 32 }
    }

    /// Its address.
    pub(crate) fn account(&self) -> String {
        self.account.to_string()
    }

    /// One immediate order.
    pub(crate) fn entry(&mut self, asset: u32, is_buy: bool, px: &str, sz: &str, reduce_only: bool) -> Entry {
        self.cloids += 1;
        let cloid = format!("0x{:032x}", self.cloids);
        let kind = Kind { limit: Limit { tif: "Ioc" } };
        Entry { asset, is_buy, px: px.to_owned(), sz: sz.to_owned(), reduce_only, kind, cloid }
    }

    /// The signed request that carries these orders.
    pub(crate) fn sign(&mut self, orders: Vec<Entry>) -> Vec<u8> {
        self.nonce = clock::wall_ms().max(self.nonce + 1);
        let context = Context {
            network: Network::Testnet,
            nonce: self.nonce,
            vault: None,
            expires_after: Some(clock::wall_ms() + 5_000),
        };
        signed_body(&self.key, &Batch { orders, grouping: "na" }, &context).expect("a signature")
    }
}
