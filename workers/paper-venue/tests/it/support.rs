//! A venue on a thread of its own, and a client that signs.

use holdfast_paper_venue::addr::Addr;
use holdfast_paper_venue::market::MarketSource;
use holdfast_paper_venue::sign::{Ordered, action_hash, address_of, signing_digest};
use holdfast_paper_venue::{PaperConfig, PaperError, serve};
use k256::ecdsa::SigningKey;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

pub fn wall_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap()
}

/// Polls until the condition holds; fails after 20 s.
pub fn until<T>(what: &str, mut f: impl FnMut() -> Option<T>) -> T {
    let end = wall_ms() + 20_000;
    loop {
        if let Some(v) = f() {
            return v;
        }
        assert!(wall_ms() < end, "never happened: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

pub struct Key(SigningKey);

impl Key {
    pub fn new(n: u8) -> Self {
        Self(SigningKey::from_slice(&[n; 32]).unwrap())
    }
    pub fn address(&self) -> Addr {
        address_of(self.0.verifying_key())
    }
    pub fn body(&self, action: &str, nonce: u64, expires: Option<u64>) -> String {
        let ordered: Ordered = serde_json::from_str(action).unwrap();
        let digest = signing_digest(&action_hash(&ordered, nonce, None, expires).unwrap(), "b");
        let (signature, id) = self.0.sign_prehash_recoverable(&digest);
        let bytes = signature.to_bytes();
        let hex = |b: &[u8]| b.iter().map(|b| format!("{b:02x}")).collect::<String>();
        format!(
            r#"{{"action":{action},"nonce":{nonce},"signature":{{"r":"0x{}","s":"0x{}","v":{}}},"vaultAddress":null,"expiresAfter":{}}}"#,
            hex(&bytes[..32]),
            hex(&bytes[32..]),
            27 + u64::from(id.to_byte()),
            json!(expires)
        )
    }
}

static NONCE: AtomicU64 = AtomicU64::new(0);

pub fn nonce() -> u64 {
    NONCE.fetch_max(wall_ms(), Ordering::SeqCst);
    NONCE.fetch_add(1, Ordering::SeqCst)
}

/// Sends one request; `None` when the connection ended without an answer.
pub fn http(addr: SocketAddr, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut text = String::new();
    if stream.read_to_string(&mut text).is_err() || text.is_empty() {
        return None;
    }
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    Some((status, text.split_once("\r\n\r\n").unwrap().1.to_owned()))
}

pub struct Api {
    pub addr: SocketAddr,
}

impl Api {
    pub fn json(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, text) = http(self.addr, method, path, &body.to_string()).unwrap();
        assert_eq!(status, 200, "{path} {body}: {text}");
        serde_json::from_str(&text).unwrap()
    }
    pub fn info(&self, body: Value) -> Value {
        self.json("POST", "/info", &body)
    }
    pub fn fault(&self, body: Value) -> Value {
        self.json("POST", "/sim/fault", &body)
    }
    pub fn clear(&self) {
        self.json("DELETE", "/sim/faults", &json!(null));
    }
    pub fn act(&self, key: &Key, action: &str) -> Value {
        self.act_until(key, action, None)
    }
    pub fn act_until(&self, key: &Key, action: &str, expires: Option<u64>) -> Value {
        let (status, text) = http(self.addr, "POST", "/exchange", &key.body(action, nonce(), expires)).unwrap();
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }
    /// The first status of an order action.
    pub fn place(&self, key: &Key, order: &str) -> Value {
        let answer = self.act(key, &format!(r#"{{"type":"order","orders":[{order}],"grouping":"na"}}"#));
        answer["response"]["data"]["statuses"][0].clone()
    }
    pub fn touch(&self, coin: &str) -> (f64, f64) {
        let book = self.info(json!({"type": "l2Book", "coin": coin}));
        let px = |side: usize| book["levels"][side][0]["px"].as_str().unwrap().parse::<f64>().unwrap();
        (px(0), px(1))
    }
    pub fn szi(&self, user: &Addr, coin: &str, dex: &str) -> String {
        let state = self.info(json!({"type": "clearinghouseState", "user": user, "dex": dex}));
        let positions = state["assetPositions"].as_array().unwrap();
        let found = positions.iter().find(|p| p["position"]["coin"] == coin);
        found.map_or("0".to_owned(), |p| p["position"]["szi"].as_str().unwrap().to_owned())
    }
    /// An immediate BTC order with a bound 3 % away.
    pub fn ioc(&self, key: &Key, is_buy: bool, sz: &str, reduce: bool) -> Value {
        let (bid, ask) = self.touch("BTC");
        let px = if is_buy { (ask * 1.03).floor() } else { (bid * 0.97).ceil() };
        self.place(
            key,
            &format!(r#"{{"a":0,"b":{is_buy},"p":"{px}","s":"{sz}","r":{reduce},"t":{{"limit":{{"tif":"Ioc"}}}}}}"#),
        )
    }
    /// A BTC order resting 5 % below the market.
    pub fn rest(&self, key: &Key, cloid: Option<&str>) -> Value {
        let px = (self.touch("BTC").0 * 0.95).floor();
        let c = cloid.map_or(String::new(), |c| format!(r#","c":"{c}""#));
        self.place(
            key,
            &format!(r#"{{"a":0,"b":true,"p":"{px}","s":"0.01","r":false,"t":{{"limit":{{"tif":"Gtc"}}}}{c}}}"#),
        )
    }
}

pub struct Running {
    pub api: Api,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<Result<(), PaperError>>>,
}

pub const MAIN: u8 = 7;
pub const AGENT: u8 = 8;

/// Writes the account file a launcher would write.
pub fn prepare(home: &Path) {
    std::fs::create_dir_all(home.join("venue")).unwrap();
    let file = json!({"account": Key::new(MAIN).address(), "agents": {"engine": Key::new(AGENT).address()}, "start_usd": "10000"});
    std::fs::write(home.join("venue/account.json"), file.to_string()).unwrap();
}

pub fn config(home: &Path, port: u16) -> PaperConfig {
    PaperConfig { home: home.to_owned(), port, market: MarketSource::Bundled { seed: 1 }, speed: Some(1) }
}

pub fn block_on<F: Future>(f: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(f)
}

impl Running {
    pub fn start(home: &Path) -> Self {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (tx, rx) = mpsc::channel();
        let config = config(home, 0);
        let thread = std::thread::spawn(move || {
            block_on(serve(config, move |addr| tx.send(addr).unwrap(), async { stopped.await.unwrap_or(()) }, || ()))
        });
        let addr = rx.recv_timeout(Duration::from_secs(20)).expect("the venue did not start");
        Self { api: Api { addr }, stop: Some(stop), thread: Some(thread) }
    }
    pub fn stop(mut self) {
        self.stop.take().map(|s| s.send(()));
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.take().map(|s| s.send(()));
    }
}

pub fn fresh() -> (tempfile::TempDir, Running) {
    let home = tempfile::tempdir().unwrap();
    prepare(home.path());
    let running = Running::start(home.path());
    (home, running)
}

pub fn witness(home: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(home.join("venue/orders.jsonl")).unwrap();
    text.lines().filter(|l| !l.is_empty()).map(|l| serde_json::from_str(l).unwrap()).collect()
}
