//! The socket side: greeting, snapshots, increments, posts, and the ways a session ends.

use crate::support::{AGENT, Api, Key, MAIN, fresh, nonce};
use serde_json::{Value, json};
use std::net::TcpStream;
use std::time::Duration;
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket, client};

struct Ws(WebSocket<TcpStream>);

impl Ws {
    fn open(api: &Api) -> Self {
        let stream = TcpStream::connect(api.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut ws = Self(client(format!("ws://{}/ws", api.addr), stream).unwrap().0);
        let greeting = ws.0.read().unwrap();
        assert!(serde_json::from_str::<Value>(greeting.to_text().unwrap()).is_err(), "a bare line, not JSON");
        ws
    }
    fn send(&mut self, v: &Value) {
        self.0.send(Message::text(v.to_string())).unwrap();
    }
    /// The next message of a channel; others are passed over.
    fn next(&mut self, channel: &str) -> Value {
        for _ in 0..200 {
            let message = self.0.read().unwrap();
            let v: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
            if v["channel"] == channel {
                return v["data"].clone();
            }
        }
        panic!("no {channel}");
    }
    fn subscribe(&mut self, subscription: &Value) -> Value {
        self.send(&json!({"method": "subscribe", "subscription": subscription}));
        self.next("subscriptionResponse")["subscription"].clone()
    }
}

#[test]
fn streams_and_posts() {
    let (_home, venue) = fresh();
    let (api, agent, main) = (&venue.api, Key::new(AGENT), Key::new(MAIN).address());
    let mut ws = Ws::open(api);
    ws.send(&json!({"method": "ping"}));
    ws.next("pong");
    let filled_in = ws.subscribe(&json!({"type": "l2Book", "coin": "BTC"}));
    assert_eq!(filled_in, json!({"type": "l2Book", "coin": "BTC", "nSigFigs": null, "mantissa": null}));
    for _ in 0..2 {
        assert_eq!(ws.next("l2Book")["levels"][0].as_array().unwrap().len(), 20);
    }
    ws.send(&json!({"method": "subscribe", "subscription": {"type": "l2Book", "coin": "BTC"}}));
    assert!(ws.next("error").as_str().unwrap().starts_with("Already subscribed"));
    ws.0.send(Message::text("nonsense")).unwrap();
    assert!(ws.next("error").as_str().unwrap().contains("nonsense"));
    for kind in ["orderUpdates", "userFills", "userEvents", "clearinghouseState", "openOrders"] {
        ws.subscribe(&json!({"type": kind, "user": main}));
    }
    ws.subscribe(&json!({"type": "trades", "coin": "BTC"}));
    for other in [
        json!({"type": "bbo", "coin": "BTC"}),
        json!({"type": "candle", "coin": "BTC", "interval": "1m"}),
        json!({"type": "activeAssetCtx", "coin": "BTC"}),
        json!({"type": "allMids"}),
    ] {
        ws.subscribe(&other);
        let channel = other["type"].as_str().unwrap();
        assert!(!ws.next(channel).is_null());
    }
    let action = {
        let px = (api.touch("BTC").1 * 1.02).floor();
        format!(
            r#"{{"type":"order","orders":[{{"a":0,"b":true,"p":"{px}","s":"0.01","r":false,"t":{{"limit":{{"tif":"Ioc"}}}}}}],"grouping":"na"}}"#
        )
    };
    let body = agent.body(&action, nonce(), None);
    ws.0.send(Message::text(format!(r#"{{"method":"post","id":5,"request":{{"type":"action","payload":{body}}}}}"#)))
        .unwrap();
    let (mut post, mut fills, mut filled, mut state) = (None, None, false, false);
    while post.is_none() || fills.is_none() || !filled || !state {
        let message = ws.0.read().unwrap();
        let v: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
        match v["channel"].as_str().unwrap() {
            "post" => post = Some(v["data"].clone()),
            "userFills" if v["data"]["isSnapshot"].is_null() => fills = Some(v["data"]["fills"].clone()),
            "orderUpdates" => filled |= v["data"].as_array().unwrap().iter().any(|o| o["status"] == "filled"),
            "clearinghouseState" => {
                state |= v["data"]["clearinghouseState"]["assetPositions"][0]["position"]["szi"] == "0.01";
            }
            _ => {}
        }
    }
    assert_eq!(post.unwrap()["response"]["payload"]["response"]["data"]["statuses"][0]["filled"]["totalSz"], "0.01");
    assert_eq!(fills.unwrap()[0]["sz"], "0.01");
    ws.send(&json!({"method": "post", "id": 6, "request": {"type": "info", "payload": {"type": "allMids"}}}));
    assert_eq!(ws.next("post")["response"]["payload"]["type"], "allMids");
    ws.send(&json!({"method": "unsubscribe", "subscription": {"type": "trades", "coin": "BTC"}}));
    assert_eq!(ws.next("subscriptionResponse")["method"], "unsubscribe");
    venue.stop();
}

#[test]
fn sessions_end_in_every_way_they_can() {
    let (_home, venue) = fresh();
    let api = &venue.api;
    let mut ws = Ws::open(api);
    ws.subscribe(&json!({"type": "bbo", "coin": "BTC"}));
    ws.next("bbo");
    api.fault(json!({"kind": "session_terminated"}));
    let frame = loop {
        match ws.0.read().unwrap() {
            Message::Close(frame) => break frame.unwrap(),
            _ => continue,
        }
    };
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1000, "Expired"));
    let mut ws = Ws::open(api);
    ws.subscribe(&json!({"type": "bbo", "coin": "BTC"}));
    // feed_gap: silence while the market goes on
    api.fault(json!({"kind": "feed_gap"}));
    while ws.0.get_ref().set_read_timeout(Some(Duration::from_millis(1300))).is_ok() {
        match ws.0.read() {
            Ok(_) => continue,
            Err(Error::Io(_)) => break,
            Err(other) => panic!("{other}"),
        }
    }
    api.clear();
    ws.0.get_ref().set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    ws.next("bbo");
    // Twice the same, and the newer before the older.
    ws.subscribe(&json!({"type": "l2Book", "coin": "BTC"}));
    api.fault(json!({"kind": "feed_gap", "value": "duplicate"}));
    let mut last = ws.next("l2Book");
    crate::support::until("a book twice", || {
        let next = ws.next("l2Book");
        (std::mem::replace(&mut last, next.clone()) == next).then_some(())
    });
    api.clear();
    api.fault(json!({"kind": "feed_gap", "value": "reorder"}));
    crate::support::until("an older book after a newer one", || {
        api.json("POST", "/sim/clock", &json!({"advance_ms": 60_000}));
        let next = ws.next("l2Book");
        let before = std::mem::replace(&mut last, next.clone());
        (before["time"].as_u64() > next["time"].as_u64()).then_some(())
    });
    api.clear();
    api.fault(json!({"kind": "ws_drop", "for_ms": 60_000}));
    let end = loop {
        match ws.0.read() {
            Ok(_) => continue,
            Err(e) => break e,
        }
    };
    assert!(!matches!(end, Error::ConnectionClosed), "cut without a close frame: {end}");
    let stream = TcpStream::connect(api.addr).unwrap();
    assert!(client(format!("ws://{}/ws", api.addr), stream).is_err(), "none is taken while it lasts");
    api.clear();
    Ws::open(api);
    venue.stop();
}
