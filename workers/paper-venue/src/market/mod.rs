//! Stand-in market: two coins at a constant price, until the real scenario player lands.

use holdfast_core::money::{Px, Sz};
use std::path::PathBuf;

/// One tradable coin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoinSpec {
    /// Name as the venue spells it.
    pub name: String,
    /// Decimals of a legal size.
    pub sz_decimals: u32,
    /// Highest leverage.
    pub max_leverage: u32,
}

/// One aggregated price level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// Price.
    pub px: Px,
    /// Size resting there.
    pub sz: Sz,
    /// Number of orders.
    pub n: u32,
}

/// What happened in the market.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarketKind {
    /// The whole book, best first.
    Book {
        /// Buyers.
        bids: Vec<Level>,
        /// Sellers.
        asks: Vec<Level>,
    },
    /// A trade printed.
    Trade {
        /// Price.
        px: Px,
        /// Size.
        sz: Sz,
        /// Whether the taker bought.
        aggressor_is_buy: bool,
    },
    /// A new mark price.
    Mark {
        /// Price.
        px: Px,
    },
}

/// One event at scenario time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarketEvent {
    /// Scenario ms from 0, non-decreasing.
    pub at_ms: u64,
    /// Which coin.
    pub coin: String,
    /// What happened.
    pub kind: MarketKind,
}

/// Where the market comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarketSource {
    /// The bundled scenario.
    Bundled {
        /// Seed of its noise.
        seed: u64,
    },
    /// A recorded file.
    File {
        /// Its path.
        path: PathBuf,
    },
}

/// Why a market cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("market cannot be opened: {0}")]
pub struct MarketError(String);

/// An endless player.
#[derive(Debug)]
pub struct Market {
    coins: Vec<CoinSpec>,
    step: u64,
}

fn px(value: i64) -> Px {
    Px::new(rust_decimal::Decimal::from(value.max(1))).unwrap_or_else(|_| px(1))
}

fn sz(value: i64, scale: u32) -> Sz {
    Sz::new(rust_decimal::Decimal::new(value, scale)).unwrap_or(Sz::ZERO)
}

impl Market {
    /// Opens the market.
    ///
    /// # Errors
    /// The file cannot be played.
    pub fn open(source: &MarketSource) -> Result<Self, MarketError> {
        match source {
            MarketSource::Bundled { .. } => Ok(Self {
                coins: vec![
                    CoinSpec { name: "BTC".to_owned(), sz_decimals: 5, max_leverage: 50 },
                    CoinSpec { name: "ETH".to_owned(), sz_decimals: 4, max_leverage: 50 },
                ],
                step: 0,
            }),
            MarketSource::File { path } => Err(MarketError(path.display().to_string())),
        }
    }

    /// The coins, in index order.
    #[must_use]
    pub fn coins(&self) -> &[CoinSpec] {
        &self.coins
    }

    /// Scenario ms per wall ms.
    #[must_use]
    pub const fn default_speed(&self) -> u32 {
        1
    }

    /// For people.
    #[must_use]
    pub const fn describe(&self) -> &'static str {
        "constant price"
    }

    /// The next event; never ends.
    pub fn next_event(&mut self) -> MarketEvent {
        let step = self.step;
        self.step = step.saturating_add(1);
        let (coin, mid) = if step.is_multiple_of(2) { ("BTC", 100_000) } else { ("ETH", 4_000) };
        let kind = if (step / 2).is_multiple_of(2) {
            MarketKind::Mark { px: px(mid) }
        } else {
            let side = |sign: i64| {
                (1..=20)
                    .map(|i| Level { px: px(mid + sign * i), sz: sz(if mid > 10_000 { 5 } else { 100 }, 1), n: 1 })
                    .collect()
            };
            MarketKind::Book { bids: side(-1), asks: side(1) }
        };
        MarketEvent { at_ms: step / 2 * 250, coin: coin.to_owned(), kind }
    }
}
