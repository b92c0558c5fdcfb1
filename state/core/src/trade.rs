//! What the engine has recorded of its trading, as it tells the supervisor: exact numbers, closed shapes.
//!
//! A cycle in which something was decided is told whole, once its executions are known; cycles that only held are counted.

use crate::ids::Epoch;
use crate::money::{Px, Sz, Szi, Usd};
use crate::registry::RejectReason;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// One thing to record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Trade {
    /// A cycle in which something was decided.
    Cycle(Cycle),
    /// An execution that belongs to no cycle told here.
    Fill(Fill),
    /// Where the cycles stand.
    Health(CycleHealth),
    /// An order is about to be sent.
    Intent(LiveIntent),
    /// What came of it.
    Outcome(LiveOutcome),
}

/// A decision and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cycle {
    /// When it was decided, wall-clock milliseconds; never the same twice, and grows.
    pub id: u64,
    /// Coin.
    pub coin: String,
    /// Whether it buys.
    pub is_buy: bool,
    /// Size in coin; of a refused opening the one that was wanted, before rounding.
    pub size: Sz,
    /// Limit price; of what was never priced the price that was decided on.
    pub px: Px,
    /// It can only reduce.
    pub reduce_only: bool,
    /// Signal in hundredths of a percent.
    pub signal_bps: i64,
    /// Client order id, if an order was made.
    pub cloid: Option<String>,
    /// Why it was refused; absent when it was sent.
    pub rejected: Option<RejectReason>,
    /// For people.
    pub detail: String,
    /// Largest notional of an opening in USD.
    pub order_limit_usd: Usd,
    /// Largest exposure in USD.
    pub exposure_limit_usd: Usd,
    /// Its executions.
    pub fills: Vec<Fill>,
    /// Where the cycles stand after it.
    pub after: CycleHealth,
}

/// One execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fill {
    /// Coin.
    pub coin: String,
    /// Whether it bought.
    pub is_buy: bool,
    /// Size in coin.
    pub size: Sz,
    /// Price; of an execution only its order's answer told of, the limit.
    pub px: Px,
    /// Fee in USD, if the venue told it.
    pub fee_usd: Option<Usd>,
    /// Realised profit in USD, if the venue told it.
    pub closed_pnl_usd: Option<Usd>,
    /// When, milliseconds since the epoch.
    pub at_ms: u64,
    /// Venue trade id; absent when only its order's answer told of it.
    pub tid: Option<u64>,
    /// Client order id, if the order had one.
    pub cloid: Option<String>,
}

/// Counts since the engine started, and what is held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CycleHealth {
    /// The last cycle that was told whole; 0 before the first.
    pub last_id: u64,
    /// Cycles in which something was decided.
    pub decisions: u64,
    /// Executions.
    pub fills: u64,
    /// Decisions that were refused.
    pub rejections: u64,
    /// Cycles that only held.
    pub held: u64,
    /// Refusals that were counted and not told, because the same one was told within a minute.
    pub repeated: u64,
    /// Market or account are too old to decide on.
    pub stale: bool,
    /// What is held, by the last reading.
    pub positions: Vec<Held>,
    /// Entries of the decision journal that this engine found at its start.
    pub recovered: u64,
    /// The decision journal takes entries.
    pub durable: bool,
}

/// One position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// Coin.
    pub coin: String,
    /// Signed size.
    pub size: Szi,
    /// Average entry price, if the venue gives one.
    pub entry_px: Option<Px>,
    /// Notional in USD.
    pub notional_usd: Usd,
}

/// An order about to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveIntent {
    /// Idempotency key.
    pub key: String,
    /// Client order id.
    pub cloid: String,
    /// Coin.
    pub coin: String,
    /// Whether it buys.
    pub is_buy: bool,
    /// Size in coin.
    pub size: Sz,
    /// Limit price.
    pub px: Px,
    /// It can only reduce.
    pub reduce_only: bool,
    /// Venue time in milliseconds after which the venue refuses it.
    pub expires_after_ms: u64,
    /// Epoch it was decided under.
    pub epoch: Epoch,
    /// Position in this coin when it was decided.
    pub position_before: Szi,
}

/// How an order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Executed, perhaps in part.
    Filled,
    /// Accepted without an execution so far.
    Resting,
    /// Certainly not accepted.
    Refused,
    /// Certainly never sent.
    NotSent,
    /// Nobody knows.
    Unknown,
    /// It was unknown, and was settled by asking.
    Settled,
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveOutcome {
    /// Which order.
    pub cloid: String,
    /// How it ended.
    pub outcome: Ending,
    /// Venue order id, if it got one.
    pub oid: Option<u64>,
    /// Size executed, if it is known.
    pub size: Option<Sz>,
    /// For people.
    pub detail: String,
}
