//! The data plane: sensor → engine and api, engine → api. One way; slow readers are dropped.

use crate::bootstrap::Token;
use crate::conn::{Conn, Writer};
use crate::error::IpcError;
use crate::listen::{Door, Lobby};
use bytes::Bytes;
use holdfast_core::ids::{Epoch, Role};
use holdfast_core::limits::{FRAME_BYTES_MAX, PEER_QUEUE_MAX};
use holdfast_core::money::{Px, Sz, Usd};
use holdfast_core::registry::RejectReason;
use holdfast_core::report::{AccountView, MarketState};
use holdfast_core::time::Tick;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::mpsc;

/// First and only frame of a subscriber.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscribe {
    /// Who asks.
    pub role: Role,
    /// Its epoch; another one is refused.
    pub epoch: Epoch,
    /// The epoch's shared token.
    pub token: Token,
}

/// The market of one coin as last seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarketView {
    /// Coin name.
    pub coin: String,
    /// May it be acted on.
    pub state: MarketState,
    /// Venue time of the book, milliseconds since the epoch.
    pub venue_ms: u64,
    /// Boot-clock instant of receipt.
    pub received: Tick,
    /// Best bid and its size.
    pub bid: Option<(Px, Sz)>,
    /// Best ask and its size.
    pub ask: Option<(Px, Sz)>,
    /// Mark price.
    pub mark: Option<Px>,
    /// Venue clock minus our wall clock, milliseconds; needed to express deadlines in venue time.
    pub skew_ms: i64,
}

/// One execution on our account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FillView {
    /// Coin name.
    pub coin: String,
    /// Venue time, milliseconds since the epoch.
    pub venue_ms: u64,
    /// Whether it bought.
    pub is_buy: bool,
    /// Price.
    pub px: Px,
    /// Size in coin.
    pub size: Sz,
    /// Realised profit in USD.
    pub closed_pnl_usd: Usd,
    /// Fee in USD.
    pub fee_usd: Usd,
    /// Venue order id.
    pub oid: u64,
    /// Venue trade id.
    pub tid: u64,
    /// Client order id, if the order had one.
    pub cloid: Option<String>,
}

/// Sensor to its subscribers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FromSensor {
    /// A market moved or changed state.
    Market(MarketView),
    /// The account was read.
    Account(Box<AccountView>),
    /// The account could not be read: exposure is unknown.
    AccountUnknown {
        /// One line for people.
        detail: String,
    },
    /// An execution on our account.
    Fill(FillView),
}

/// What the engine did with one bar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CycleAction {
    /// Nothing to do.
    Hold {},
    /// An opening order was sent.
    Open {
        /// Whether it buys.
        is_buy: bool,
        /// Size in coin.
        size: Sz,
        /// Limit price.
        px: Px,
    },
    /// A closing order was sent.
    Close {
        /// Size in coin.
        size: Sz,
        /// Why.
        why: String,
    },
    /// An intent was refused before it was sent.
    Rejected {
        /// The registry reason.
        reason: RejectReason,
    },
}

/// Engine to its subscribers: one observe–orient–decide–act–learn cycle.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FromEngine {
    /// One cycle.
    Cycle {
        /// Coin name.
        coin: String,
        /// Bar number since the engine started.
        bar: u64,
        /// Close of the bar.
        close: Px,
        /// The strategy's signal in hundredths of a percent, for display.
        signal_bps: i64,
        /// What was done.
        action: CycleAction,
        /// Why, for people.
        detail: String,
    },
}

/// The publishing side. Cheap to clone within its thread.
pub struct Publisher<T> {
    peers: Rc<RefCell<Vec<mpsc::Sender<Bytes>>>>,
    last: Rc<RefCell<Vec<(String, Bytes)>>>,
    kind: std::marker::PhantomData<fn(T)>,
}

impl<T> Clone for Publisher<T> {
    fn clone(&self) -> Self {
        Self { peers: self.peers.clone(), last: self.last.clone(), kind: std::marker::PhantomData }
    }
}

impl<T: Serialize + 'static> Publisher<T> {
    /// Opens the door and serves subscribers in local tasks until the process ends.
    ///
    /// # Errors
    /// [`IpcError::Listen`].
    pub fn open(path: &Path, epoch: Epoch, token: Token, may: &'static [Role]) -> Result<Self, IpcError> {
        let door = Door::open(path)?;
        let publisher = Self { peers: Rc::default(), last: Rc::default(), kind: std::marker::PhantomData };
        let serving = publisher.clone();
        tokio::task::spawn_local(async move { serving.serve(door, epoch, token, may).await });
        Ok(publisher)
    }

    async fn serve(self, door: Door, epoch: Epoch, token: Token, may: &'static [Role]) {
        let lobby = Lobby::new(PEER_QUEUE_MAX);
        loop {
            let Ok(stream) = door.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let Ok(mut conn) = Conn::<Subscribe, ()>::over(stream) else { continue };
            let (this, token) = (self.clone(), token.clone());
            let client = move |guest| async move {
                let Ok(ask) = conn.reader.recv_within(Duration::from_millis(500)).await else { return };
                if ask.epoch != epoch || !ask.token.matches(&token) || !may.contains(&ask.role) {
                    return;
                }
                drop(guest);
                this.attend(conn.writer).await;
            };
            lobby.serve(client).await;
        }
    }

    async fn attend(&self, mut writer: Writer<()>) {
        let (tx, mut rx) = mpsc::channel::<Bytes>(PEER_QUEUE_MAX);
        {
            let mut peers = self.peers.borrow_mut();
            peers.retain(|peer| !peer.is_closed());
            if peers.len() >= 8 {
                return;
            }
            for (_, body) in self.last.borrow().iter() {
                // The queue is empty and longer than what is kept.
                let _ = tx.try_send(body.clone());
            }
            peers.push(tx);
        }
        while let Some(body) = rx.recv().await {
            let sent = tokio::time::timeout(Duration::from_secs(1), writer.send_encoded(body)).await;
            if !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// Sends to every subscriber; one whose queue is full is dropped. With a `key`, the message is also what a later
    /// subscriber gets first (the newest of each key).
    pub fn publish(&self, message: &T, key: Option<&str>) {
        let Ok(body) = serde_json::to_vec(message) else { return };
        if body.len() > FRAME_BYTES_MAX {
            // Kept, it would end the connection of each subscriber, and of each one that comes back.
            return;
        }
        let body = Bytes::from(body);
        if let Some(key) = key {
            let mut last = self.last.borrow_mut();
            last.retain(|(k, _)| k != key);
            if last.len() < PEER_QUEUE_MAX / 2 {
                last.push((key.to_owned(), body.clone()));
            }
        }
        self.peers.borrow_mut().retain(|peer| peer.try_send(body.clone()).is_ok());
    }
}

/// Connects to a publisher.
///
/// # Errors
/// [`IpcError`] when it cannot be reached; the caller tries again with a pause.
pub async fn subscribe<T: serde::de::DeserializeOwned>(
    path: &Path,
    ask: &Subscribe,
) -> Result<crate::conn::Reader<T>, IpcError> {
    let deadline = Duration::from_millis(500);
    let mut conn = Conn::<T, Subscribe>::connect(path, deadline).await?;
    conn.writer.send_within(ask, deadline).await?;
    Ok(conn.reader)
}
