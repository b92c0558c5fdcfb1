//! What the journal can say. Closed shapes: an unknown entry does not open.

use holdfast_core::ids::{Epoch, Generation};
use holdfast_core::money::{Px, Sz, Szi, Usd};
use serde::{Deserialize, Serialize};

/// What an order is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntentKind {
    /// May add risk.
    Open,
    /// Can only reduce it.
    Close,
}

/// An order about to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intent {
    /// Idempotency key: the same decision has the same key, in any epoch. Sent once, ever.
    pub key: String,
    /// Client order id derived from the key, `0x` and 32 hex digits.
    pub cloid: String,
    /// Coin name.
    pub coin: String,
    /// Whether it buys.
    pub is_buy: bool,
    /// Size in coin.
    pub size: Sz,
    /// Limit price.
    pub px: Px,
    /// What it is for.
    pub kind: IntentKind,
    /// Venue time in milliseconds after which the venue refuses it.
    pub expires_after_ms: u64,
    /// Epoch it was decided under.
    pub epoch: Epoch,
    /// Position in this coin as known when it was decided.
    pub position_before: Szi,
}

/// What the venue answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Recorded {
    /// Executed, perhaps in part; an immediate order leaves nothing behind.
    Filled {
        /// Venue order id.
        oid: u64,
        /// Size executed.
        size: Sz,
    },
    /// Accepted without an execution so far.
    Resting {
        /// Venue order id.
        oid: u64,
    },
    /// Certainly not accepted.
    Refused {
        /// The venue's words.
        text: String,
    },
    /// Certainly never sent.
    NotSent {
        /// Why.
        why: String,
    },
    /// Nobody knows: it must be asked for.
    Unknown {
        /// What happened.
        why: String,
    },
}

impl Recorded {
    /// Whether this ends the question about an order.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Filled { .. } | Self::Resting { .. } | Self::Refused { .. } | Self::NotSent { .. } => true,
            Self::Unknown { .. } => false,
        }
    }
}

/// One execution on the account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FillRecord {
    /// Coin name.
    pub coin: String,
    /// Venue time, milliseconds since the epoch.
    pub venue_ms: u64,
    /// Venue trade id.
    pub tid: u64,
    /// Venue order id.
    pub oid: u64,
    /// Client order id, if the order had one.
    pub cloid: Option<String>,
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
}

/// A position as the venue showed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldRecord {
    /// Coin name.
    pub coin: String,
    /// Signed size.
    pub size: Szi,
}

/// One line's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Entry {
    /// An engine began.
    Started {
        /// Its epoch.
        epoch: Epoch,
        /// Which start under that epoch.
        generation: Generation,
    },
    /// An order is about to be sent.
    Intent(Intent),
    /// What came back.
    Outcome {
        /// Which order.
        cloid: String,
        /// The answer.
        outcome: Recorded,
    },
    /// An order whose outcome was unknown has been settled by asking.
    Settled {
        /// Which order.
        cloid: String,
        /// What the venue said.
        how: String,
    },
    /// An execution was seen.
    Fill(FillRecord),
    /// Books were compared with the venue, whose word now counts.
    Reconciled {
        /// Every position there is; an absent coin is flat.
        held: Vec<HeldRecord>,
        /// Venue time of the reading in milliseconds.
        venue_ms: u64,
        /// What differed, for people; empty if nothing.
        changes: String,
    },
    /// A torn last line was cut.
    Repaired {
        /// Its length.
        cut_bytes: u64,
        /// Where it began.
        cut_at: u64,
        /// SHA-256 of what was cut, hex.
        cut_sha256: String,
    },
    /// The journal was verified again after a failure.
    Reopened {
        /// The failure.
        why: String,
    },
}
