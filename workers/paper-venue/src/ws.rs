//! The socket side: subscriptions with snapshots, pings, and requests in `post` envelopes.

use crate::faults::Kind as Fault;
use crate::http::App;
use crate::hub::{Push, Topic, message};
use crate::listen::SocketConn;
use crate::venue::Answer;
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// A connection on which nothing was sent for this long is dropped.
const SILENCE: Duration = Duration::from_secs(60);
/// Longest handshake, and longest write.
const DEADLINE: Duration = Duration::from_secs(10);
/// Largest message taken.
const MAX_MESSAGE: usize = 256 * 1024;
/// First words of the real venue; a bare line, not JSON.
const GREETING: &str = "Websocket connection established.";

#[derive(Deserialize)]
#[serde(tag = "method", rename_all = "camelCase")]
enum Request {
    Subscribe { subscription: Topic },
    Unsubscribe { subscription: Topic },
    Post { id: u64, request: PostRequest },
    Ping {},
}

#[derive(Deserialize)]
struct PostRequest {
    #[serde(rename = "type")]
    kind: PostKind,
    payload: Value,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PostKind {
    Info,
    Action,
}

type Socket = WebSocketStream<TcpStream>;

async fn send(socket: &mut Socket, text: Utf8Bytes) -> bool {
    matches!(timeout(DEADLINE, socket.send(Message::Text(text))).await, Ok(Ok(())))
}

/// Sends this and what else waits, in one write where they fit: a round of the market is one waking of who listens.
/// The first that is not a text is handed back.
async fn send_waiting(
    socket: &mut Socket,
    text: Utf8Bytes,
    pushes: &mut mpsc::Receiver<Push>,
) -> Result<Option<Push>, Slow> {
    let write = async {
        socket.feed(Message::Text(text)).await?;
        let other = loop {
            match pushes.try_recv() {
                Ok(Push::Text(text)) => socket.feed(Message::Text(text)).await?,
                Ok(other) => break Some(other),
                Err(_) => break None,
            }
        };
        socket.flush().await.map(|()| other)
    };
    match timeout(DEADLINE, write).await {
        Ok(Ok(other)) => Ok(other),
        Ok(Err(_)) | Err(_) => Err(Slow),
    }
}

/// The other end does not read, or is gone.
struct Slow;

/// Serves one connection to its end.
pub(crate) async fn serve((stream, permit): SocketConn, app: App) {
    let _permit = permit;
    let dropping = {
        let venue = app.venue();
        let now = venue.now().boot_ms();
        venue.ex.faults.peek(Fault::WsDrop, None, now).is_some()
    };
    if dropping {
        return;
    }
    let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    let accepted = timeout(DEADLINE, tokio_tungstenite::accept_async_with_config(stream, Some(config))).await;
    let Ok(Ok(mut socket)) = accepted else { return };
    if !send(&mut socket, Utf8Bytes::from_static(GREETING)).await {
        return;
    }
    let (id, mut pushes) = app.venue().hub.join();
    let mut last_sent = Instant::now();
    loop {
        let silence = tokio::time::sleep_until(last_sent + SILENCE);
        tokio::select! {
            push = pushes.recv() => {
                let push = match push {
                    Some(Push::Text(text)) => match send_waiting(&mut socket, text, &mut pushes).await {
                        Ok(other) => other,
                        Err(Slow) => break,
                    },
                    other => Some(other.unwrap_or(Push::Cut)),
                };
                match push {
                    Some(Push::Close(reason)) => {
                        let frame = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::from_static(reason) };
                        let _ = timeout(DEADLINE, socket.close(Some(frame))).await;
                        break;
                    }
                    // Cut, or too slow to keep up with.
                    Some(Push::Cut) => break,
                    Some(Push::Text(_)) | None => last_sent = Instant::now(),
                }
            },
            incoming = socket.next() => match incoming {
                Some(Ok(Message::Text(text))) => {
                    let answers = answer(&app, id, &text).await;
                    for text in answers {
                        if !send(&mut socket, text).await {
                            app.venue().hub.leave(id);
                            return;
                        }
                        last_sent = Instant::now();
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
            },
            () = silence => break,
        }
    }
    app.venue().hub.leave(id);
}

fn error(text: &str) -> Vec<Utf8Bytes> {
    vec![message("error", &json!(text))]
}

async fn answer(app: &App, id: u64, text: &str) -> Vec<Utf8Bytes> {
    let request: Request = match serde_json::from_str(text) {
        Ok(request) => request,
        Err(_) => return error(&format!("Error parsing JSON into valid websocket request: {text}")),
    };
    match request {
        Request::Ping {} => vec![Utf8Bytes::from_static(r#"{"channel":"pong"}"#)],
        Request::Subscribe { subscription } => subscribe(app, id, &subscription),
        Request::Unsubscribe { subscription } => {
            let left = app.venue().hub.unsubscribe(id, &subscription);
            match left {
                Ok(()) => {
                    let data = json!({"method": "unsubscribe", "subscription": subscription});
                    vec![message("subscriptionResponse", &data)]
                }
                Err(text) => error(&text),
            }
        }
        Request::Post { id, request } => post(app, id, &request, text).await,
    }
}

fn subscribe(app: &App, id: u64, topic: &Topic) -> Vec<Utf8Bytes> {
    let mut venue = app.venue();
    let known = match topic {
        Topic::L2Book { coin, .. }
        | Topic::Bbo { coin }
        | Topic::Trades { coin }
        | Topic::Candle { coin, .. }
        | Topic::ActiveAssetCtx { coin } => venue.ex.market(coin).is_some(),
        Topic::AllMids { .. }
        | Topic::OrderUpdates { .. }
        | Topic::UserFills { .. }
        | Topic::UserEvents { .. }
        | Topic::ClearinghouseState { .. }
        | Topic::OpenOrders { .. }
        | Topic::Notification { .. }
        | Topic::UserFundings { .. }
        | Topic::UserNonFundingLedgerUpdates { .. } => true,
    };
    if !known {
        return error(&format!("Invalid subscription {}", json!(topic)));
    }
    if let Err(text) = venue.hub.subscribe(id, topic) {
        return error(&text);
    }
    let mut out = vec![message("subscriptionResponse", &json!({"method": "subscribe", "subscription": topic}))];
    let now = venue.now();
    if let Some(data) = venue.current(topic, now) {
        out.push(message(topic.channel(), &data));
    }
    out
}

/// The payload as it was written: the order of its keys is part of what was signed.
#[derive(Deserialize)]
struct RawPost<'a> {
    #[serde(borrow)]
    request: RawRequest<'a>,
}

#[derive(Deserialize)]
struct RawRequest<'a> {
    #[serde(borrow)]
    payload: &'a RawValue,
}

async fn post(app: &App, id: u64, request: &PostRequest, text: &str) -> Vec<Utf8Bytes> {
    let Ok(raw) = serde_json::from_str::<RawPost<'_>>(text) else { return error("unreadable post") };
    let (path, kind) = match request.kind {
        PostKind::Info => ("/info", "info"),
        PostKind::Action => ("/exchange", "action"),
    };
    let answer = app.request(path, raw.request.payload.get().as_bytes(), None).await;
    let response = match answer {
        Answer::Json(value) if kind == "info" => {
            let asked = request.payload.get("type").cloned().unwrap_or(Value::Null);
            json!({"type": kind, "payload": {"type": asked, "data": value}})
        }
        Answer::Json(value) => json!({"type": kind, "payload": value}),
        Answer::Plain(status, text) => json!({"type": "error", "payload": format!("{status}: {text}")}),
    };
    vec![message("post", &json!({"id": id, "response": response}))]
}
