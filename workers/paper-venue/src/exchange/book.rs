//! The market of one coin: what the scenario says, moved by an injected jump, minus what paper orders have taken.

use super::n;
use super::types::Now;
use crate::market::{CoinSpec, Level, MarketKind};
use holdfast_core::money::{Px, Sz};
use rust_decimal::Decimal;
use std::collections::VecDeque;

/// Most prints kept.
const MAX_TRADES: usize = 30;
/// Most one-minute candles kept.
const MAX_CANDLES: usize = 5_000;

/// One public trade.
#[derive(Clone, Debug)]
pub struct Print {
    /// Price.
    pub px: Px,
    /// Size.
    pub sz: Sz,
    /// Whether the taker bought.
    pub is_buy: bool,
    /// Venue ms.
    pub time: u64,
    /// Trade id.
    pub tid: u64,
}

/// One minute of prices.
#[derive(Clone, Debug)]
pub struct Candle {
    /// Start, venue ms.
    pub start: u64,
    /// First price.
    pub open: Px,
    /// Highest price.
    pub high: Px,
    /// Lowest price.
    pub low: Px,
    /// Last price.
    pub close: Px,
    /// Coin traded.
    pub volume: Decimal,
    /// Trades.
    pub count: u64,
}

/// How an injected fault bends the book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// As the scenario has it.
    #[default]
    Straight,
    /// The best buyer pays more than the best seller asks.
    Crossed,
    /// Nobody sells.
    OneSided,
}

/// One coin.
#[derive(Clone, Debug)]
pub struct CoinMarket {
    /// Name, decimals, leverage.
    pub spec: CoinSpec,
    /// Asset index on the wire.
    pub asset: u32,
    /// Dex it belongs to; empty for the first.
    pub dex: String,
    raw_bids: Vec<Level>,
    raw_asks: Vec<Level>,
    raw_mark: Option<Px>,
    jump_bps: i64,
    shape: Shape,
    /// Buyers, best first.
    pub bids: Vec<Level>,
    /// Sellers, best first.
    pub asks: Vec<Level>,
    /// When the book last changed, venue ms.
    pub time: u64,
    mark: Option<Px>,
    /// Last trade price.
    pub last: Option<Px>,
    /// Newest prints, oldest first.
    pub trades: VecDeque<Print>,
    /// One-minute candles, oldest first.
    pub candles: VecDeque<Candle>,
    /// USD traded since the start.
    pub day_ntl: Decimal,
    /// Coin traded since the start.
    pub day_base: Decimal,
    /// First mark seen.
    pub first: Option<Px>,
}

impl CoinMarket {
    /// A coin without a market yet.
    #[must_use]
    pub fn new(spec: CoinSpec, asset: u32, dex: &str) -> Self {
        Self {
            spec,
            asset,
            dex: dex.to_owned(),
            raw_bids: Vec::new(),
            raw_asks: Vec::new(),
            raw_mark: None,
            jump_bps: 0,
            shape: Shape::Straight,
            bids: Vec::new(),
            asks: Vec::new(),
            time: 0,
            mark: None,
            last: None,
            trades: VecDeque::new(),
            candles: VecDeque::new(),
            day_ntl: Decimal::ZERO,
            day_base: Decimal::ZERO,
            first: None,
        }
    }

    /// Best buyer and best seller of the scenario.
    #[must_use]
    pub fn touch(&self) -> (Option<Px>, Option<Px>) {
        (self.bids.first().map(|l| l.px), self.asks.first().map(|l| l.px))
    }

    /// Middle of the book; the last trade when a side is empty.
    #[must_use]
    pub fn mid(&self) -> Option<Px> {
        match self.touch() {
            (Some(bid), Some(ask)) => bid.mid(ask),
            (None, _) | (_, None) => self.last.or(self.mark),
        }
    }

    /// The price that margin and triggers go by.
    #[must_use]
    pub fn mark(&self) -> Option<Px> {
        self.mark.or_else(|| self.mid())
    }

    /// Whether there is enough of a market to trade on.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.mark().is_some() && self.time > 0
    }

    fn moved(&self, px: Px, up: bool) -> Option<Px> {
        if self.jump_bps == 0 {
            Some(px)
        } else {
            n::to_tick(px.moved_bps(self.jump_bps)?.get(), self.spec.sz_decimals, up)
        }
    }

    fn moved_side(&self, side: &[Level], up: bool) -> Vec<Level> {
        side.iter().filter_map(|l| self.moved(l.px, up).map(|px| Level { px, sz: l.sz, n: l.n })).collect()
    }

    fn reprice(&mut self, now: Now) {
        self.bids = self.moved_side(&self.raw_bids, false);
        self.asks = self.moved_side(&self.raw_asks, true);
        match self.shape {
            Shape::Straight => {}
            Shape::OneSided => self.asks.clear(),
            Shape::Crossed => {
                let over = self.asks.get(1).or(self.asks.first()).map(|l| l.px);
                if let (Some(best), Some(over)) = (self.bids.first_mut(), over) {
                    best.px = over;
                }
            }
        }
        self.mark = self.raw_mark.and_then(|px| px.moved_bps(self.jump_bps));
        self.time = now.ms.max(self.time);
    }

    /// Sets the injected jump and shape; says whether anything changed.
    pub fn bend(&mut self, bps: i64, shape: Shape, now: Now) -> bool {
        if bps == self.jump_bps && shape == self.shape {
            return false;
        }
        self.jump_bps = bps;
        self.shape = shape;
        self.reprice(now);
        true
    }

    /// Takes one scenario event in. Returns the print, if it was one.
    pub fn apply(&mut self, kind: MarketKind, now: Now, tid: u64) -> Option<Print> {
        match kind {
            MarketKind::Book { bids, asks } => {
                self.raw_bids = bids;
                self.raw_asks = asks;
                let mark = self.mark;
                self.reprice(now);
                self.mark = mark;
                None
            }
            MarketKind::Mark { px } => {
                self.raw_mark = Some(px);
                self.mark = px.moved_bps(self.jump_bps);
                self.first = self.first.or(self.mark);
                if let Some(mark) = self.mark {
                    self.candle(mark, Decimal::ZERO, now.ms);
                }
                None
            }
            MarketKind::Trade { px, sz, aggressor_is_buy } => {
                let px = self.moved(px, aggressor_is_buy)?;
                let print = Print { px, sz, is_buy: aggressor_is_buy, time: now.ms, tid };
                self.print(print.clone());
                Some(print)
            }
        }
    }

    /// Records a public trade.
    pub fn print(&mut self, print: Print) {
        self.last = Some(print.px);
        self.day_base = n::add(self.day_base, print.sz.get());
        self.day_ntl = n::add(self.day_ntl, n::mul(print.sz.get(), print.px.get()));
        self.candle(print.px, print.sz.get(), print.time);
        self.trades.push_back(print);
        while self.trades.len() > MAX_TRADES {
            self.trades.pop_front();
        }
    }

    fn candle(&mut self, px: Px, volume: Decimal, ms: u64) {
        let start = ms / 60_000 * 60_000;
        let count = u64::from(!volume.is_zero());
        match self.candles.back_mut() {
            Some(last) if last.start >= start => {
                last.high = last.high.max(px);
                last.low = last.low.min(px);
                last.close = px;
                last.volume = n::add(last.volume, volume);
                last.count = last.count.saturating_add(count);
            }
            Some(_) | None => {
                self.candles.push_back(Candle { start, open: px, high: px, low: px, close: px, volume, count });
                while self.candles.len() > MAX_CANDLES {
                    self.candles.pop_front();
                }
            }
        }
    }

    /// The side a taker meets.
    #[must_use]
    pub fn opposite(&self, is_buy: bool) -> &[Level] {
        if is_buy { &self.asks } else { &self.bids }
    }

    /// Takes up to `sz` from the best opposite level; returns what it gave.
    pub fn consume_best(&mut self, is_buy: bool, sz: Sz) -> Option<(Px, Sz)> {
        let side = if is_buy { &mut self.asks } else { &mut self.bids };
        let level = side.first_mut()?;
        let (px, got) = (level.px, level.sz.min(sz));
        level.sz = n::sz(n::sub(level.sz.get(), got.get()));
        if level.sz.is_zero() {
            side.remove(0);
        }
        Some((px, got))
    }
}
