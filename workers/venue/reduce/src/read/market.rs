//! Markets: which coins there are, how they are indexed, and their books, candles and contexts.

use super::parse;
use crate::client::ReadError;
use crate::wire::{AssetIndex, Dex, PriceRule};
use holdfast_core::money::{Px, Sz, Usd};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// First index of builder dexes, and the room each one has.
const BUILDER_BASE: usize = 110_000;
const BUILDER_ROOM: usize = 10_000;
/// Markets on one dex beyond which an index would leave its range.
const UNIVERSE_MAX: usize = BUILDER_ROOM;

/// One perpetual market.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// The dex it is on.
    pub dex: Dex,
    /// Its name, as reads and subscriptions use it.
    pub coin: String,
    /// Its index, as actions use it.
    pub index: AssetIndex,
    /// Legal prices and sizes.
    pub rule: PriceRule,
    /// Highest leverage.
    pub max_leverage: u32,
    /// No longer traded; keeps its index.
    pub delisted: bool,
    /// Takes isolated margin only.
    pub only_isolated: bool,
}

/// All markets read so far, by coin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Universe {
    assets: BTreeMap<String, Asset>,
}

impl Universe {
    /// The market with this name.
    #[must_use]
    pub fn asset(&self, coin: &str) -> Option<&Asset> {
        self.assets.get(coin)
    }

    /// Every market, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Asset> {
        self.assets.values()
    }

    /// Adds the markets of another dex. A name that exists already keeps its first meaning.
    pub fn absorb(&mut self, other: Self) {
        for (coin, asset) in other.assets {
            self.assets.entry(coin).or_insert(asset);
        }
    }
}

#[derive(Deserialize)]
struct MetaWire {
    universe: Vec<AssetWire>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AssetWire {
    name: String,
    sz_decimals: u32,
    max_leverage: u32,
    #[serde(default)]
    is_delisted: bool,
    #[serde(default)]
    only_isolated: bool,
}

/// Reads `meta` of the dex at `position` in `perpDexs`. Delisted entries keep their place.
///
/// # Errors
/// [`ReadError::Shape`].
pub fn parse_meta(body: &[u8], dex: &Dex, position: usize) -> Result<Universe, ReadError> {
    let meta: MetaWire = parse("meta", body)?;
    let assets = assets(meta, dex, position)?;
    Ok(Universe { assets: assets.into_iter().map(|asset| (asset.coin.clone(), asset)).collect() })
}

fn assets(meta: MetaWire, dex: &Dex, position: usize) -> Result<Vec<Asset>, ReadError> {
    let bad = |why: String| ReadError::Shape(format!("meta: {why}"));
    if meta.universe.len() > UNIVERSE_MAX {
        return Err(bad("more markets than indices".to_owned()));
    }
    let base = match position.checked_sub(1) {
        None => 0,
        Some(k) => k.saturating_mul(BUILDER_ROOM).saturating_add(BUILDER_BASE),
    };
    meta.universe
        .into_iter()
        .enumerate()
        .map(|(place, wire)| {
            let index = u32::try_from(base.saturating_add(place)).map_err(|_| bad("index out of range".to_owned()))?;
            let rule = PriceRule::perp(wire.sz_decimals)
                .ok_or_else(|| bad(format!("{} has {} size decimals", wire.name, wire.sz_decimals)))?;
            Ok(Asset {
                dex: dex.clone(),
                coin: wire.name,
                index: AssetIndex(index),
                rule,
                max_leverage: wire.max_leverage,
                delisted: wire.is_delisted,
                only_isolated: wire.only_isolated,
            })
        })
        .collect()
}

/// Reads `perpDexs`: a leading null stands for the first dex.
pub(super) fn parse_dexs(body: &[u8]) -> Result<Vec<Dex>, ReadError> {
    #[derive(Deserialize)]
    struct Named {
        name: Dex,
    }
    let dexs: Vec<Option<Named>> = parse("perpDexs", body)?;
    if !matches!(dexs.first(), Some(None)) || dexs.iter().skip(1).any(Option::is_none) {
        return Err(ReadError::Shape("perpDexs: exactly the first entry must be null".to_owned()));
    }
    Ok(dexs.into_iter().map(|dex| dex.map_or_else(Dex::first, |named| named.name)).collect())
}

/// Live context of one market.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssetCtx {
    /// Funding rate per hour.
    pub funding: Usd,
    /// Price that margin and triggers use.
    #[serde(deserialize_with = "px_or_none")]
    pub mark_px: Option<Px>,
    /// Oracle price.
    #[serde(deserialize_with = "px_or_none")]
    pub oracle_px: Option<Px>,
    /// Mid of the book; absent when one side is empty.
    #[serde(default, deserialize_with = "px_or_none")]
    pub mid_px: Option<Px>,
    /// Open interest in coin.
    pub open_interest: Sz,
}

pub(super) fn parse_contexts(body: &[u8], dex: &Dex, position: usize) -> Result<Vec<(Asset, AssetCtx)>, ReadError> {
    let (meta, contexts): (MetaWire, Vec<AssetCtx>) = parse("metaAndAssetCtxs", body)?;
    let assets = assets(meta, dex, position)?;
    if assets.len() != contexts.len() {
        return Err(ReadError::Shape("metaAndAssetCtxs: as many contexts as markets expected".to_owned()));
    }
    Ok(assets.into_iter().zip(contexts).collect())
}

/// A price, or nothing where the venue says null, zero or less. Unreadable text is an error.
pub(crate) fn px_or_none<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Px>, D::Error> {
    Ok(Option::<Usd>::deserialize(d)?.and_then(|value| Px::new(value.get()).ok()))
}

pub(super) fn parse_mids(body: &[u8]) -> Result<BTreeMap<String, Px>, ReadError> {
    let mids: BTreeMap<String, Sz> = parse("allMids", body)?;
    // A market that never traded may show zero: it has no mid.
    Ok(mids.into_iter().filter_map(|(coin, mid)| Px::new(mid.get()).ok().map(|px| (coin, px))).collect())
}

/// One price level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Level {
    /// Price.
    pub px: Px,
    /// Size in coin.
    pub sz: Sz,
    /// Number of orders.
    pub n: u64,
}

/// The book of one coin: at most 20 levels a side, best first. May be empty, one-sided or crossed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "BookWire")]
pub struct Book {
    /// The market.
    pub coin: String,
    /// Venue time in ms. The same time repeated means a frozen feed.
    pub time: u64,
    /// Bids, best first.
    pub bids: Vec<Level>,
    /// Asks, best first.
    pub asks: Vec<Level>,
}

#[derive(Deserialize)]
struct BookWire {
    coin: String,
    time: u64,
    levels: (Vec<Level>, Vec<Level>),
}

impl From<BookWire> for Book {
    fn from(wire: BookWire) -> Self {
        Self { coin: wire.coin, time: wire.time, bids: wire.levels.0, asks: wire.levels.1 }
    }
}

impl Book {
    /// Best bid.
    #[must_use]
    pub fn best_bid(&self) -> Option<Level> {
        self.bids.first().copied()
    }

    /// Best ask.
    #[must_use]
    pub fn best_ask(&self) -> Option<Level> {
        self.asks.first().copied()
    }

    /// Mid of a two-sided book that is not crossed.
    #[must_use]
    pub fn mid(&self) -> Option<Px> {
        let (bid, ask) = (self.best_bid()?.px, self.best_ask()?.px);
        if bid < ask { bid.mid(ask) } else { None }
    }
}

/// Length of a candle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each variant is the venue's own word for it")]
pub enum Interval {
    #[serde(rename = "1m")]
    M1,
    #[serde(rename = "3m")]
    M3,
    #[serde(rename = "5m")]
    M5,
    #[serde(rename = "15m")]
    M15,
    #[serde(rename = "30m")]
    M30,
    #[serde(rename = "1h")]
    H1,
    #[serde(rename = "2h")]
    H2,
    #[serde(rename = "4h")]
    H4,
    #[serde(rename = "8h")]
    H8,
    #[serde(rename = "12h")]
    H12,
    #[serde(rename = "1d")]
    D1,
    #[serde(rename = "3d")]
    D3,
    #[serde(rename = "1w")]
    W1,
    #[serde(rename = "1M")]
    Month,
}

/// One candle; still changing until `close_time` has passed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Candle {
    /// Open time, ms.
    #[serde(rename = "t")]
    pub open_time: u64,
    /// Close time, ms, inclusive.
    #[serde(rename = "T")]
    pub close_time: u64,
    /// The market.
    #[serde(rename = "s")]
    pub coin: String,
    /// Its length.
    #[serde(rename = "i")]
    pub interval: Interval,
    /// First price.
    #[serde(rename = "o")]
    pub open: Px,
    /// Last price.
    #[serde(rename = "c")]
    pub close: Px,
    /// Highest price.
    #[serde(rename = "h")]
    pub high: Px,
    /// Lowest price.
    #[serde(rename = "l")]
    pub low: Px,
    /// Volume in coin.
    #[serde(rename = "v")]
    pub volume: Sz,
    /// Number of trades.
    #[serde(rename = "n")]
    pub trades: u64,
}
