//! The socket client against a loopback WebSocket server.

use crate::clock;
use futures_util::{SinkExt, StreamExt};
use holdfast_venue_reduce::socket::{Event, Events, Socket, SocketConfig, Stream, WireMessage};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

const BOOK: &str = r#"{"channel":"l2Book","data":{"coin":"BTC","time":1,"levels":[[],[]]}}"#;
const SUBSCRIBE: &str = r#"{"method":"subscribe","subscription":{"type":"l2Book","coin":"BTC"}}"#;

async fn listen() -> (TcpListener, SocketConfig) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    let mut config = SocketConfig::new(url, vec![Stream::L2Book { coin: "BTC".into() }], clock);
    config.backoff_first = Duration::from_millis(10);
    (listener, config)
}

async fn accept(listener: &TcpListener) -> WebSocketStream<TcpStream> {
    let (stream, _) = timeout(Duration::from_secs(5), listener.accept()).await.unwrap().unwrap();
    let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
    let first = timeout(Duration::from_secs(5), socket.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(first.into_text().unwrap().as_str(), SUBSCRIBE);
    socket
}

async fn next(events: &mut Events) -> Event {
    timeout(Duration::from_secs(5), events.recv()).await.unwrap().unwrap().event
}

fn is_book(event: &Event) -> bool {
    matches!(event, Event::Message(WireMessage::L2Book(_)))
}

#[tokio::test]
async fn every_reconnect_is_announced_before_its_messages() {
    let (listener, config) = listen().await;
    let (socket, mut events) = Socket::new(config).unwrap();
    let running = tokio::spawn(socket.run());

    let mut first = accept(&listener).await;
    assert_eq!(next(&mut events).await, Event::Connected);
    first.send(Message::text("Websocket connection established.")).await.unwrap();
    first.send(Message::text(BOOK)).await.unwrap();
    assert!(is_book(&next(&mut events).await), "the greeting is not an event");
    first.send(Message::text("garbage")).await.unwrap();
    assert!(matches!(next(&mut events).await, Event::Malformed(_)));
    first.close(None).await.unwrap();
    assert!(matches!(next(&mut events).await, Event::Disconnected(_)));

    let mut second = accept(&listener).await;
    second.send(Message::text(BOOK)).await.unwrap();
    assert_eq!(next(&mut events).await, Event::Reconnected);
    assert!(is_book(&next(&mut events).await));
    drop(second);
    assert!(matches!(next(&mut events).await, Event::Disconnected(_)));

    drop(events);
    timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
}

#[tokio::test]
async fn it_pings_and_takes_silence_for_death() {
    let (listener, mut config) = listen().await;
    config.ping_every = Duration::from_millis(50);
    config.dead_after = Duration::from_millis(300);
    let (socket, mut events) = Socket::new(config).unwrap();
    let running = tokio::spawn(socket.run());
    let mut silent = accept(&listener).await;
    assert_eq!(next(&mut events).await, Event::Connected);
    let ping = timeout(Duration::from_secs(5), silent.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(ping.into_text().unwrap().as_str(), r#"{"method":"ping"}"#);
    assert_eq!(next(&mut events).await, Event::Disconnected("silent for too long".to_owned()));
    let _again = accept(&listener).await;
    assert_eq!(next(&mut events).await, Event::Reconnected);
    drop(events);
    timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_slow_reader_is_told_what_it_missed() {
    let (listener, mut config) = listen().await;
    config.queue = 4;
    let (socket, mut events) = Socket::new(config).unwrap();
    let running = tokio::spawn(socket.run());
    let mut server = accept(&listener).await;
    for _ in 0..50 {
        server.send(Message::text(BOOK)).await.unwrap();
    }
    server.close(None).await.unwrap();
    // Nothing is read until the server has seen its close answered: by then every message was taken or dropped.
    while let Some(Ok(_)) = timeout(Duration::from_secs(5), server.next()).await.unwrap() {}
    let mut books = 0;
    let dropped = loop {
        let event = next(&mut events).await;
        if let Event::Lagged(n) = event {
            break n;
        }
        assert!(is_book(&event) || event == Event::Connected, "{event:?}");
        books += u64::from(is_book(&event));
    };
    assert_eq!(books + dropped, 50);
    assert!(matches!(next(&mut events).await, Event::Disconnected(_)));
    drop(events);
    timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
}
