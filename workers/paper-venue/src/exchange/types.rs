//! What the exchange remembers: orders, fills, positions, accounts. All of it can be written down and read back.

use crate::addr::{Addr, Cloid};
use holdfast_core::money::{Px, Sz, Szi, Usd};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The moment a call is made: the core never reads a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Boot clock, ns: spans, faults, and the witness.
    pub boot_ns: u64,
    /// Venue time, ms since the epoch, injected skew included.
    pub ms: u64,
}

impl Now {
    /// Boot clock in ms.
    #[must_use]
    pub const fn boot_ms(self) -> u64 {
        self.boot_ns / 1_000_000
    }
}

/// Time in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tif {
    /// Rests until cancelled.
    Gtc,
    /// Fills what it can at once, drops the rest.
    Ioc,
    /// Post-only.
    Alo,
}

/// Which protective order a trigger is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tpsl {
    /// Take profit.
    Tp,
    /// Stop loss.
    Sl,
}

/// Limit or trigger; the wire shape and the stored one are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Kind {
    /// An ordinary order.
    Limit {
        /// Time in force.
        tif: Tif,
    },
    /// Sleeps until the mark price reaches `trigger_px`.
    Trigger {
        /// Immediate (true) or resting (false) once triggered.
        is_market: bool,
        /// The mark price that wakes it.
        trigger_px: Px,
        /// Take profit or stop loss.
        tpsl: Tpsl,
    },
}

/// How an order stands, in the venue's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the venue's own words, listed in the venue facts")]
pub enum Status {
    Open,
    Triggered,
    Filled,
    Canceled,
    MarginCanceled,
    SelfTradeCanceled,
    ReduceOnlyCanceled,
    SiblingFilledCanceled,
    LiquidatedCanceled,
    ScheduledCancel,
    Rejected,
    TickRejected,
    MinTradeNtlRejected,
    PerpMarginRejected,
    ReduceOnlyRejected,
    BadAloPxRejected,
    IocCancelRejected,
    BadTriggerPxRejected,
    MarketOrderNoLiquidityRejected,
    OpenInterestIncreaseRejected,
    OracleRejected,
}

impl Status {
    /// Whether the order can still fill.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Open | Self::Triggered)
    }
}

/// One order, live or done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Venue order id.
    pub oid: u64,
    /// Whose it is.
    pub account: Addr,
    /// Coin, with the dex prefix where there is one.
    pub coin: String,
    /// Direction.
    pub is_buy: bool,
    /// Limit price.
    pub px: Px,
    /// What is left of it.
    pub sz: Sz,
    /// What was asked for.
    pub orig_sz: Sz,
    /// Whether it may only shrink the position.
    pub reduce_only: bool,
    /// Limit or trigger.
    pub kind: Kind,
    /// Client order id.
    pub cloid: Option<Cloid>,
    /// When it arrived, venue ms.
    pub placed_ms: u64,
    /// How it stands.
    pub status: Status,
    /// Since when, venue ms.
    pub status_ms: u64,
    /// The order whose fill wakes this one.
    pub parent: Option<u64>,
    /// Whether a child still waits for its parent.
    pub waiting: bool,
    /// Whether it belongs to the whole position.
    pub position_tpsl: bool,
}

impl Order {
    /// Whether it sleeps in the trigger book instead of resting in the order book.
    #[must_use]
    pub fn is_sleeping(&self) -> bool {
        matches!(self.kind, Kind::Trigger { .. }) && self.status == Status::Open
    }

    /// `B` or `A`.
    #[must_use]
    pub const fn side(&self) -> &'static str {
        if self.is_buy { "B" } else { "A" }
    }
}

/// Why a fill happened without the account's own order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Liquidation {
    /// Who was liquidated.
    pub liquidated_user: Addr,
    /// Mark price at that moment.
    pub mark_px: Px,
    /// `market` or `backstop`.
    pub method: String,
}

/// One execution of one account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fill {
    /// Whose it is.
    pub account: Addr,
    /// Coin.
    pub coin: String,
    /// Price.
    pub px: Px,
    /// Size.
    pub sz: Sz,
    /// Direction.
    pub is_buy: bool,
    /// Venue ms.
    pub time: u64,
    /// Position before it.
    pub start_position: Szi,
    /// Display string.
    pub dir: String,
    /// Profit realised by it, before the fee.
    pub closed_pnl: Usd,
    /// Order.
    pub oid: u64,
    /// Whether the account was the taker.
    pub crossed: bool,
    /// Fee in USDC.
    pub fee: Usd,
    /// Trade id.
    pub tid: u64,
    /// Client order id.
    pub cloid: Option<Cloid>,
    /// Set when the venue closed the position.
    pub liquidation: Option<Liquidation>,
}

/// A net position in one coin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Signed size.
    pub szi: Szi0,
    /// Cost of the whole position at entry, always positive.
    pub entry_ntl: Usd0,
}

/// A signed size that starts flat.
pub type Szi0 = Defaulted<Szi>;
/// Dollars that start at zero.
pub type Usd0 = Defaulted<Usd>;

/// A quantity with a natural zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Defaulted<T>(pub T);

impl Default for Defaulted<Szi> {
    fn default() -> Self {
        Self(Szi::FLAT)
    }
}

impl Default for Defaulted<Usd> {
    fn default() -> Self {
        Self(Usd::ZERO)
    }
}

/// Leverage chosen for a coin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leverage {
    /// Times.
    pub value: u32,
    /// Cross (true) or isolated; margin is computed as cross either way and reported as chosen.
    pub cross: bool,
}

/// One account. The money identity is `cash = deposits + realised - fees`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Its address.
    pub address: Addr,
    /// Agent keys by name.
    pub agents: BTreeMap<String, Addr>,
    /// Everything paid in, and what the backstop absorbed.
    pub deposits: Usd,
    /// Money without unrealised profit.
    pub cash: Usd,
    /// Profit realised since the start.
    pub realised: Usd,
    /// Fees paid since the start.
    pub fees: Usd,
    /// USD traded.
    pub volume: Usd,
    /// Open positions by coin.
    pub positions: BTreeMap<String, Position>,
    /// Leverage by coin, where chosen.
    pub leverage: BTreeMap<String, Leverage>,
    /// Requests counted against the address quota.
    pub requests: u64,
    /// When the last request was let through although the quota was spent, boot ms.
    pub last_slow_ms: u64,
    /// When the dead-man switch fires, venue ms.
    pub scheduled: Option<u64>,
    /// UTC day (days since the epoch) of the trigger count.
    pub trigger_day: u64,
    /// Firings on that day.
    pub triggers: u32,
}

impl Account {
    /// A new account.
    #[must_use]
    pub fn new(address: Addr, deposits: Usd, volume: Usd) -> Self {
        Self {
            address,
            agents: BTreeMap::new(),
            deposits,
            cash: deposits,
            realised: Usd::ZERO,
            fees: Usd::ZERO,
            volume,
            positions: BTreeMap::new(),
            leverage: BTreeMap::new(),
            requests: 0,
            last_slow_ms: 0,
            scheduled: None,
            trigger_day: 0,
            triggers: 0,
        }
    }

    /// Signed position in a coin; flat when there is none.
    #[must_use]
    pub fn szi(&self, coin: &str) -> Szi {
        self.positions.get(coin).map_or(Szi::FLAT, |p| p.szi.0)
    }
}
