//! The account: positions, margin, fills, quota, role.
//!
//! Positions can be made by parsing a venue answer only: a reduction rests on them.

use super::market::px_or_none;
use super::parse;
use crate::client::ReadError;
use crate::clock::VenueClock;
use crate::wire::{Address, Cloid, Oid, Side};
use holdfast_core::money::{Px, Sz, Szi, Usd};
use holdfast_core::time::Tick;
use serde::Deserialize;

/// How a position is margined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Leverage {
    /// Shares the account's collateral.
    Cross {
        /// Leverage.
        value: u32,
    },
    /// Has its own collateral.
    Isolated {
        /// Leverage.
        value: u32,
    },
}

/// One net position, as read. Fields are private: it comes from the venue or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Position {
    coin: String,
    szi: Szi,
    #[serde(default, deserialize_with = "px_or_none")]
    entry_px: Option<Px>,
    position_value: Usd,
    unrealized_pnl: Usd,
    #[serde(default, deserialize_with = "px_or_none")]
    liquidation_px: Option<Px>,
    margin_used: Usd,
    leverage: Leverage,
}

impl Position {
    /// The market.
    #[must_use]
    pub fn coin(&self) -> &str {
        &self.coin
    }

    /// Signed size; negative is short.
    #[must_use]
    pub const fn szi(&self) -> Szi {
        self.szi
    }

    /// Average entry price.
    #[must_use]
    pub const fn entry_px(&self) -> Option<Px> {
        self.entry_px
    }

    /// Its value at the mark, USD.
    #[must_use]
    pub const fn value(&self) -> Usd {
        self.position_value
    }

    /// Profit or loss not yet realised, USD.
    #[must_use]
    pub const fn unrealized_pnl(&self) -> Usd {
        self.unrealized_pnl
    }

    /// Where it would be liquidated.
    #[must_use]
    pub const fn liquidation_px(&self) -> Option<Px> {
        self.liquidation_px
    }

    /// Margin it binds, USD.
    #[must_use]
    pub const fn margin_used(&self) -> Usd {
        self.margin_used
    }

    /// How it is margined.
    #[must_use]
    pub const fn leverage(&self) -> Leverage {
        self.leverage
    }

    /// Mark price implied by value and size.
    #[must_use]
    pub fn mark_px(&self) -> Option<Px> {
        let size = self.szi.abs();
        if size.is_zero() {
            return None;
        }
        self.position_value.get().abs().checked_div(size.get()).and_then(|px| Px::new(px.round_dp(10)).ok())
    }
}

/// Margin of one dex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MarginSummary {
    /// Equity, USD. In unified accounts it may read 0 while funds exist.
    pub account_value: Usd,
    /// Sum of notional, USD.
    pub total_ntl_pos: Usd,
    /// Raw USD; may be negative.
    pub total_raw_usd: Usd,
    /// Margin in use, USD.
    pub total_margin_used: Usd,
}

/// The account on one dex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DexAccount {
    positions: Vec<Position>,
    /// All margin.
    pub margin: MarginSummary,
    /// What could be withdrawn, USD.
    pub withdrawable: Usd,
    /// Venue time of the answer, ms; old recordings lack it.
    pub time: Option<u64>,
    /// When the question was sent: the answer is at least as new as this.
    pub read_at: Tick,
}

impl DexAccount {
    /// Positions that are not flat.
    #[must_use]
    pub fn positions(&self) -> &[Position] {
        &self.positions
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClearinghouseWire {
    asset_positions: Vec<AssetPosition>,
    margin_summary: MarginSummary,
    withdrawable: Usd,
    #[serde(default)]
    time: Option<u64>,
}

/// Only the one position mode this program understands.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum AssetPosition {
    OneWay { position: Position },
}

/// Reads `clearinghouseState`, asked at `read_at`.
///
/// # Errors
/// [`ReadError::Shape`] for an unknown position type, an unreadable size, or two positions of one coin: exposure is
/// unknown then, never zero.
pub fn parse_clearinghouse(body: &[u8], read_at: Tick) -> Result<DexAccount, ReadError> {
    let wire: ClearinghouseWire = parse("clearinghouseState", body)?;
    let mut positions: Vec<Position> = Vec::with_capacity(wire.asset_positions.len());
    for AssetPosition::OneWay { position } in wire.asset_positions {
        if positions.iter().any(|known| known.coin == position.coin) {
            return Err(ReadError::Shape(format!("clearinghouseState: {} is listed twice", position.coin)));
        }
        positions.push(position);
    }
    positions.retain(|position| !position.szi.is_zero());
    Ok(DexAccount { positions, margin: wire.margin_summary, withdrawable: wire.withdrawable, time: wire.time, read_at })
}

/// Who was liquidated, and how.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Liquidation {
    /// The account that was liquidated.
    #[serde(default)]
    pub liquidated_user: Option<Address>,
    /// Mark price at that moment.
    #[serde(default, deserialize_with = "px_or_none")]
    pub mark_px: Option<Px>,
    /// `market` or `backstop`.
    pub method: String,
}

/// One execution. Its identity is `tid` with `coin` and `time`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fill {
    /// The market.
    pub coin: String,
    /// Price.
    pub px: Px,
    /// Size.
    pub sz: Sz,
    /// Our side.
    pub side: Side,
    /// Venue time, ms.
    pub time: u64,
    /// Position before it.
    pub start_position: Szi,
    /// Display string; never compute with it.
    pub dir: String,
    /// Realised profit or loss, USD.
    pub closed_pnl: Usd,
    /// Transaction hash.
    pub hash: String,
    /// Venue order id.
    pub oid: Oid,
    /// True = taker.
    pub crossed: bool,
    /// Fee; negative is a rebate.
    pub fee: Usd,
    /// What the fee was paid in; old records lack it.
    #[serde(default)]
    pub fee_token: Option<String>,
    /// Trade id; old records lack it.
    #[serde(default)]
    pub tid: Option<u64>,
    /// Our id.
    #[serde(default)]
    pub cloid: Option<Cloid>,
    /// Set when it was a liquidation.
    #[serde(default)]
    pub liquidation: Option<Liquidation>,
}

impl Fill {
    /// Position after it, by arithmetic.
    #[must_use]
    pub fn end_position(&self) -> Option<Szi> {
        self.start_position.checked_add(self.sz.signed(self.side.is_buy()))
    }
}

/// Reads `userFills` or `userFillsByTime`.
///
/// # Errors
/// [`ReadError::Shape`].
pub fn parse_fills(body: &[u8]) -> Result<Vec<Fill>, ReadError> {
    parse("userFills", body)
}

/// Address quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RateLimit {
    /// USD ever traded.
    pub cum_vlm: Usd,
    /// Actions used.
    pub n_requests_used: u64,
    /// Actions allowed.
    pub n_requests_cap: u64,
    /// Extra actions bought.
    #[serde(default)]
    pub n_requests_surplus: Option<u64>,
}

impl RateLimit {
    /// Actions left. Stop opening when this falls below the exit reserve.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.n_requests_cap.saturating_sub(self.n_requests_used)
    }
}

/// What an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "role", rename_all = "camelCase")]
pub enum AccountRole {
    /// A master account.
    User {},
    /// An agent key: it holds nothing, and reads with it look flat.
    Agent {
        /// Whose agent.
        data: AgentOf,
    },
    /// A vault.
    Vault {},
    /// A sub-account.
    SubAccount {},
    /// Never seen by the venue.
    Missing {},
}

/// The master of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct AgentOf {
    /// Its address.
    pub user: Address,
}

/// An agent key of the account.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtraAgent {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: Address,
    /// Until when it may sign, ms.
    pub valid_until: u64,
}

/// The venue's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VenueTime {
    /// What the venue said, ms.
    pub time_ms: u64,
    /// Boot clock when the question left.
    pub sent: Tick,
    /// Boot clock when the answer was there.
    pub received: Tick,
}

impl VenueTime {
    /// A mapping from boot clock to venue time that is never late.
    #[must_use]
    pub fn clock(&self) -> Option<VenueClock> {
        VenueClock::sample(self.time_ms, self.sent, self.received)
    }
}
