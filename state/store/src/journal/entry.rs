//! What the journal can say. Closed shapes: an unknown entry does not open.

use holdfast_core::checksum::Checksum;
use holdfast_core::ids::{Epoch, Generation};
use holdfast_core::money::{Px, Sz, Szi, Usd};
use holdfast_core::registry::RejectReason;
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

/// A decision that never became an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rejection {
    /// Epoch it was decided under.
    pub epoch: Epoch,
    /// Coin name.
    pub coin: String,
    /// Which bar of this engine's life asked for it.
    pub bar: u64,
    /// Price it was decided at.
    pub px: Px,
    /// The first reason against it.
    pub reason: RejectReason,
    /// What was wanted, for people.
    pub detail: String,
}

/// A closed segment as the one after it names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosedSegment {
    /// Its number, counted from 1.
    pub number: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// Checksum of its last entry, which vouches for every entry before it.
    pub head: Checksum,
}

/// The first entry of every segment but the first: what the segments before it add up to, whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    /// What it continues.
    pub closed: ClosedSegment,
    /// Entries before this one.
    pub entries: u64,
    /// Orders without a final outcome, by client order id.
    pub unsettled: Vec<Intent>,
    /// Idempotency keys, oldest first.
    pub keys: Vec<String>,
    /// Client order ids, oldest first.
    pub cloids: Vec<String>,
    /// Executions as (coin, venue milliseconds, trade id), oldest first.
    pub fills: Vec<(String, u64, u64)>,
    /// Venue time of the newest execution; 0 if none.
    pub last_fill_ms: u64,
    /// Positions by the last comparison and the executions since.
    pub expected: Vec<HeldRecord>,
    /// Venue time of the last comparison; 0 if none.
    pub compared_ms: u64,
    /// Executions after this venue time may be missing, if any may.
    pub gap_ms: Option<u64>,
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
    /// A decision was refused before it became an order.
    Rejected(Rejection),
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
    /// A segment was closed and this one begins.
    Continued(Box<Carried>),
}
