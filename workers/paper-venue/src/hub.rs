//! Who listens to what over sockets. A listener that does not keep up is cut off, never waited for.

use crate::addr::Addr;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt::Display;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Messages a listener may be behind.
const QUEUE: usize = 512;
/// Subscriptions of one connection.
const MAX_TOPICS: usize = 1_000;

/// What can be subscribed to. The order of the fields is the order in the acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Topic {
    AllMids {
        #[serde(default)]
        dex: String,
    },
    L2Book {
        coin: String,
        #[serde(default)]
        n_sig_figs: Option<u32>,
        #[serde(default)]
        mantissa: Option<u32>,
    },
    Bbo {
        coin: String,
    },
    Trades {
        coin: String,
    },
    Candle {
        coin: String,
        interval: String,
    },
    ActiveAssetCtx {
        coin: String,
    },
    OrderUpdates {
        user: Addr,
    },
    UserFills {
        user: Addr,
        #[serde(default)]
        aggregate_by_time: bool,
    },
    UserEvents {
        user: Addr,
    },
    ClearinghouseState {
        user: Addr,
        #[serde(default)]
        dex: String,
    },
    OpenOrders {
        user: Addr,
        #[serde(default)]
        dex: String,
    },
    Notification {
        user: Addr,
    },
    UserFundings {
        user: Addr,
    },
    UserNonFundingLedgerUpdates {
        user: Addr,
    },
}

impl Topic {
    /// The channel its messages carry.
    pub(crate) const fn channel(&self) -> &'static str {
        match self {
            Self::AllMids { .. } => "allMids",
            Self::L2Book { .. } => "l2Book",
            Self::Bbo { .. } => "bbo",
            Self::Trades { .. } => "trades",
            Self::Candle { .. } => "candle",
            Self::ActiveAssetCtx { .. } => "activeAssetCtx",
            Self::OrderUpdates { .. } => "orderUpdates",
            Self::UserFills { .. } => "userFills",
            Self::UserEvents { .. } => "user",
            Self::ClearinghouseState { .. } => "clearinghouseState",
            Self::OpenOrders { .. } => "openOrders",
            Self::Notification { .. } => "notification",
            Self::UserFundings { .. } => "userFundings",
            Self::UserNonFundingLedgerUpdates { .. } => "userNonFundingLedgerUpdates",
        }
    }
}

/// What a connection's task is told to do.
#[derive(Clone, Debug)]
pub(crate) enum Push {
    /// Send this.
    Text(Utf8Bytes),
    /// Close cleanly with this reason and code 1000.
    Close(&'static str),
    /// Cut the connection without a word.
    Cut,
}

#[derive(Debug)]
struct Listener {
    id: u64,
    tx: mpsc::Sender<Push>,
    topics: BTreeSet<Topic>,
}

/// All listeners.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    listeners: Vec<Listener>,
    next_id: u64,
}

/// A message of a channel as it travels. What `data` shows must be JSON.
pub(crate) fn message(channel: &'static str, data: &impl Display) -> Utf8Bytes {
    Utf8Bytes::from(format!(r#"{{"channel":"{channel}","data":{data}}}"#))
}

impl Hub {
    /// A new listener without topics.
    pub(crate) fn join(&mut self) -> (u64, mpsc::Receiver<Push>) {
        let (tx, rx) = mpsc::channel(QUEUE);
        self.next_id = self.next_id.saturating_add(1);
        self.listeners.push(Listener { id: self.next_id, tx, topics: BTreeSet::new() });
        (self.next_id, rx)
    }

    /// A listener is gone.
    pub(crate) fn leave(&mut self, id: u64) {
        self.listeners.retain(|l| l.id != id);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.listeners.len()
    }

    /// Adds a topic; an error text when it is there already or there are too many.
    pub(crate) fn subscribe(&mut self, id: u64, topic: &Topic) -> Result<(), String> {
        let Some(listener) = self.listeners.iter_mut().find(|l| l.id == id) else { return Err("gone".to_owned()) };
        if listener.topics.len() >= MAX_TOPICS {
            return Err("Too many subscriptions".to_owned());
        }
        if !listener.topics.insert(topic.clone()) {
            return Err(format!("Already subscribed: {}", json!(topic)));
        }
        Ok(())
    }

    /// Removes a topic; an error text when it is not there.
    pub(crate) fn unsubscribe(&mut self, id: u64, topic: &Topic) -> Result<(), String> {
        let Some(listener) = self.listeners.iter_mut().find(|l| l.id == id) else { return Err("gone".to_owned()) };
        if listener.topics.remove(topic) { Ok(()) } else { Err(format!("Already unsubscribed: {}", json!(topic))) }
    }

    /// Every topic somebody listens to.
    pub(crate) fn topics(&self) -> BTreeSet<Topic> {
        self.listeners.iter().flat_map(|l| l.topics.iter().cloned()).collect()
    }

    /// Sends JSON to the listeners of a topic; the message is built once, and only if there is one.
    pub(crate) fn publish<D: Display>(&mut self, topic: &Topic, data: impl FnOnce() -> D) {
        if !self.listeners.iter().any(|l| l.topics.contains(topic)) {
            return;
        }
        let text = message(topic.channel(), &data());
        self.listeners.retain(|l| !l.topics.contains(topic) || l.tx.try_send(Push::Text(text.clone())).is_ok());
    }

    /// Tells every listener to end.
    pub(crate) fn end_all(&mut self, push: &Push) {
        for listener in self.listeners.drain(..) {
            // A full queue ends the connection too, when its sender is dropped here.
            let _ = listener.tx.try_send(push.clone());
        }
    }
}
