//! The connection: subscribe, ping, notice silence, reconnect with jitter.

use super::message::{Stream, WireMessage, parse_message};
use crate::client::ConfigError;
use crate::clock::ClockFn;
use crate::outcome::cut;
use crate::tls;
use futures_util::{SinkExt, StreamExt};
use holdfast_core::time::Tick;
use serde::Serialize;
use std::fmt;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};

/// Largest message taken.
const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How to keep one connection.
#[derive(Clone, Debug)]
pub struct SocketConfig {
    /// `ws(s)://host/ws`, see `VenueConfig::socket_url`.
    pub url: String,
    /// What to subscribe to, after every connect.
    pub streams: Vec<Stream>,
    /// Messages waiting for the reader; more are dropped and announced.
    pub queue: usize,
    /// Longest wait for a connection with its handshake.
    pub connect_timeout: Duration,
    /// How often to ping; 30 s at the latest.
    pub ping_every: Duration,
    /// Silence after which the connection is dead.
    pub dead_after: Duration,
    /// First wait before reconnecting; doubles, with jitter.
    pub backoff_first: Duration,
    /// Longest wait before reconnecting.
    pub backoff_max: Duration,
    /// The boot clock.
    pub clock: ClockFn,
}

impl SocketConfig {
    /// Defaults: 1024 messages, ping every 20 s, dead after 60 s, reconnect after 0.25 to 15 s.
    #[must_use]
    pub const fn new(url: String, streams: Vec<Stream>, clock: ClockFn) -> Self {
        Self {
            url,
            streams,
            queue: 1024,
            connect_timeout: Duration::from_secs(3),
            ping_every: Duration::from_secs(20),
            dead_after: Duration::from_secs(60),
            backoff_first: Duration::from_millis(250),
            backoff_max: Duration::from_secs(15),
            clock,
        }
    }
}

/// What the reader gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// First connection; subscriptions are sent. Read state over HTTP before counting as fresh.
    Connected,
    /// A later connection; subscriptions are sent again. Read state over HTTP before counting as fresh.
    Reconnected,
    /// The connection ended; another attempt follows.
    Disconnected(String),
    /// The reader was too slow: this many messages were dropped. Read state over HTTP.
    Lagged(u64),
    /// A message that does not parse; what it would have said is unknown.
    Malformed(String),
    /// A message.
    Message(WireMessage),
}

/// An event with the boot-clock instant it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timed {
    /// When.
    pub at: Tick,
    /// What.
    pub event: Event,
}

/// The reading end.
pub type Events = mpsc::Receiver<Timed>;

type Connection = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// One self-healing connection. Ends when the reader is dropped.
pub struct Socket {
    config: SocketConfig,
    out: mpsc::Sender<Timed>,
    dropped: u64,
    connector: Connector,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Why a session ended.
enum End {
    /// Nobody reads any more.
    ReaderGone,
    /// The connection is over; true if it ever said anything.
    Closed(String, bool),
}

impl Socket {
    /// Makes the two ends. Connects to nothing until [`Socket::run`] is polled.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn new(config: SocketConfig) -> Result<(Self, Events), ConfigError> {
        let connector = if config.url.starts_with("wss://") {
            Connector::Rustls(tls::client_config().map_err(|e| ConfigError::Build(e.to_string()))?)
        } else if config.url.starts_with("ws://") {
            Connector::Plain
        } else {
            return Err(ConfigError::Url("a socket url starts with ws:// or wss://".to_owned()));
        };
        let (out, events) = mpsc::channel(config.queue.max(2));
        Ok((Self { config, out, dropped: 0, connector }, events))
    }

    /// Runs until the reader is dropped.
    pub async fn run(mut self) {
        let mut failures: u32 = 0;
        let mut connected_before = false;
        loop {
            let ended = match self.connect().await {
                Err(why) => End::Closed(why, false),
                Ok(connection) => {
                    let hello = if connected_before { Event::Reconnected } else { Event::Connected };
                    connected_before = true;
                    self.session(connection, hello).await
                }
            };
            match ended {
                End::ReaderGone => return,
                End::Closed(why, spoke) => {
                    failures = if spoke { 0 } else { failures.saturating_add(1) };
                    if !self.announce(Event::Disconnected(why)).await {
                        return;
                    }
                }
            }
            tokio::select! {
                () = sleep(self.backoff(failures)) => {}
                () = self.out.closed() => return,
            }
        }
    }

    async fn connect(&self) -> Result<Connection, String> {
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let attempt =
            connect_async_tls_with_config(self.config.url.as_str(), Some(limits), true, Some(self.connector.clone()));
        match timeout(self.config.connect_timeout, attempt).await {
            Ok(Ok((connection, _))) => Ok(connection),
            Ok(Err(error)) => Err(cut(&error.to_string())),
            Err(_) => Err("no connection in time".to_owned()),
        }
    }

    /// One connection, from subscribing to its end.
    async fn session(&mut self, mut connection: Connection, hello: Event) -> End {
        // The announcement goes out before any message of this connection can be read.
        if !self.announce(hello).await {
            return End::ReaderGone;
        }
        if let Err(why) = self.subscribe(&mut connection).await {
            return End::Closed(why, false);
        }
        let mut pings = interval(self.config.ping_every);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings.reset();
        // Our own pings must not count as a sign of life: only what comes in moves this.
        let silence = sleep(self.config.dead_after);
        tokio::pin!(silence);
        let mut spoke = false;
        let ended = loop {
            tokio::select! {
                _ = pings.tick() => {
                    if let Err(why) = self.send(&mut connection, r#"{"method":"ping"}"#.to_owned()).await {
                        break why;
                    }
                }
                () = self.out.closed() => return End::ReaderGone,
                () = &mut silence => break "silent for too long".to_owned(),
                incoming = connection.next() => {
                    match incoming {
                        None => break "closed by the venue".to_owned(),
                        Some(Err(error)) => break cut(&error.to_string()),
                        Some(Ok(Message::Close(frame))) => {
                            break frame.map_or_else(|| "closed by the venue".to_owned(), |f| cut(&f.to_string()));
                        }
                        Some(Ok(Message::Text(text))) => self.take(text.as_str(), !spoke),
                        Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                    }
                    spoke = true;
                    silence.as_mut().reset(Instant::now() + self.config.dead_after);
                }
            }
        };
        End::Closed(ended, spoke)
    }

    async fn subscribe(&self, connection: &mut Connection) -> Result<(), String> {
        #[derive(Serialize)]
        struct Subscribe<'a> {
            method: &'static str,
            subscription: &'a Stream,
        }
        for subscription in &self.config.streams {
            let text =
                serde_json::to_string(&Subscribe { method: "subscribe", subscription }).map_err(|e| e.to_string())?;
            self.send(connection, text).await?;
        }
        Ok(())
    }

    async fn send(&self, connection: &mut Connection, text: String) -> Result<(), String> {
        match timeout(self.config.connect_timeout, connection.send(Message::text(text))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(cut(&error.to_string())),
            Err(_) => Err("connection does not take what we send".to_owned()),
        }
    }

    /// Hands a message on, or counts it as dropped.
    fn take(&mut self, text: &str, first: bool) {
        let event = match parse_message(text.as_bytes()) {
            Ok(message) => Event::Message(message),
            // The venue greets with a bare line.
            Err(_) if first && !text.trim_start().starts_with('{') => return,
            Err(error) => Event::Malformed(error.to_string()),
        };
        let at = (self.config.clock)();
        if self.dropped > 0 {
            if self.out.try_send(Timed { at, event: Event::Lagged(self.dropped) }).is_err() {
                self.dropped = self.dropped.saturating_add(1);
                return;
            }
            self.dropped = 0;
        }
        if self.out.try_send(Timed { at, event }).is_err() {
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// Waits for room: connection changes are never dropped. False when nobody reads any more.
    async fn announce(&mut self, event: Event) -> bool {
        let at = (self.config.clock)();
        if self.dropped > 0 {
            let lagged = Timed { at, event: Event::Lagged(self.dropped) };
            self.dropped = 0;
            if self.out.send(lagged).await.is_err() {
                return false;
            }
        }
        self.out.send(Timed { at, event }).await.is_ok()
    }

    /// Doubles from the first wait to the longest, then takes between half and all of it.
    fn backoff(&self, failures: u32) -> Duration {
        let doubled = self.config.backoff_first.saturating_mul(2_u32.saturating_pow(failures.min(10)));
        let full = doubled.min(self.config.backoff_max);
        let mut random = [0_u8; 2];
        // Without random bytes the wait is simply the whole one.
        let share = match getrandom::fill(&mut random) {
            Ok(()) => u32::from(u16::from_be_bytes(random)),
            Err(_) => u32::from(u16::MAX),
        };
        let half = full / 2;
        half.saturating_add(half.saturating_mul(share) / u32::from(u16::MAX))
    }
}
