//! A made-up book around a price: 20 legal levels a side, wider and thinner the wilder the market.
//!
//! Guarantees: best first, strictly ordered, never crossed, every price legal and every size at least one lot.

use super::grid::Grid;
use super::number::{Fs, Fx, PX_ONE, SZ_MAX, SZ_ONE, mul_div};
use super::rng::Rng;

/// Levels on each side of a book.
pub(super) const LEVELS: usize = 20;

/// One level: price, size, number of orders.
pub(super) type Rung = (Fx, Fs, u32);

/// USD that stand on a level of a quiet book.
const LEVEL_USD: i64 = 24_000;

/// The book around `mid` when prices lately ranged over `range_bps` per minute: bids and asks, best first.
pub(super) fn around(grid: Grid, mid: Fx, range_bps: i64, rng: &mut Rng) -> (Vec<Rung>, Vec<Rung>) {
    let range_bps = range_bps.clamp(0, 500);
    // Half a spread of 0.2 bps when calm; 3 % of the minute's range on top when not.
    let half = mul_div(mid, 20 + 3 * range_bps, 1_000_000).max(grid.tick(mid) / 2);
    let usd = LEVEL_USD * 40 / (40 + range_bps);
    let mut bid = grid.floor(mid - half);
    let mut ask = grid.ceil(mid + half);
    if ask <= bid {
        ask = bid + grid.tick(bid);
    }
    let spacing = mul_div(mid, 5 + range_bps / 4, 100_000);
    let mut bids = Vec::with_capacity(LEVELS);
    let mut asks = Vec::with_capacity(LEVELS);
    for level in 0..LEVELS as i64 {
        if bid > 0 {
            bids.push((bid, stands(grid, bid, usd, level, rng), orders(rng)));
            bid = grid.floor(bid - grid.tick(bid).max(mul_div(spacing, rng.range(500, 1_500), 1_000)));
        }
        asks.push((ask, stands(grid, ask, usd, level, rng), orders(rng)));
        ask = grid.ceil(ask + grid.tick(ask).max(mul_div(spacing, rng.range(500, 1_500), 1_000)));
    }
    (bids, asks)
}

fn stands(grid: Grid, px: Fx, usd: i64, level: i64, rng: &mut Rng) -> Fs {
    let usd = usd * rng.range(300, 1_700) / 1_000 * (4 + level) / 4;
    worth(grid, px, usd)
}

fn orders(rng: &mut Rng) -> u32 {
    u32::try_from(rng.range(1, 9)).unwrap_or(1)
}

/// How much coin this many USD buy, as a legal size of at least one lot.
pub(super) fn worth(grid: Grid, px: Fx, usd: i64) -> Fs {
    let wide = i128::from(usd) * i128::from(PX_ONE) * i128::from(SZ_ONE) / i128::from(px.max(1));
    grid.size_or_lot(Fs::try_from(wide).unwrap_or(SZ_MAX).min(SZ_MAX))
}

/// A recorded side put on the grid: bids are rounded down and asks up (so that rounding never crosses a book), equal
/// prices are added together, sizes below a lot are dropped, and the best 20 stay.
pub(super) fn legal_side(grid: Grid, side: impl Iterator<Item = Rung>, is_bid: bool) -> Vec<Rung> {
    let mut out: Vec<Rung> = Vec::with_capacity(LEVELS);
    for (px, sz, n) in side {
        let px = if is_bid { grid.floor(px) } else { grid.ceil(px) };
        let sz = grid.size(sz);
        if px <= 0 || sz <= 0 {
            continue;
        }
        if let Some(last) = out.last_mut().filter(|last| last.0 == px) {
            last.1 = last.1.saturating_add(sz).min(SZ_MAX);
            last.2 = last.2.saturating_add(n);
        } else if out.len() == LEVELS {
            break;
        } else {
            out.push((px, sz, n));
        }
    }
    out
}
