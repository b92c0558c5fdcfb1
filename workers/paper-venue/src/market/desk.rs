//! One coin at work: turns steps, prints and recorded books into the events the venue sees.
//!
//! Guarantees: every price and size it emits is legal on the venue; no book it emits is crossed; a print alone never
//! moves the mark, and moves the book only by taking away the side it swept.

use super::bars::Step;
use super::depth::{self, Rung, around, legal_side};
use super::grid::Grid;
use super::mark::{Mark, Prints};
use super::number::{Fs, Fx, PX_MAX, SZ_MAX, apart_bps, to_px, to_sz};
use super::rng::Rng;
use super::tape::Print;
use super::{CoinSpec, Level, MarketKind};

/// A print this far from the mark has gone through the whole made-up book on that side.
const SWEEP_BPS: i64 = 500;

/// One coin.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) spec: CoinSpec,
    grid: Grid,
    scale: i64,
    mark: Mark,
    prints: Prints,
    range_bps: i64,
    /// Whether the book is made up (no books in the recording).
    pub(super) made_up: bool,
    swept: bool,
    rng: Rng,
}

impl Desk {
    pub(super) fn new(spec: CoinSpec, scale: i64, mark: Mark, made_up: bool, seed: u64) -> Self {
        let grid = Grid::new(spec.sz_decimals);
        let rng = Rng::new(seed ^ 0x6465_736b, &spec.name);
        Self { spec, grid, scale, mark, prints: Prints::default(), range_bps: 8, made_up, swept: false, rng }
    }

    fn px(&self, recorded: Fx) -> Fx {
        recorded.saturating_mul(self.scale).min(PX_MAX)
    }

    fn sz(&self, recorded: Fs) -> Fs {
        recorded / self.scale
    }

    /// The first sight of a coin whose book is made up.
    pub(super) fn begin(&mut self, at_ms: u64, typical: Fx, out: &mut impl FnMut(MarketKind)) {
        let px = self.px(typical);
        self.rebuild(px, out);
        self.sample(at_ms, px, out);
    }

    /// A step of a candle's path.
    pub(super) fn step(&mut self, at_ms: u64, step: Step, out: &mut impl FnMut(MarketKind)) {
        match step {
            Step::At { px, range_bps, usd, buy } => {
                let px = self.px(px);
                self.range_bps = range_bps;
                self.rebuild(px, out);
                if usd > 0 {
                    let at = self.grid.nearest(px);
                    self.trade(at, depth::worth(self.grid, at, usd), buy, out);
                }
                self.sample(at_ms, px, out);
            }
            Step::Flash { px, buy } => {
                let px = self.px(px);
                self.sweep(buy, out);
                let at = self.grid.nearest(px);
                let sz = depth::worth(self.grid, self.mark.value().unwrap_or(at), 250_000);
                self.trade(at, sz, buy, out);
            }
        }
    }

    /// A recorded print.
    pub(super) fn print(&mut self, print: &Print, out: &mut impl FnMut(MarketKind)) {
        let px = self.px(print.px);
        if self.made_up {
            self.prints.add(px);
            let far = self.mark.value().is_some_and(|m| apart_bps(px, m) > SWEEP_BPS);
            if far && !self.swept {
                self.sweep(print.buy, out);
            }
        }
        let (at, sz) = (self.grid.nearest(px), self.grid.size_or_lot(self.sz(print.sz)));
        self.trade(at, sz, print.buy, out);
    }

    /// A recorded book.
    pub(super) fn book(&mut self, at_ms: u64, bids: &[Rung], asks: &[Rung], out: &mut impl FnMut(MarketKind)) {
        let put = |side: &[Rung], is_bid| {
            legal_side(self.grid, side.iter().map(|(px, sz, n)| (self.px(*px), self.sz(*sz), *n)), is_bid)
        };
        let (legal_bids, legal_asks) = (put(bids, true), put(asks, false));
        out(MarketKind::Book { bids: levels(&legal_bids), asks: levels(&legal_asks) });
        // Half an empty book has no middle: the mark stays.
        if let (Some(bid), Some(ask)) = (bids.first(), asks.first()) {
            let mid = self.px(bid.0) / 2 + self.px(ask.0) / 2;
            self.sample(at_ms, mid, out);
        }
    }

    /// A beat of scenario time for a coin without recorded books: the prints since the last beat become at most one
    /// sample, and the book is laid around the mark again.
    pub(super) fn pulse(&mut self, at_ms: u64, out: &mut impl FnMut(MarketKind)) {
        if let Some((range_bps, px)) = self.prints.take() {
            self.range_bps = range_bps;
            self.sample(at_ms, px, out);
        }
        if let Some(mark) = self.mark.value() {
            self.rebuild(mark, out);
        }
    }

    fn rebuild(&mut self, mid: Fx, out: &mut impl FnMut(MarketKind)) {
        self.swept = false;
        let (bids, asks) = around(self.grid, mid, self.range_bps, &mut self.rng);
        out(MarketKind::Book { bids: levels(&bids), asks: levels(&asks) });
    }

    /// The side that the aggressor hit is gone; the other stands where it stood.
    fn sweep(&mut self, buy: bool, out: &mut impl FnMut(MarketKind)) {
        let Some(mark) = self.mark.value() else { return };
        self.swept = true;
        let (bids, asks) = around(self.grid, mark, self.range_bps, &mut self.rng);
        let (bids, asks) = if buy { (levels(&bids), Vec::new()) } else { (Vec::new(), levels(&asks)) };
        out(MarketKind::Book { bids, asks });
    }

    fn trade(&self, px: Fx, sz: Fs, buy: bool, out: &mut impl FnMut(MarketKind)) {
        if let Some(px) = to_px(px) {
            out(MarketKind::Trade { px, sz: to_sz(sz.min(SZ_MAX)), aggressor_is_buy: buy });
        }
    }

    fn sample(&mut self, at_ms: u64, px: Fx, out: &mut impl FnMut(MarketKind)) {
        if let Some(px) = self.mark.offer(at_ms, px).and_then(|m| to_px(self.grid.nearest(m))) {
            out(MarketKind::Mark { px });
        }
    }
}

fn levels(rungs: &[Rung]) -> Vec<Level> {
    rungs.iter().filter_map(|(px, sz, n)| to_px(*px).map(|px| Level { px, sz: to_sz(*sz), n: *n })).collect()
}
