//! A venue in a few lines: one loopback port, `POST /info` and the socket, answers as told.

use futures_util::{SinkExt, StreamExt};
use holdfast_ipc::clock;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

/// What the venue is told to be.
#[derive(Debug)]
pub(crate) struct Told {
    /// Answer to `userRole`.
    pub(crate) role: RefCell<Value>,
    /// Signed size of the BTC position.
    pub(crate) szi: RefCell<String>,
    /// HTTP answers with this status when not 200.
    pub(crate) status: Cell<u16>,
    /// Books are sent.
    pub(crate) books: Cell<bool>,
    /// Books carry the time they had when this was set.
    pub(crate) frozen_ms: Cell<Option<u64>>,
    /// Best bid; the ask is one above.
    pub(crate) bid: Cell<u64>,
    /// Fills to send, as trade ids, once each.
    pub(crate) fills: RefCell<Vec<u64>>,
    /// Sockets are closed when this grows.
    pub(crate) hangups: Cell<u32>,
    /// Venue clock minus wall clock.
    pub(crate) ahead_ms: Cell<u64>,
    /// Size decimals of BTC.
    pub(crate) decimals: Cell<u32>,
    /// `clearinghouseState` asked so far.
    pub(crate) asked: Cell<u32>,
}

/// A running venue.
pub(crate) struct FakeVenue {
    /// What it is.
    pub(crate) told: Rc<Told>,
    /// Where it listens.
    pub(crate) url: String,
}

impl FakeVenue {
    /// Opens it.
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let told = Rc::new(Told {
            role: RefCell::new(json!({"role": "user"})),
            szi: RefCell::new("0.5".into()),
            status: Cell::new(200),
            books: Cell::new(true),
            frozen_ms: Cell::new(None),
            bid: Cell::new(100_000),
            fills: RefCell::default(),
            hangups: Cell::new(0),
            ahead_ms: Cell::new(0),
            decimals: Cell::new(5),
            asked: Cell::new(0),
        });
        let serving = told.clone();
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::task::spawn_local(serve(stream, serving.clone()));
            }
        });
        Self { told, url }
    }
}

impl Told {
    fn now(&self) -> u64 {
        clock::wall_ms() + self.ahead_ms.get()
    }

    fn book(&self) -> Value {
        let bid = self.bid.get();
        let level = |px: u64| json!([{"px": px.to_string(), "sz": "1.5", "n": 2}]);
        let time = self.frozen_ms.get().unwrap_or_else(|| self.now());
        json!({"coin": "BTC", "time": time, "levels": [level(bid), level(bid + 1)]})
    }

    fn context() -> Value {
        json!({"funding": "0.0000125", "openInterest": "10", "prevDayPx": "1", "dayNtlVlm": "1",
               "oraclePx": "100000", "markPx": "100000", "midPx": null})
    }

    fn answer(&self, ask: &Value) -> Value {
        match ask["type"].as_str().unwrap_or_default() {
            "userRole" => self.role.borrow().clone(),
            "exchangeStatus" => json!({"time": self.now(), "specialStatuses": null}),
            "perpDexs" => json!([null]),
            "metaAndAssetCtxs" => json!([
                {"universe": [{"name": "BTC", "szDecimals": self.decimals.get(), "maxLeverage": 40}]},
                [Self::context()]
            ]),
            "l2Book" => self.book(),
            "userRateLimit" => json!({"cumVlm": "1", "nRequestsUsed": 10, "nRequestsCap": 10000}),
            "frontendOpenOrders" => json!([{"coin": "BTC", "side": "A", "limitPx": "120000", "sz": "0.1", "oid": 77,
                "timestamp": 1, "origSz": "0.1", "cloid": null, "reduceOnly": true}]),
            "clearinghouseState" => {
                self.asked.set(self.asked.get() + 1);
                let margin =
                    json!({"accountValue": "10000", "totalNtlPos": "1", "totalRawUsd": "1", "totalMarginUsed": "20"});
                json!({"marginSummary": margin, "withdrawable": "1", "time": self.now(), "assetPositions": [
                    {"type": "oneWay", "position": {"coin": "BTC", "szi": *self.szi.borrow(), "entryPx": "99000",
                     "positionValue": "50000", "unrealizedPnl": "1", "liquidationPx": null, "marginUsed": "20",
                     "leverage": {"type": "cross", "value": 10}}}]})
            }
            other => panic!("nobody asks for {other}"),
        }
    }
}

async fn serve(stream: TcpStream, told: Rc<Told>) {
    let mut first = [0; 3];
    if stream.peek(&mut first).await.is_err() {
        return;
    }
    if &first == b"GET" {
        socket(stream, told).await;
    } else {
        let _ = http(stream, told).await;
    }
}

async fn http(mut stream: TcpStream, told: Rc<Told>) -> std::io::Result<()> {
    let mut text = Vec::new();
    let mut part = [0; 4096];
    loop {
        let head = loop {
            if let Some(at) = text.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            let n = stream.read(&mut part).await?;
            if n == 0 {
                return Ok(());
            }
            text.extend_from_slice(&part[..n]);
        };
        let header = String::from_utf8_lossy(&text[..head]).to_ascii_lowercase();
        let length: usize =
            header.split("content-length: ").nth(1).and_then(|t| t.lines().next()?.trim().parse().ok()).unwrap();
        while text.len() < head + length {
            let n = stream.read(&mut part).await?;
            text.extend_from_slice(&part[..n]);
        }
        let ask: Value = serde_json::from_slice(&text[head..head + length]).unwrap();
        text.drain(..head + length);
        let status = told.status.get();
        let body = if status == 200 { told.answer(&ask).to_string() } else { "busy".to_owned() };
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await?;
    }
}

async fn socket(stream: TcpStream, told: Rc<Told>) {
    let Ok(mut socket) = accept_async(stream).await else { return };
    let hangups = told.hangups.get();
    let fill = |tid: u64| {
        json!({"coin": "BTC", "px": "100000", "sz": "0.1", "side": "B", "time": tid, "startPosition": "0",
               "dir": "Open Long", "closedPnl": "0", "hash": "0x", "oid": 5, "crossed": true, "fee": "0.2",
               "feeToken": "USDC", "tid": tid})
    };
    let user = "0x1719884eb866cb12b2287399b15f7db5e7d775ea";
    let mut opening = vec![
        "Websocket connection established.".to_owned(),
        json!({"channel": "userFills", "data": {"isSnapshot": true, "user": user, "fills": [fill(1), fill(2)]}})
            .to_string(),
        json!({"channel": "activeAssetCtx", "data": {"coin": "BTC", "ctx": Told::context()}}).to_string(),
    ];
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            got = socket.next() => {
                if !matches!(got, Some(Ok(_))) {
                    return;
                }
                continue;
            }
        }
        if told.hangups.get() != hangups {
            let _ = socket.close(None).await;
            return;
        }
        if told.books.get() {
            opening.push(json!({"channel": "l2Book", "data": told.book()}).to_string());
        }
        for tid in told.fills.borrow_mut().drain(..) {
            let data = json!({"user": user, "fills": [fill(tid)]});
            opening.push(json!({"channel": "userFills", "data": data}).to_string());
        }
        for text in opening.drain(..) {
            if socket.send(Message::text(text)).await.is_err() {
                return;
            }
        }
    }
}
