//! What workers tell the judge: readings and progress, as closed shapes.
//!
//! A reading says when it was taken; whether it is still fresh is decided where it is used.

use crate::checksum::Checksum;
use crate::ids::{Epoch, JobId};
use crate::money::{Px, Sz, Szi, Usd};
use crate::registry::{LatchReason, VenueDeadMan};
use crate::time::Tick;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// One net position, as read from the venue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionView {
    /// The dex it is held on; empty for the first.
    pub dex: String,
    /// Coin name as the venue spells it.
    pub coin: String,
    /// Signed size in coin.
    pub size: Szi,
    /// Average entry price; absent when the venue gives none.
    pub entry_px: Option<Px>,
    /// Mark price; absent when unknown.
    pub mark_px: Option<Px>,
    /// Notional in USD at the venue's mark.
    pub notional_usd: Usd,
}

/// The day's baseline of the loss limit, as the engine's own cell has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossDay {
    /// Days since 1970-01-01 UTC.
    pub utc_day: u64,
    /// Equity at the day's first reading.
    pub baseline_usd: Usd,
    /// The limit was reached, and nobody has resumed since.
    pub breach: Option<LossBreach>,
}

/// A loss limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossBreach {
    /// The equity that reached it.
    pub equity_usd: Usd,
    /// Epoch it happened under.
    pub epoch: Epoch,
}

/// One order resting on the venue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderView {
    /// The dex it rests on; empty for the first.
    pub dex: String,
    /// Coin name.
    pub coin: String,
    /// Venue order id.
    pub oid: u64,
    /// Client order id, `0x` and 32 hex digits, if it has one.
    pub cloid: Option<String>,
    /// Whether it buys.
    pub is_buy: bool,
    /// Limit price.
    pub px: Px,
    /// Size still open.
    pub size: Sz,
    /// Whether the venue will refuse to let it increase a position.
    pub reduce_only: bool,
}

/// One complete reading of the account over every dex in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountView {
    /// Boot-clock instant at which the first question left: what happened since may be missing, so age counts from here.
    pub read_at: Tick,
    /// Venue time of the reading, milliseconds since the epoch.
    pub venue_ms: u64,
    /// Account value in USD.
    pub equity_usd: Usd,
    /// Margin in use in USD.
    pub margin_used_usd: Usd,
    /// Every position; an absent coin is flat.
    pub positions: Vec<PositionView>,
    /// Every resting order.
    pub orders: Vec<OrderView>,
    /// Actions left before the venue's address quota is spent, if it was read.
    pub requests_left: Option<u64>,
}

impl AccountView {
    /// No position and no resting order.
    #[must_use]
    pub fn is_flat(&self) -> bool {
        self.orders.is_empty() && self.positions.iter().all(|p| p.size.is_zero())
    }
}

/// Whether market data may be acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarketState {
    /// Both sides present, uncrossed, near the mark, recent in venue time and receive time.
    Fresh,
    /// Nothing has been received yet.
    Absent,
    /// Too old.
    Stale,
    /// The same book time again and again.
    Frozen,
    /// Best bid at or above best ask.
    Crossed,
    /// A side of the book is empty.
    OneSided,
    /// The price is too far from the mark to be believed.
    Unbelievable,
    /// The venue's clock and ours disagree.
    ClockSkew,
    /// The feed was interrupted and state has not been read again.
    Gap,
}

/// The sensor's verdict on the market.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarketHealth {
    /// The worst state over all watched coins.
    pub state: MarketState,
    /// Boot-clock instant of the last believable book.
    pub last_good: Option<Tick>,
    /// Venue time minus our wall clock at receipt, in milliseconds.
    pub skew_ms: i64,
}

/// Whether the engine can write intents down before it sends them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalHealth {
    /// The last append reached the disk.
    pub healthy: bool,
    /// Entries written since the journal was created.
    pub entries: u64,
    /// Intents whose outcome is not known yet.
    pub unsettled: u32,
    /// Checksum of the last entry, which vouches for every entry before it; absent while there is none.
    pub head: Option<Checksum>,
}

/// Whether what happens is written down on the runtime bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusHealth {
    /// Durable, and not behind.
    Good,
    /// The disk does not take it, or not in time. Ends by itself.
    Unavailable {
        /// Why, for people.
        why: String,
    },
    /// What is there does not verify: it is left as it is, and nothing is written. Ends with a repair and a new start.
    Refused {
        /// Which file and byte, for people.
        why: String,
    },
}

/// How far the runtime bus goes on the disk. Deadman keeps the newest it was told, as a witness of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BusHead {
    /// Which bus.
    pub bus_id: String,
    /// Events.
    pub events: u64,
    /// Checksum of the last of them.
    pub checksum: String,
}

/// The engine's answer to a request to reconcile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReconcileReport {
    /// Which request this answers; an answer to an older one is void.
    pub asked: u64,
    /// Books agree and nothing is unsettled.
    pub clean: bool,
    /// What stands in the way, for people.
    pub detail: String,
}

/// What a reduce job is to reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Cancel every order; leave positions.
    CancelAll,
    /// Cancel every order and close every position.
    Flatten,
}

impl JobKind {
    /// The one of two that does more. A flatten cancels too.
    #[must_use]
    pub const fn stronger(self, other: Option<Self>) -> Self {
        match (self, other) {
            (Self::CancelAll, None | Some(Self::CancelAll)) => Self::CancelAll,
            (Self::Flatten, _) | (Self::CancelAll, Some(Self::Flatten)) => Self::Flatten,
        }
    }
}

/// How far a reduce job has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Ordered; the engine is being ended first.
    Fencing,
    /// Orders are being cancelled.
    Cancelling,
    /// Positions are being closed.
    Closing,
    /// A fresh, complete venue read shows nothing open.
    Flat,
    /// Attempts of this round are used up and something is still open or unknown. The tree keeps trying.
    NotFlat,
}

impl JobState {
    /// The word in `status.kill.state`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fencing => "fencing",
            Self::Cancelling => "cancelling",
            Self::Closing => "closing",
            Self::Flat => "flat",
            Self::NotFlat => "not_flat",
        }
    }

    /// Whether this ends a round.
    #[must_use]
    pub const fn is_verdict(self) -> bool {
        matches!(self, Self::Flat | Self::NotFlat)
    }
}

/// Something a job could not remove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Residue {
    /// The dex; empty for the first.
    pub dex: String,
    /// The coin.
    pub coin: String,
    /// Position left; zero when only orders are left.
    pub size: Szi,
    /// Orders left on this coin.
    pub orders: u32,
}

/// One step of a reduce job, as deadman reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobProgress {
    /// Which job.
    pub job: JobId,
    /// How far it has come.
    pub state: JobState,
    /// Which round of the ladder, from 1.
    pub round: u32,
    /// What is left; empty and [`JobState::NotFlat`] means the venue could not be read.
    pub residue: Vec<Residue>,
    /// Venue time of the read that proves a [`JobState::Flat`], milliseconds since the epoch.
    pub proof_venue_ms: Option<u64>,
    /// One line for people.
    pub detail: String,
}

/// State of the venue's own dead-man switch, as deadman last established it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadManReport {
    /// Whether it protects this account.
    pub state: VenueDeadMan,
    /// When it fires unless renewed, venue milliseconds since the epoch.
    pub fires_at_ms: Option<u64>,
    /// The venue's words when it is not armed.
    pub detail: String,
}

/// What kind of standing cause makes the engine refuse every opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StandingCause {
    /// The exposure limit or the margin is used up by what the engine does not manage.
    Capital,
    /// Its attempts to close move nothing.
    Exit,
    /// Anything else; the contract has no word for it, so it is shown and does not restrict the mode.
    Other,
}

/// Why the engine's own gate refuses every opening for as long as this stands. It ends by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// Its kind.
    pub cause: StandingCause,
    /// One line for people, bounded by the engine.
    pub detail: String,
}

/// A cause that closes the open-permission latch, found by a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatchTrip {
    /// The registry reason.
    pub reason: LatchReason,
    /// One line for people.
    pub detail: String,
}
